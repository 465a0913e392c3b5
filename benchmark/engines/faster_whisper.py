"""The engines `faster-whisper` and `faster-whisper-batched`: CTranslate2, window after window or windows in batches."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sottovoce.benchmark.engines.engine import Timed
from sottovoce.benchmark.results import Precision, Stage
from sottovoce.runtime.audio import Wave
from sottovoce.runtime.compute import ComputeSpec

COMPUTE_TYPE = "default"
"""That of the file: INT8 of the checkpoint that is converted for the comparison, else what a variant has."""

BATCH_SIZE = 8


class _Clock:
    """Calls a function, and counts its calls and their seconds."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.reset()

    def reset(self) -> None:
        self.seconds = 0.0
        self.calls = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        result = self._function(*args, **kwargs)
        self.seconds += time.perf_counter() - started
        self.calls += 1
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self._function, name)


class FasterWhisperEngine:
    """A CTranslate2 folder in faster-whisper, greedy."""

    def __init__(self, folder: Path, compute: ComputeSpec, *, is_batched: bool = False) -> None:
        import ctranslate2
        from faster_whisper import BatchedInferencePipeline, WhisperModel

        ctranslate2.set_log_level(logging.ERROR)  # which type it turns weights into is told by `precision`
        self._threads = compute.threads
        self._model = WhisperModel(
            str(folder), device="cpu", compute_type=COMPUTE_TYPE, cpu_threads=compute.threads
        )
        self._clocks = {
            Stage.FEATURES: _Clock(self._model.feature_extractor),
            Stage.ENCODER: _Clock(self._model.encode),
        }
        self._model.feature_extractor = self._clocks[Stage.FEATURES]
        self._model.encode = self._clocks[Stage.ENCODER]
        self._batched = BatchedInferencePipeline(self._model) if is_batched else None
        self._languages = frozenset(self._model.supported_languages)

    def transcribe(self, wave: Wave, language: str | None) -> Timed:
        """Transcribe a wave, float32, shape (n_samples,), 16 kHz."""
        known = language if language in self._languages else None
        for clock in self._clocks.values():
            clock.reset()
        started = time.perf_counter()
        segments = tuple(self._segments(wave, known))
        text = " ".join(segment.text.strip() for segment in segments)
        latency = time.perf_counter() - started
        stages = {stage: clock.seconds for stage, clock in self._clocks.items()}
        return Timed(
            text=text,
            n_tokens=sum(len(segment.tokens) for segment in segments),
            latency_s=latency,
            stage_s={**stages, Stage.OTHER: max(0.0, latency - sum(stages.values()))},
            calls={stage: clock.calls for stage, clock in self._clocks.items()},
        )

    def _segments(self, wave: Wave, language: str | None) -> Any:
        """Start a transcription; the work is done while the segments are taken."""
        greedy = {
            "language": language,
            "beam_size": 1,
            "temperature": 0.0,
            "without_timestamps": True,
            "condition_on_previous_text": False,
        }
        if self._batched is not None:
            return self._batched.transcribe(wave, batch_size=BATCH_SIZE, **greedy)[0]
        return self._model.transcribe(wave, vad_filter=False, **greedy)[0]

    def precision(self) -> Precision:
        """Tell the compute type that CTranslate2 chose; it shows no nodes to read back."""
        return Precision(
            label=str(self._model.model.compute_type), components={}, threads=self._threads, streams=1
        )
