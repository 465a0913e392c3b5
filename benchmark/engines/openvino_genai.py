"""The engine `openvino-genai`: its `WhisperPipeline`, which takes the stateful layout."""

import time
from pathlib import Path
from typing import Any

from sottovoce.benchmark.engines.engine import WINDOW_S
from sottovoce.benchmark.engines.transcription import TimedTranscript
from sottovoce.benchmark.schema.precision import Precision
from sottovoce.runtime.audio.decode import SAMPLE_RATE_HZ, Wave
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.terms import Stage

US_PER_S = 1e6


class OpenVinoGenAiEngine:
    """A variant in openvino-genai, greedy."""

    def __init__(self, folder: Path, compute: ComputeSpec) -> None:
        import openvino_genai

        self._compute = compute
        self._pipeline = openvino_genai.WhisperPipeline(str(folder), "CPU", **compute.properties())
        config = self._pipeline.get_generation_config()
        self._is_multilingual = bool(config.is_multilingual)
        self._languages = frozenset(config.lang_to_id)

    def transcribe(self, wave: Wave, language: str | None) -> TimedTranscript:
        """Transcribe a wave, float32, shape (n_samples,), 16 kHz; one over 30 s with timestamps, which it needs."""
        asked = self._asked(language)
        is_long = len(wave) > WINDOW_S * SAMPLE_RATE_HZ
        started = time.perf_counter()
        result = self._pipeline.generate(
            wave, return_timestamps=is_long, num_beams=1, do_sample=False, **asked
        )
        text = result.texts[0].strip()
        latency = time.perf_counter() - started
        return _timed(text, latency, result.perf_metrics, is_one_pass=not (is_long or self._detects(asked)))

    def _detects(self, asked: dict[str, str]) -> bool:
        return self._is_multilingual and "language" not in asked

    def _asked(self, language: str | None) -> dict[str, str]:
        token = f"<|{language}|>"
        if not self._is_multilingual:
            return {}
        return {"task": "transcribe"} | ({"language": token} if token in self._languages else {})

    def precision(self) -> Precision:
        """Tell what it was asked to compute in; it shows no compiled model to read it back from."""
        return Precision(
            label=self._compute.precision.value, components={}, threads=self._compute.threads, streams=1
        )


def _timed(text: str, latency: float, metrics: Any, *, is_one_pass: bool) -> TimedTranscript:
    """Read openvino-genai's own clocks.

    Args:
        text: without special tokens.
        latency: seconds.
        metrics: `WhisperPerfMetrics`; its raw durations are microseconds.
        is_one_pass: the first inference of the decoder is the only first pass. With several windows or
            a language to detect, first passes and steps are not told apart and are left to `other`.
    """
    raw = metrics.whisper_raw_metrics
    durations = {
        Stage.FEATURES: raw.features_extraction_durations,
        Stage.ENCODER: raw.encode_inference_durations,
    }
    if is_one_pass:
        decoding = raw.decode_inference_durations
        durations |= {Stage.DECODER: decoding[:1], Stage.DECODER_WITH_PAST: decoding[1:]}
    stages = {stage: sum(parts) / US_PER_S for stage, parts in durations.items()}
    n_windows = len(raw.encode_inference_durations)
    return TimedTranscript(
        text=text,
        n_tokens=max(0, metrics.get_num_generated_tokens() - n_windows),
        latency_s=latency,
        stage_s={**stages, Stage.OTHER: max(0.0, latency - sum(stages.values()))},
        calls={stage: len(parts) for stage, parts in durations.items()},
    )
