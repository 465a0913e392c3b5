"""The engine `optimum-intel`: transformers' generation over OpenVINO infer requests."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sottovoce.benchmark.engines.engine import Engine, EngineSpec, Transcribe
from sottovoce.benchmark.engines.transcription import StageClock, TimedTranscript
from sottovoce.benchmark.engines.variants import check_openvino, quantized_stateless
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.layout import layout_of
from sottovoce.terms import Component, Layout, Stage

if TYPE_CHECKING:
    from sottovoce.benchmark.schema.precision import Precision
    from sottovoce.reference_pipeline import OptimumPipeline
    from sottovoce.runs import Run, Variant
    from sottovoce.runtime.audio.decode import Wave

STAGES = {
    Component.ENCODER: Stage.ENCODER,
    Component.DECODER: Stage.DECODER,
    Component.DECODER_WITH_PAST: Stage.DECODER_WITH_PAST,
}


class _TimedRequest:
    """An infer request, or a compiled model, whose calls are timed.

    A decoder's time is OpenVINO's own latency of the inference (`InferRequest.latency`). A stateful decoder does the
    work of both decoders: its first call after a reset is the prefill, every other one a step.
    """

    def __init__(self, request: Any, clock: StageClock, stage: Stage, *, stateful: bool) -> None:
        self._request = request
        self._clock = clock
        self._stage = stage
        self._stateful = stateful
        self._is_first = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._clock.run(self._next_stage(), self._request, *args, **kwargs)

    def start_async(self, *args: Any, **kwargs: Any) -> None:
        self._request.start_async(*args, **kwargs)

    def wait(self) -> None:
        self._request.wait()
        self._clock.add(self._next_stage(), self._request.latency / 1000)

    def reset_state(self) -> None:
        """Reset a stateful decoder: the next inference is a prefill."""
        self._request.reset_state()
        self._is_first = True

    def _next_stage(self) -> Stage:
        is_step = self._stateful and not self._is_first
        self._is_first = False
        return Stage.DECODER_WITH_PAST if is_step else self._stage

    def __getattr__(self, name: str) -> Any:
        return getattr(self._request, name)


class OptimumIntelEngine(Engine):
    """A variant in optimum-intel with a clock around each component."""

    name = "optimum-intel"
    help = "transformers' generation on OpenVINO, for OpenVINO variants"
    modules = ("optimum.intel",)
    extra = "optimize"

    def __init__(self, folder: Path, compute: ComputeSpec) -> None:
        from sottovoce.reference_pipeline import OptimumPipeline

        self._pipeline = OptimumPipeline.load(folder, compute)
        self._clock = StageClock(Stage.FEATURES, *STAGES.values())
        is_stateful = layout_of(folder) is Layout.STATEFUL
        for component in self._pipeline.components:
            self._wrap(component, stateful=is_stateful and component is Component.DECODER)

    @classmethod
    def default_variants(cls, run: "Run") -> tuple[str, ...]:
        """Name the quantized variant with two decoders, else the baseline."""
        return (quantized_stateless(run) or run.baseline.name,)

    @classmethod
    def check_variant(cls, variant: "Variant") -> None:
        """Refuse what is not OpenVINO's, or elastic."""
        check_openvino(cls.name, variant)

    @classmethod
    def import_libraries(cls, folder: Path) -> None:  # noqa: ARG003 - the same for every variant
        """Import the classes that optimum-intel and transformers import on first use."""
        from optimum.intel import OVModelForSpeechSeq2Seq  # noqa: F401
        from transformers import WhisperProcessor  # noqa: F401

        import sottovoce.reference_pipeline  # noqa: F401

    @classmethod
    def open_cold(cls, spec: EngineSpec) -> Transcribe:
        """Load a variant in optimum-intel."""
        from sottovoce.reference_pipeline import OptimumPipeline, one_torch_thread

        pipeline = OptimumPipeline.load(spec.folder, spec.compute)

        def transcribe(wave: "Wave", language: str | None) -> str:
            with one_torch_thread():
                return pipeline.transcribe(wave, pipeline.known_language(language)).text

        return transcribe

    def _wrap(self, component: Component, *, stateful: bool) -> None:
        self._pipeline.wrap(
            component,
            lambda request: _TimedRequest(request, self._clock, STAGES[component], stateful=stateful),
        )

    def transcribe(self, wave: "Wave", language: str | None) -> TimedTranscript:
        """Transcribe a wave of at most 30 s, float32, 16 kHz."""
        from sottovoce.reference_pipeline import one_torch_thread

        with one_torch_thread():
            return transcribe_timed(self._pipeline, self._clock, wave, language)

    def precision(self) -> "Precision":
        """Read back what the variant computes in."""
        from sottovoce.benchmark.engines.readback import read_precision

        return read_precision({part: self._pipeline.compiled(part) for part in self._pipeline.components})


def transcribe_timed(
    pipeline: "OptimumPipeline", clock: StageClock, wave: "Wave", language: str | None
) -> TimedTranscript:
    """Transcribe a wave of at most 30 s, float32, 16 kHz, in transformers; `clock` times the model's parts."""
    known = pipeline.known_language(language)
    clock.reset()
    started = time.perf_counter()
    features = clock.run(Stage.FEATURES, pipeline.features, wave)
    tokens = pipeline.generate(features, known)
    text = pipeline.text(tokens)
    latency = time.perf_counter() - started
    return TimedTranscript.from_stages(
        text, n_tokens=len(tokens), latency_s=latency, seconds=clock.seconds, calls=clock.calls
    )
