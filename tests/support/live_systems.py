"""Live systems and baselines of a benchmark that run no model."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from sottovoce.benchmark.engines.engine import EngineSpec, Load
from sottovoce.benchmark.engines.transcription import DetailedTranscript
from sottovoce.benchmark.live.clock import Clock, LiveStream
from sottovoce.benchmark.live.systems import Method, System
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.live.events import Committed, LiveEvent, Partial
from sottovoce.runtime.transcript import Word
from tests.support.engines import FakeEngine

WORDS = ("ash", "beech", "cedar", "elm", "fir", "hazel", "larch", "maple", "oak", "pine")
DELAY_S = 1.0


def counting(wave: Wave) -> tuple[Word, ...]:
    """A word for each whole second of sound, spoken in its first 0.6 s."""
    loud = np.flatnonzero(np.abs(wave) > 0)
    n_words = 0 if loud.size == 0 else (loud[-1] + 1) // SAMPLE_RATE_HZ
    return tuple(
        Word(text=f" {WORDS[number % 10]}", start_s=float(number), end_s=number + 0.6, probability=0.9)
        for number in range(n_words)
    )


class CountingEngine(FakeEngine):
    """Transcribes as `counting`, with words."""

    def detail(self, wave: Wave, language: str | None) -> DetailedTranscript:
        return DetailedTranscript(text="", tokens=(), language=language, words=counting(wave))


def make_counting(spec: EngineSpec) -> Load:  # noqa: ARG001 - as every maker of engines
    """Make the engine of a baseline."""
    return partial(CountingEngine, factor=0.1)


@dataclass
class CountingStream:
    """Shows a word when it is spoken, and commits it a second later."""

    clock: Clock
    audio: list[Wave] = field(default_factory=list)
    n_committed: int = 0

    def feed(self, samples: Wave) -> list[LiveEvent]:
        self.audio.append(samples)
        wave = np.concatenate(self.audio)
        at_s = len(wave) / SAMPLE_RATE_HZ
        spoken = [word for word in counting(wave) if word.end_s <= at_s]
        ready = [word for word in spoken[self.n_committed :] if word.end_s + DELAY_S <= at_s]
        self.n_committed += len(ready)
        tail = Partial(words=tuple(spoken[self.n_committed :]), audio_s=at_s)
        return [Committed(words=tuple(ready), audio_s=at_s), tail] if ready else [tail]

    def finish(self) -> list[LiveEvent]:
        return []


class CountingSystem(System):
    """A system that has a word for each second; offline it misses the last one."""

    def stream(self, language: str | None, clock: Clock) -> LiveStream:  # noqa: ARG002 - as every system
        return CountingStream(clock)

    def offline(self, wave: Wave, language: str | None) -> str:  # noqa: ARG002 - as every system
        return "".join(word.text for word in counting(wave)[:-1])


class BrokenSystem(CountingSystem):
    """Fails on every stream."""

    def stream(self, language: str | None, clock: Clock) -> LiveStream:  # noqa: ARG002 - as every system
        raise RuntimeError("no stream")


def make_systems(
    spec: EngineSpec,  # noqa: ARG001 - as every maker of systems
    *,
    method: Method,
) -> Callable[[], System]:
    """Make a system that has a word for each second; that of faster-whisper fails."""
    return BrokenSystem if method is Method.LOCAL_AGREEMENT else CountingSystem


def make_counting_systems(spec: EngineSpec, *, method: Method) -> Callable[[], System]:  # noqa: ARG001 - as every maker
    """Make a system that has a word for each second."""
    return CountingSystem
