"""The engine `openvino-genai`: its `WhisperPipeline`, which runs the stateful layout."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sottovoce.benchmark.engines.engine import Engine, EngineSpec, Transcribe, is_long
from sottovoce.benchmark.engines.transcription import TimedTranscript
from sottovoce.benchmark.engines.variants import check_openvino, stateful_variants
from sottovoce.errors import SpecError
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.terms import Layout, Stage

if TYPE_CHECKING:
    from sottovoce.benchmark.schema.precision import Precision
    from sottovoce.runs import Run, Variant
    from sottovoce.runtime.audio.decode import Wave

US_PER_S = 1e6


class OpenVinoGenAiEngine(Engine):
    """A variant in openvino-genai, greedy."""

    name = "openvino-genai"
    help = "OpenVINO GenAI's pipeline, for stateful OpenVINO variants"
    modules = ("openvino_genai",)
    extra = "peers"
    distributions = ("openvino-genai",)
    takes_long = True

    def __init__(self, folder: Path, compute: ComputeSpec) -> None:
        self._compute = compute
        self._pipeline, self._config = _load(folder, compute)

    @classmethod
    def default_variants(cls, run: "Run") -> tuple[str, ...]:
        """Name the stateful variants: the float32 one and those that are quantized."""
        names = stateful_variants(run)
        if not names:
            raise SpecError(
                f"openvino-genai needs a stateful OpenVINO variant that is not elastic, and {run.folder} has none; "
                "make the run with a recipe that exports one, such as int8"
            )
        return names

    @classmethod
    def check_variant(cls, variant: "Variant") -> None:
        """Refuse all but the stateful layout of OpenVINO."""
        check_openvino(cls.name, variant)
        if variant.facts.layout is not Layout.STATEFUL:
            raise SpecError(
                f"{cls.name}:{variant.name}: {variant.name} is {variant.facts.layout}, "
                f"{cls.name} runs the stateful layout only"
            )

    @classmethod
    def open_cold(cls, spec: EngineSpec) -> Transcribe:
        """Load a variant in a `WhisperPipeline`."""
        pipeline, config = _load(spec.folder, spec.compute)

        def transcribe(wave: "Wave", language: str | None) -> str:
            result = pipeline.generate(wave, **_options(config, wave, language))
            return str(result.texts[0]).strip()

        return transcribe

    def transcribe(self, wave: "Wave", language: str | None) -> TimedTranscript:
        """Transcribe a wave, float32, shape (n_samples,), 16 kHz; one over 30 s with timestamps, which it needs."""
        options = _options(self._config, wave, language)
        detects_language = bool(self._config.is_multilingual) and "language" not in options
        started = time.perf_counter()
        result = self._pipeline.generate(wave, **options)
        text = result.texts[0].strip()
        latency = time.perf_counter() - started
        has_one_prefill = not (is_long(wave) or detects_language)
        return _timed(text, latency, result.perf_metrics, has_one_prefill=has_one_prefill)

    def precision(self) -> "Precision":
        """Return the precision that was requested: it shows no compiled model to read it back from."""
        from sottovoce.benchmark.schema.precision import Precision

        return Precision(
            label=self._compute.precision.value, components={}, threads=self._compute.threads, streams=1
        )


def _load(folder: Path, compute: ComputeSpec) -> tuple[Any, Any]:
    """Load a pipeline, and return it with its generation config."""
    import openvino_genai

    pipeline = openvino_genai.WhisperPipeline(str(folder), "CPU", **compute.properties())
    return pipeline, pipeline.get_generation_config()


def _options(config: Any, wave: "Wave", language: str | None) -> dict[str, Any]:
    options = {"return_timestamps": is_long(wave), "num_beams": 1, "do_sample": False}
    if not config.is_multilingual:
        return options
    token = f"<|{language}|>"
    known = {"language": token} if token in config.lang_to_id else {}
    return {**options, "task": "transcribe", **known}


def _timed(text: str, latency: float, metrics: Any, *, has_one_prefill: bool) -> TimedTranscript:
    """Read openvino-genai's own clocks.

    Args:
        text: without special tokens.
        latency: seconds.
        metrics: `WhisperPerfMetrics`; its raw durations are microseconds.
        has_one_prefill: the decoder's first inference is its only prefill. With several windows or a language to
            detect, the metrics do not separate prefills and steps, and their time is left to `other`.
    """
    raw = metrics.whisper_raw_metrics
    durations = {
        Stage.FEATURES: raw.features_extraction_durations,
        Stage.ENCODER: raw.encode_inference_durations,
    }
    if has_one_prefill:
        decoding = raw.decode_inference_durations
        durations |= {Stage.DECODER: decoding[:1], Stage.DECODER_WITH_PAST: decoding[1:]}
    return TimedTranscript.from_stages(
        text,
        n_tokens=max(0, metrics.get_num_generated_tokens() - len(raw.encode_inference_durations)),
        latency_s=latency,
        seconds={stage: sum(parts) / US_PER_S for stage, parts in durations.items()},
        calls={stage: len(parts) for stage, parts in durations.items()},
    )
