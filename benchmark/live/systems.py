"""The systems that are compared: an entry of the benchmark, loaded, under a method that decides when words are final."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sottovoce.benchmark.engines.engine import EngineSpec
from sottovoce.benchmark.live.clock import Clock, LiveStream, Trace, feed, stopped
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.live.options import CommitPolicy, LiveOptions
from sottovoce.runtime.model.layout import format_of
from sottovoce.runtime.transcript import Word
from sottovoce.terms import Format

if TYPE_CHECKING:
    from sottovoce.benchmark.live.peers import Segments
    from sottovoce.runtime.live.session import LiveSession

FED_S = 60.0
"""Fed before anything counts."""


class Method(StrEnum):
    """What decides when words are final."""

    ALIGNMENT = "alignment"
    AGREEMENT = "agreement"
    LOCAL_AGREEMENT = "LocalAgreement-2"
    WINDOW = "window"


DESCRIPTIONS = {
    Method.ALIGNMENT: "our live session: words are final by their alignment",
    Method.AGREEMENT: "our live session: words are final that two hypotheses share",
    Method.LOCAL_AGREEMENT: "as whisper_streaming: the buffer is decoded every second; words are final that two hypotheses share",
    Method.WINDOW: "as whisper.cpp's example `stream`, over our engine: the last 5 s are decoded every 0.5 s",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemSpec:
    """An entry under a method; a fresh process loads it."""

    entry: EngineSpec
    method: Method

    @property
    def name(self) -> str:
        """Its name in results."""
        return f"{self.entry.name}, {self.method}"


class System(ABC):
    """A system that is loaded."""

    @abstractmethod
    def stream(self, language: str | None, clock: Clock) -> LiveStream:
        """Start a stream; `clock` measures what computing costs it."""

    @abstractmethod
    def offline(self, wave: Wave, language: str | None) -> str:
        """Transcribe a whole recording, float32, shape (n_samples,), 16 kHz, greedily."""

    def feed_counted(self, wave: Wave, language: str | None) -> Trace:
        """Feed a recording to a new stream, with computation counted; see `clock.feed`."""
        return feed(self.stream(language, time.perf_counter), wave, time.perf_counter)

    def feed_not_counted(self, wave: Wave, language: str | None) -> Trace:
        """Feed a recording to a new stream, with a clock that stands still."""
        return feed(self.stream(language, stopped), wave, stopped)

    def feed_in_real_time(self, wave: Wave, language: str | None) -> Trace:
        """Feed a recording to a new stream as it is spoken."""
        stream, started_s = self.stream(language, time.perf_counter), time.perf_counter()

        def wait_until(spoken_s: float) -> None:
            time.sleep(max(0.0, started_s + spoken_s - time.perf_counter()))

        return feed(stream, wave, time.perf_counter, wait_until)

    def warm_up(self, wave: Wave, language: str | None) -> None:
        """Feed a minute, so that most lengths of audio have been met."""
        self.feed_not_counted(wave[: round(FED_S * SAMPLE_RATE_HZ)], language)


def open_system(entry: EngineSpec, *, method: Method) -> Callable[[], System]:
    """Return what loads a system; the arguments are those that a worker has."""
    match method:
        case Method.LOCAL_AGREEMENT:
            return lambda: _FasterWhisper(entry)
        case _:
            return lambda: _Sottovoce(entry, method)


class _Sottovoce(System):
    """A variant in our runtime: our live session, or a sliding window."""

    def __init__(self, entry: EngineSpec, method: Method) -> None:
        from sottovoce.runtime.loading import load_model
        from sottovoce.runtime.transcriber import OnnxTranscriber, OpenVinoTranscriber

        self._method = method
        self._model = load_model(entry.folder, compute=entry.compute)
        self._has_alignment = format_of(entry.folder) is Format.OPENVINO
        self._transcriber = (OpenVinoTranscriber if self._has_alignment else OnnxTranscriber)(self._model)

    def stream(self, language: str | None, clock: Clock) -> LiveStream:
        """Start a live session, or a sliding window."""
        if self._method is Method.WINDOW:
            from sottovoce.benchmark.live.peers import SlidingWindow

            return SlidingWindow(lambda wave: self.offline(wave, language), clock)
        return self._session(language, clock)

    def _session(self, language: str | None, clock: Clock) -> "LiveSession":
        from sottovoce.runtime.live.session import open_session

        options = LiveOptions(language=self._known(language), policy=CommitPolicy(self._method))
        return open_session(self._model, options, clock=clock)

    def offline(self, wave: Wave, language: str | None) -> str:
        """Transcribe as the benchmark does."""
        return self._transcriber.transcribe(
            wave, language=self._known(language), without_timestamps=True, temperature=0.0
        ).text

    def warm_up(self, wave: Wave, language: str | None) -> None:
        """Warm up as `sottovoce live` does, and feed a minute."""
        if self._method is not Method.WINDOW:
            self._session(language, stopped).warm_up()
        super().warm_up(wave, language)

    def _known(self, language: str | None) -> str | None:
        return language if language in self._transcriber.languages else None


class _FasterWhisper(System):
    """A CTranslate2 folder in faster-whisper."""

    def __init__(self, entry: EngineSpec) -> None:
        from sottovoce.benchmark.engines.faster_whisper import FasterWhisperEngine

        self._engine = FasterWhisperEngine(entry.folder, entry.compute)

    def stream(self, language: str | None, clock: Clock) -> LiveStream:
        """Start a stream of LocalAgreement-2."""
        from sottovoce.benchmark.live.peers import LocalAgreement

        return LocalAgreement(lambda wave, prompt: self._words(wave, prompt, language), clock)

    def offline(self, wave: Wave, language: str | None) -> str:
        """Transcribe as the benchmark does."""
        return self._engine.transcribe(wave, language).text

    def _words(self, wave: Wave, prompt: str, language: str | None) -> "Segments":
        segments: Any = self._engine.segments_with_words(wave, prompt, language)
        return [
            [
                Word(
                    text=word.word,
                    start_s=float(word.start),
                    end_s=float(word.end),
                    probability=float(word.probability),
                )
                for word in segment.words
            ]
            for segment in segments
        ]
