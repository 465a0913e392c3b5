"""The engines `faster-whisper` and `faster-whisper-batched`: CTranslate2, window after window or windows in batches."""

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sottovoce.benchmark.engines.engine import WINDOW_S, group_by_language
from sottovoce.benchmark.engines.transcription import TimedTranscript
from sottovoce.benchmark.schema.precision import Precision
from sottovoce.runtime.audio.decode import SAMPLE_RATE_HZ, Wave
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.terms import Stage

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

    def __init__(self, folder: Path, compute: ComputeSpec) -> None:
        import ctranslate2
        from faster_whisper import WhisperModel
        from threadpoolctl import threadpool_limits

        # Its features are a product in NumPy, whose BLAS threads spin beside the encoder: with one of them it is 1.11 (base)
        # to 1.17 (tiny.en) times as fast as it comes (docs/lab-notes.md).
        threadpool_limits(limits=1, user_api="blas")
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
        self._languages = frozenset(self._model.supported_languages)

    def transcribe(self, wave: Wave, language: str | None) -> TimedTranscript:
        """Transcribe a wave, float32, shape (n_samples,), 16 kHz; one over 30 s with timestamps, by which windows are cut."""
        known = language if language in self._languages else None
        for clock in self._clocks.values():
            clock.reset()
        started = time.perf_counter()
        segments = tuple(self._segments(wave, known))
        text = " ".join(segment.text.strip() for segment in segments)
        latency = time.perf_counter() - started
        stages = {stage: clock.seconds for stage, clock in self._clocks.items()}
        return TimedTranscript(
            text=text,
            n_tokens=sum(len(segment.tokens) for segment in segments),
            latency_s=latency,
            stage_s={**stages, Stage.OTHER: max(0.0, latency - sum(stages.values()))},
            calls={stage: clock.calls for stage, clock in self._clocks.items()},
        )

    def _segments(self, wave: Wave, language: str | None) -> Any:
        """Start a transcription; the work is done while the segments are taken."""
        is_long = len(wave) > WINDOW_S * SAMPLE_RATE_HZ
        asked = greedy(language) | {"without_timestamps": not is_long}
        return self._model.transcribe(wave, vad_filter=False, **asked)[0]

    def precision(self) -> Precision:
        """Tell the compute type that CTranslate2 chose; it shows no nodes to read back."""
        return Precision(
            label=str(self._model.model.compute_type), components={}, threads=self._threads, streams=1
        )


class BatchedFasterWhisperEngine(FasterWhisperEngine):
    """A CTranslate2 folder in faster-whisper's pipeline for batches, greedy."""

    def __init__(self, folder: Path, compute: ComputeSpec) -> None:
        from faster_whisper import BatchedInferencePipeline

        super().__init__(folder, compute)
        self._batched = BatchedInferencePipeline(self._model)

    def _segments(self, wave: Wave, language: str | None) -> Any:
        return self._batched.transcribe(wave, batch_size=BATCH_SIZE, **greedy(language))[0]

    def transcribe_batch(
        self, waves: Sequence[Wave], languages: Sequence[str | None], batch_size: int
    ) -> float:
        """Transcribe clips up to 30 s in batches, joined to one recording per language; return the seconds that it took."""
        groups = group_by_language(waves, languages, self._languages)
        started = time.perf_counter()
        for known, alike in groups.items():
            segments, _ = self._batched.transcribe(
                np.concatenate(alike),
                batch_size=batch_size,
                vad_filter=False,
                clip_timestamps=_places(alike),
                **greedy(known),
            )
            tuple(segments)
        return time.perf_counter() - started


def _places(waves: Sequence[Wave]) -> list[dict[str, float]]:
    """Return where each wave starts and ends in all of them joined, seconds."""
    ends = np.cumsum([len(wave) for wave in waves]) / SAMPLE_RATE_HZ
    starts = (0.0, *ends[:-1])
    return [{"start": float(start), "end": float(end)} for start, end in zip(starts, ends, strict=True)]


def greedy(language: str | None) -> dict[str, Any]:
    """Return what a greedy transcription is asked for."""
    return {
        "language": language,
        "beam_size": 1,
        "temperature": 0.0,
        "without_timestamps": True,
        "condition_on_previous_text": False,
    }
