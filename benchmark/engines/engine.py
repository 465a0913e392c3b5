"""What an engine is: something that loads a variant and transcribes clips, timed.

Nothing here imports more than a device has: a cold start (`cold.py`) goes through it.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from sottovoce.runtime.model.compute import ComputeSpec

if TYPE_CHECKING:
    from sottovoce.benchmark.engines.transcription import DetailedTranscript, TimedTranscript
    from sottovoce.benchmark.schema.precision import Precision
    from sottovoce.runtime.audio.decode import Wave

DEFAULT_ENGINE = "sottovoce"
"""Our runtime: what a device runs."""

AGAIN = " again"
"""Behind the name of an entry in a second process, which is held against the first."""

WINDOW_S = 30.0
"""Whisper's window: longer audio takes several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """Which engine loads which folder, and how; enough to make it in a fresh process."""

    engine: str
    variant: str
    folder: Path
    compute: ComputeSpec
    is_again: bool = False

    @property
    def name(self) -> str:
        """The name of the entry in results: the variant's alone for the default engine."""
        name = self.variant if self.engine == DEFAULT_ENGINE else f"{self.engine}:{self.variant}"
        return f"{name}{AGAIN}" if self.is_again else name


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A variant's encoder and decode step alone.

    Attributes:
        encoder_s: one window of 30 s, median of several calls.
        encoder_macs: multiply-accumulates of it, by the type that they run in.
        step_s: one token after 100 others, median of several.
        step_bytes: weights, keys and values that a step reads.
    """

    encoder_s: float
    encoder_macs: dict[str, int]
    step_s: float
    step_bytes: int


class Engine(Protocol):
    """Runs one variant in this process."""

    def transcribe(self, wave: "Wave", language: str | None) -> "TimedTranscript":
        """Transcribe a wave, float32, shape (n_samples,), 16 kHz, greedily."""

    def precision(self) -> "Precision":
        """Tell what the variant computes in."""


@runtime_checkable
class Probing(Protocol):
    """An engine that can time its parts alone."""

    def probe(self) -> Probe | None:
        """Time encoder and decode step alone, and count their work; None where nobody can count it."""


@runtime_checkable
class Detailing(Protocol):
    """An engine that tells tokens, words and languages."""

    def detail(self, wave: "Wave", language: str | None) -> "DetailedTranscript":
        """Transcribe a wave, float32, shape (n_samples,), 16 kHz, in a language; tell which one it would detect."""


@runtime_checkable
class Batching(Protocol):
    """An engine that decodes clips together."""

    def transcribe_batch(
        self, waves: "Sequence[Wave]", languages: "Sequence[str | None]", batch_size: int
    ) -> float:
        """Transcribe clips up to 30 s, float32, shape (n_samples,) each, 16 kHz; return the seconds that it took."""


def group_by_language(
    waves: "Sequence[Wave]", languages: "Sequence[str | None]", known: Collection[str]
) -> "dict[str | None, list[Wave]]":
    """Group clips for batches, each of one language; under None those in a language that the model does not know."""
    groups: dict[str | None, list[Wave]] = {}
    for wave, language in zip(waves, languages, strict=True):
        groups.setdefault(language if language in known else None, []).append(wave)
    return groups


Load = Callable[[], Engine]
MakeEngine = Callable[[EngineSpec], Load]
"""Imports an engine's libraries and returns what loads it, so that a load time has no imports in it."""
