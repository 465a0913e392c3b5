"""The engine `optimum-intel`: transformers' generation over OpenVINO infer requests."""

import time
from pathlib import Path
from typing import Any

from sottovoce.benchmark.engines.readback import read_precision
from sottovoce.benchmark.engines.transcription import TimedTranscript
from sottovoce.benchmark.schema.precision import Precision
from sottovoce.reference_pipeline import OptimumPipeline, one_torch_thread
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.layout import layout_of
from sottovoce.terms import Component, Layout, Stage

STAGES = {
    Component.ENCODER: Stage.ENCODER,
    Component.DECODER: Stage.DECODER,
    Component.DECODER_WITH_PAST: Stage.DECODER_WITH_PAST,
}


class StageClock:
    """Adds up seconds and calls by stage."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES.values(), 0.0)
        self.calls = dict.fromkeys(STAGES.values(), 0)

    def add(self, stage: Stage, seconds: float) -> None:
        """Count one call of a stage."""
        self.seconds[stage] += seconds
        self.calls[stage] += 1

    def reset(self) -> None:
        """Start from nothing."""
        for stage in self.seconds:
            self.seconds[stage] = 0.0
            self.calls[stage] = 0


class TimedRequest:
    """An infer request, or a compiled model, whose calls are timed.

    A decoder's time is OpenVINO's own latency of the inference (`InferRequest.latency`).

    A stateful decoder does the work of both decoders: its first call after a reset is the first
    pass, every other one a step.
    """

    def __init__(self, request: Any, clock: StageClock, stage: Stage, *, stateful: bool) -> None:
        self._request = request
        self._clock = clock
        self._stage = stage
        self._stateful = stateful
        self._is_first = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run an inference, timed."""
        started = time.perf_counter()
        outputs = self._request(*args, **kwargs)
        self._count(time.perf_counter() - started)
        return outputs

    def start_async(self, *args: Any, **kwargs: Any) -> None:
        """Start an inference."""
        self._request.start_async(*args, **kwargs)

    def wait(self) -> None:
        """Wait for the inference, and count it."""
        self._request.wait()
        self._count(self._request.latency / 1000)

    def reset_state(self) -> None:
        """Reset a stateful decoder: what follows is a first pass."""
        self._request.reset_state()
        self._is_first = True

    def _count(self, seconds: float) -> None:
        step = self._stateful and not self._is_first
        self._clock.add(Stage.DECODER_WITH_PAST if step else self._stage, seconds)
        self._is_first = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._request, name)


class OptimumIntelEngine:
    """A variant in optimum-intel with a clock in front of each component."""

    def __init__(self, folder: Path, compute: ComputeSpec) -> None:
        self._variant = OptimumPipeline.load(folder, compute)
        self._clock = StageClock()
        is_stateful = layout_of(folder) is Layout.STATEFUL
        for component in self._variant.components:
            self._wrap(component, stateful=is_stateful and component is Component.DECODER)

    def _wrap(self, component: Component, *, stateful: bool) -> None:
        self._variant.wrap(
            component,
            lambda request: TimedRequest(request, self._clock, STAGES[component], stateful=stateful),
        )

    def transcribe(self, wave: Wave, language: str | None) -> TimedTranscript:
        """Transcribe a wave of at most 30 s, float32, 16 kHz."""
        known = language if language in self._variant.languages else None
        self._clock.reset()
        with one_torch_thread():
            started = time.perf_counter()
            features = self._variant.features(wave)
            featured = time.perf_counter()
            tokens = self._variant.generate(features, known)
            text = self._variant.text(tokens)
            latency = time.perf_counter() - started
        stages = {Stage.FEATURES: featured - started, **self._clock.seconds}
        stages[Stage.OTHER] = max(0.0, latency - sum(stages.values()))
        return TimedTranscript(
            text=text,
            n_tokens=len(tokens),
            latency_s=latency,
            stage_s=stages,
            calls={Stage.FEATURES: 1, **self._clock.calls},
        )

    def precision(self) -> Precision:
        """Read back what the variant computes in."""
        return read_precision({part: self._variant.compiled(part) for part in self._variant.components})
