"""Benchmark engines that run no model: text and latency follow from the length of the audio."""

import math
import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from sottovoce.benchmark.engines.engine import Engine, EngineSpec, Load
from sottovoce.benchmark.engines.transcription import TimedTranscript
from sottovoce.benchmark.schema.precision import ComponentPrecision, Precision
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave
from sottovoce.terms import Stage

FAKE_STAGE_SHARES = {
    Stage.FEATURES: 0.1,
    Stage.ENCODER: 0.4,
    Stage.DECODER: 0.1,
    Stage.DECODER_WITH_PAST: 0.3,
    Stage.OTHER: 0.1,
}
"""How a pretended latency falls on the stages."""


class FakeEngine(Engine):
    """An engine that runs nothing: text and times follow from the length of the wave.

    Args:
        factor: pretended seconds of work per second of audio.
        fails_on: lengths in samples of the clips that it fails on.
        dies_on: lengths in samples of the clips that end its process.
    """

    def __init__(
        self, *, factor: float, fails_on: frozenset[int] = frozenset(), dies_on: frozenset[int] = frozenset()
    ) -> None:
        self._factor = factor
        self._fails_on = fails_on
        self._dies_on = dies_on

    def transcribe(self, wave: Wave, language: str | None) -> TimedTranscript:
        """Pretend to transcribe a wave; a second of audio is a word of two tokens."""
        if len(wave) in self._dies_on:
            import os

            os._exit(DEATH_EXIT_CODE)
        if len(wave) in self._fails_on:
            raise RuntimeError(f"cannot transcribe\n{len(wave)} samples")
        audio_s = len(wave) / SAMPLE_RATE_HZ
        latency_s = self._factor * audio_s
        n_tokens = 2 * math.ceil(audio_s)
        return TimedTranscript(
            text=" ".join([language or "none"] * math.ceil(audio_s)),
            n_tokens=n_tokens,
            latency_s=latency_s,
            stage_s={stage: share * latency_s for stage, share in FAKE_STAGE_SHARES.items()},
            calls={
                Stage.FEATURES: 1,
                Stage.ENCODER: 1,
                Stage.DECODER: 1,
                Stage.DECODER_WITH_PAST: n_tokens - 1,
            },
        )

    def transcribe_batch(
        self, waves: Sequence[Wave], languages: Sequence[str | None], batch_size: int
    ) -> float:
        """Pretend that a batch takes as long as its first clip."""
        pairs = list(zip(waves, languages, strict=True))
        return sum(self.transcribe(*pairs[first]).latency_s for first in range(0, len(pairs), batch_size))

    def precision(self) -> Precision:
        """Pretend to compute in f32."""
        return fake_precision()


DEATH_EXIT_CODE = 3
"""Of a process that a `FakeEngine` ends."""

MISSING_LIBRARY = (
    "/opt/venv/lib/engine.so: libfake.so.2: cannot open shared object file: No such file or directory"
)
"""What the loader says of an engine that is installed and broken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeEngines:
    """Makes a `FakeEngine` for each entry; a worker takes it to its process.

    Attributes:
        factors: pretended seconds of work per second of audio, by entry; 0.1 by default.
        fails_on: lengths in samples of the clips that engines fail on, by entry.
        dies_on: lengths in samples of the clips that end the process, by entry.
        unloadable: entries whose libraries cannot be imported.
        unstartable: those of which that holds in the fresh process of a cold start only.
    """

    factors: dict[str, float] = field(default_factory=dict)
    fails_on: dict[str, frozenset[int]] = field(default_factory=dict)
    dies_on: dict[str, frozenset[int]] = field(default_factory=dict)
    unloadable: frozenset[str] = frozenset()
    unstartable: frozenset[str] = frozenset()

    def __call__(self, spec: EngineSpec) -> Load:
        """Return what makes the engine of an entry.

        Raises:
            ImportError: the entry is one of those that cannot be loaded.
        """
        is_cold = multiprocessing.parent_process() is None
        if spec.name in self.unloadable or (is_cold and spec.name in self.unstartable):
            raise ImportError(MISSING_LIBRARY)
        return partial(
            FakeEngine,
            factor=self.factors.get(spec.name, 0.1),
            fails_on=self.fails_on.get(spec.name, frozenset()),
            dies_on=self.dies_on.get(spec.name, frozenset()),
        )


def fake_precision(kind: str = "f32") -> Precision:
    """Return the precision of a variant all of whose nodes compute in `kind`."""
    component = ComponentPrecision(
        inference=kind,
        kv_cache=kind,
        execution_mode="ACCURACY",
        dynamic_quantization_group_size=0,
        nodes={kind: 4},
    )
    return Precision(
        label=kind,
        components=dict.fromkeys(("encoder", "decoder", "decoder_with_past"), component),
        threads=1,
        streams=1,
    )
