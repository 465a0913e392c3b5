"""What an engine returns for one clip: the transcript with its times, and its tokens, language and words.

Like `engine.py`, this module imports no pydantic: a cold start imports it.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from sottovoce.runtime.transcript import Word
from sottovoce.terms import Stage

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedTranscript:
    """A transcript with the time of each stage.

    Attributes:
        text: without special tokens.
        n_tokens: generated tokens, without prompt and end token.
        latency_s: from waveform to text.
        stage_s: seconds in each stage; `other` is the rest, with all that the engine does not time apart.
        calls: inferences in each stage.
    """

    text: str
    n_tokens: int
    latency_s: float
    stage_s: dict[Stage, float]
    calls: dict[Stage, int]

    @classmethod
    def from_stages(
        cls,
        text: str,
        *,
        n_tokens: int,
        latency_s: float,
        seconds: Mapping[Stage, float],
        calls: Mapping[Stage, int],
    ) -> "TimedTranscript":
        """Count the time outside the given stages as `other`."""
        other = max(0.0, latency_s - sum(seconds.values()))
        return cls(
            text=text,
            n_tokens=n_tokens,
            latency_s=latency_s,
            stage_s={**seconds, Stage.OTHER: other},
            calls=dict(calls),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DetailedTranscript:
    """A transcript with its tokens, language and words.

    Attributes:
        text: without special tokens.
        tokens: text tokens, without prompt and end token.
        language: detected; None for an English-only model.
        words: with their times; empty where the format has no word timestamps.
    """

    text: str
    tokens: tuple[int, ...]
    language: str | None
    words: tuple[Word, ...]


class StageClock:
    """Adds up the seconds and calls of stages."""

    def __init__(self, *stages: Stage) -> None:
        self._stages = stages
        self.reset()

    def reset(self) -> None:
        """Start a clip."""
        self.seconds = dict.fromkeys(self._stages, 0.0)
        self.calls = dict.fromkeys(self._stages, 0)

    def add(self, stage: Stage, seconds: float) -> None:
        """Count a call."""
        self.seconds[stage] += seconds
        self.calls[stage] += 1

    def run(self, stage: Stage, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Time a call of a function."""
        started = time.perf_counter()
        result = function(*args, **kwargs)
        self.add(stage, time.perf_counter() - started)
        return result
