"""The engines `faster-whisper` and `faster-whisper-batched`: CTranslate2, window after window or windows in batches."""

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sottovoce.benchmark.engines.engine import (
    ConvertingEngine,
    EngineSpec,
    Entry,
    ModelSource,
    Transcribe,
    group_by_language,
    is_long,
)
from sottovoce.benchmark.engines.transcription import StageClock, TimedTranscript
from sottovoce.errors import SpecError
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.terms import Ctranslate2Type, Format, Stage

if TYPE_CHECKING:
    from sottovoce.benchmark.schema.precision import Precision
    from sottovoce.runs import Run
    from sottovoce.runtime.audio.decode import Wave

COMPUTE_TYPE = "default"
"""That of the file: INT8 of the checkpoint that is converted for the comparison, else what a variant has."""

CONVERTED = str(Ctranslate2Type.INT8)
"""The checkpoint converted for the comparison, where the run has no CTranslate2 variant.

CTranslate2 computes the same from float16 weights loaded as int8; weights stored in INT8 are smaller, load faster and
are rounded once instead of twice.
"""

BATCH_SIZE = 8


class _Timed:
    """A function of faster-whisper whose calls are timed."""

    def __init__(self, function: Callable[..., Any], clock: StageClock, stage: Stage) -> None:
        self._function = function
        self._clock = clock
        self._stage = stage

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._clock.run(self._stage, self._function, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._function, name)


class FasterWhisperEngine(ConvertingEngine):
    """A CTranslate2 folder in faster-whisper, greedy."""

    name = "faster-whisper"
    help = "CTranslate2, for a CTranslate2 variant or the checkpoint in INT8"
    modules = ("faster_whisper", "ctranslate2", "threadpoolctl")
    extra = "peers"
    distributions = ("faster-whisper", "ctranslate2")
    takes_long = True

    def __init__(self, folder: Path, compute: ComputeSpec) -> None:
        from threadpoolctl import threadpool_limits

        self._threads = compute.threads
        self._model = _load(folder, compute)
        # faster-whisper computes its features with a matrix product in NumPy, whose BLAS threads spin beside the
        # encoder: with one BLAS thread it is 1.11 (base) to 1.17 (tiny.en) times as fast (docs/lab-notes.md).
        threadpool_limits(limits=1, user_api="blas")
        self._clock = StageClock(Stage.FEATURES, Stage.ENCODER)
        self._model.feature_extractor = _Timed(self._model.feature_extractor, self._clock, Stage.FEATURES)
        self._model.encode = _Timed(self._model.encode, self._clock, Stage.ENCODER)
        self._pipeline = self._pipeline_of(self._model)

    @classmethod
    def default_variants(cls, run: "Run") -> tuple[str, ...]:
        """Name the run's own INT8 variant of CTranslate2, else the converted checkpoint."""
        found = (each.name for each in run.variants if each.facts.ctranslate2_type is Ctranslate2Type.INT8)
        return (next(found, CONVERTED),)

    @classmethod
    def entry(cls, source: ModelSource, variant: str) -> Entry | None:
        """Choose a CTranslate2 variant of the run, or the converted checkpoint."""
        ours = {each.name: each for each in source.run.variants if each.facts.format is Format.CTRANSLATE2}
        if variant in ours:
            return cls._variant_entry(ours[variant], source.threads)
        if variant != CONVERTED:
            raise SpecError(
                f"{cls.name}:{variant}: {cls.name} is measured with {CONVERTED}, or with a CTranslate2 variant of "
                f"the run ({', '.join(ours) or 'it has none'})"
            )
        return cls._converted_entry(source, variant)

    @staticmethod
    def converter() -> str:
        """CTranslate2's own converter."""
        from importlib.metadata import version

        return f"ctranslate2-{version('ctranslate2')}"

    @staticmethod
    def convert(checkpoint: Path, into: Path, kind: str) -> None:
        """Convert a checkpoint for CTranslate2."""
        from sottovoce.optimize.ctranslate2.export import export_ctranslate2

        export_ctranslate2(checkpoint, into, kind=Ctranslate2Type(kind))

    @classmethod
    def open_cold(cls, spec: EngineSpec) -> Transcribe:
        """Load a folder in faster-whisper."""
        model = _load(spec.folder, spec.compute)
        pipeline = cls._pipeline_of(model)
        return lambda wave, language: _text(cls._segments(pipeline, wave, _known(model, language)))

    def transcribe(self, wave: "Wave", language: str | None) -> TimedTranscript:
        """Transcribe a wave, float32, shape (n_samples,), 16 kHz; one over 30 s with timestamps, which cut its windows."""
        known = _known(self._model, language)
        self._clock.reset()
        started = time.perf_counter()
        segments = tuple(self._segments(self._pipeline, wave, known))
        text = _text(segments)
        latency = time.perf_counter() - started
        return TimedTranscript.from_stages(
            text,
            n_tokens=sum(len(segment.tokens) for segment in segments),
            latency_s=latency,
            seconds=self._clock.seconds,
            calls=self._clock.calls,
        )

    def segments_with_words(self, wave: "Wave", prompt: str, language: str | None) -> list[Any]:
        """Transcribe a wave after a prompt; return faster-whisper's segments with word times, for live transcription."""
        options = {"without_timestamps": False, "word_timestamps": True, "condition_on_previous_text": True}
        known = _greedy(_known(self._model, language)) | options
        return list(self._model.transcribe(wave, initial_prompt=prompt or None, vad_filter=False, **known)[0])

    @staticmethod
    def _pipeline_of(model: Any) -> Any:
        """Return what transcribes."""
        return model

    @staticmethod
    def _segments(pipeline: Any, wave: "Wave", language: str | None) -> Any:
        """Start a transcription; the work is done while the segments are taken."""
        options = _greedy(language) | {"without_timestamps": not is_long(wave)}
        return pipeline.transcribe(wave, vad_filter=False, **options)[0]

    def precision(self) -> "Precision":
        """Return the compute type that CTranslate2 chose; it shows no nodes to read back."""
        from sottovoce.benchmark.schema.precision import Precision

        return Precision(
            label=str(self._model.model.compute_type), components={}, threads=self._threads, streams=1
        )


class BatchedFasterWhisperEngine(FasterWhisperEngine):
    """A CTranslate2 folder in faster-whisper's pipeline for batches, greedy."""

    name = "faster-whisper-batched"
    help = "faster-whisper with the windows of a clip in batches"

    @staticmethod
    def _pipeline_of(model: Any) -> Any:
        from faster_whisper import BatchedInferencePipeline

        return BatchedInferencePipeline(model)

    @staticmethod
    def _segments(pipeline: Any, wave: "Wave", language: str | None) -> Any:
        return pipeline.transcribe(wave, batch_size=BATCH_SIZE, **_greedy(language))[0]

    def transcribe_batch(
        self, waves: "Sequence[Wave]", languages: Sequence[str | None], batch_size: int
    ) -> float:
        """Transcribe clips up to 30 s in batches, joined to one recording per language; return the seconds that it took."""
        import numpy as np

        groups = group_by_language(waves, languages, frozenset(self._model.supported_languages))
        started = time.perf_counter()
        for known, alike in groups.items():
            segments, _ = self._pipeline.transcribe(
                np.concatenate(alike),
                batch_size=batch_size,
                vad_filter=False,
                clip_timestamps=_spans(alike),
                **_greedy(known),
            )
            tuple(segments)
        return time.perf_counter() - started


def _load(folder: Path, compute: ComputeSpec) -> Any:
    """Load a folder (`faster_whisper.WhisperModel`)."""
    import ctranslate2
    from faster_whisper import WhisperModel

    ctranslate2.set_log_level(logging.ERROR)  # it warns of types that the CPU has no kernels for
    return WhisperModel(str(folder), device="cpu", compute_type=COMPUTE_TYPE, cpu_threads=compute.threads)


def _known(model: Any, language: str | None) -> str | None:
    return language if language in model.supported_languages else None


def _greedy(language: str | None) -> dict[str, Any]:
    """Return the options of a greedy transcription."""
    return {
        "language": language,
        "beam_size": 1,
        "temperature": 0.0,
        "without_timestamps": True,
        "condition_on_previous_text": False,
    }


def _text(segments: Any) -> str:
    return " ".join(segment.text.strip() for segment in segments)


def _spans(waves: "Sequence[Wave]") -> list[dict[str, float]]:
    """Return where each wave starts and ends in all of them joined, seconds."""
    import numpy as np

    ends = np.cumsum([len(wave) for wave in waves]) / SAMPLE_RATE_HZ
    starts = (0.0, *ends[:-1])
    return [{"start": float(start), "end": float(end)} for start, end in zip(starts, ends, strict=True)]
