"""What an engine is: something that loads a variant and transcribes clips, timed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sottovoce.benchmark.results import Precision, Stage
from sottovoce.runtime.audio import Wave
from sottovoce.runtime.compute import ComputeSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """Which engine loads which folder, and how; enough to make it in a fresh process."""

    engine: str
    variant: str
    folder: Path
    compute: ComputeSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A transcription with its times.

    Attributes:
        text: without special tokens.
        n_tokens: generated, prompt and end not counted.
        latency_s: from waveform to text.
        stage_s: the part of it in each stage; `other` is the rest.
        calls: inferences in each stage.
    """

    text: str
    n_tokens: int
    latency_s: float
    stage_s: dict[Stage, float]
    calls: dict[Stage, int]


class Engine(Protocol):
    """Runs one variant in this process."""

    def transcribe(self, wave: Wave, language: str | None) -> Timed:
        """Transcribe a wave of at most 30 s, float32, 16 kHz."""

    def precision(self) -> Precision:
        """Read back what the variant computes in."""
