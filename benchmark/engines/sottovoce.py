"""The engine `sottovoce`: this project's runtime, without torch."""

import time
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sottovoce.benchmark.engines.engine import (
    DEFAULT_ENGINE,
    Engine,
    EngineSpec,
    Probe,
    Transcribe,
    group_by_language,
)
from sottovoce.benchmark.engines.transcription import DetailedTranscript, TimedTranscript
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.layout import components_of, format_of
from sottovoce.runtime.transcript import Phase
from sottovoce.terms import Component, Format, Stage

if TYPE_CHECKING:
    from sottovoce.benchmark.schema.precision import Precision
    from sottovoce.runtime.audio.decode import Wave
    from sottovoce.runtime.options import TranscribeOptions
    from sottovoce.runtime.protocol import Transcriber

LIBRARIES = {
    Format.OPENVINO: "openvino",
    Format.ONNX: "onnxruntime",
    Format.CTRANSLATE2: "faster_whisper",
}
"""The library that runs each format."""

STAGES = {
    Phase.FEATURES: Stage.FEATURES,
    Phase.ENCODER: Stage.ENCODER,
    Phase.PREFILL: Stage.DECODER,
    Phase.DECODE: Stage.DECODER_WITH_PAST,
}
"""The phases that are stages; time in any other is `other`."""


class SottovoceEngine(Engine):
    """A variant in our runtime, greedy, without timestamps and without temperature fallback."""

    name = DEFAULT_ENGINE
    help = "this project's runtime, for every variant of a run"
    modules = ("openvino",)
    extra = "benchmark"
    takes_long = True

    def __init__(self, folder: Path, compute: ComputeSpec) -> None:
        from sottovoce.runtime.loading import load

        self._folder = folder
        self._compute = compute
        self._parts = components_of(folder)
        self._transcriber = load(folder, compute=compute)

    @classmethod
    def import_libraries(cls, folder: Path) -> None:
        """Import our runtime, and the library of the variant's format."""
        from sottovoce.runtime import loading  # noqa: F401

        library = LIBRARIES[format_of(folder)]
        if find_spec(library) is not None:  # otherwise loading names the extra that installs it
            import_module(library)

    @classmethod
    def open_cold(cls, spec: EngineSpec) -> Transcribe:
        """Load a variant in our runtime."""
        from sottovoce.runtime.loading import load

        transcriber = load(spec.folder, compute=spec.compute)
        return lambda wave, language: transcriber.transcribe(wave, _options(transcriber, language)).text

    def transcribe(self, wave: "Wave", language: str | None) -> TimedTranscript:
        """Transcribe a wave, float32, shape (n_samples,), 16 kHz."""
        options = _options(self._transcriber, language)
        started = time.perf_counter()
        transcript = self._transcriber.transcribe(wave, options)
        text = transcript.text
        latency = time.perf_counter() - started
        timings = transcript.timings
        return TimedTranscript.from_stages(
            text,
            n_tokens=transcript.n_tokens,
            latency_s=latency,
            seconds={stage: timings.phase_s.get(phase, 0.0) for phase, stage in STAGES.items()},
            calls={stage: timings.calls.get(phase, 0) for phase, stage in STAGES.items()},
        )

    def detail(self, wave: "Wave", language: str | None) -> DetailedTranscript:
        """Transcribe a wave as `transcribe` does, with word times; detect its language too.

        An ONNX variant returns no cross-attention to time words by. With word times faster-whisper transcribes
        differently: it transcribes what follows the last word again.
        """
        has_word_times = format_of(self._folder) is Format.OPENVINO
        options = _options(self._transcriber, language, word_timestamps=has_word_times)
        transcript = self._transcriber.transcribe(wave, options)
        is_multilingual = len(self._transcriber.languages) > 1
        return DetailedTranscript(
            text=transcript.text,
            tokens=tuple(token for segment in transcript.segments for token in segment.tokens),
            language=self._transcriber.detect_language(wave).language if is_multilingual else None,
            words=tuple(word for segment in transcript.segments for word in segment.words),
        )

    def transcribe_batch(
        self, waves: "Sequence[Wave]", languages: Sequence[str | None], batch_size: int
    ) -> float:
        """Transcribe clips up to 30 s in batches; return the seconds that it took."""
        groups = group_by_language(waves, languages, self._transcriber.languages)
        started = time.perf_counter()
        for known, alike in groups.items():
            self._transcriber.transcribe_batch(
                alike, _options(self._transcriber, known, batch_size=batch_size)
            )
        return time.perf_counter() - started

    def precision(self) -> "Precision":
        """Read back what the variant computes in; CTranslate2 returns its compute type and no nodes."""
        from sottovoce.benchmark.engines.readback import read_onnx_precision, read_precision
        from sottovoce.benchmark.schema.precision import Precision

        compiled = {part: self._transcriber.compiled(part) for part in self._parts}
        match format_of(self._folder):
            case Format.OPENVINO:
                return read_precision(compiled)
            case Format.ONNX:
                return read_onnx_precision(self._folder, compiled)
            case Format.CTRANSLATE2:
                label = str(compiled[Component.ENCODER].compute_type)
                return Precision(label=label, components={}, threads=self._compute.threads, streams=1)

    def probe(self) -> Probe | None:
        """Time encoder and decode step alone, and count their work; None unless the variant is OpenVINO's."""
        from sottovoce.benchmark.engines.probe import probe_variant

        if format_of(self._folder) is not Format.OPENVINO:
            return None
        return probe_variant(self._folder, self._compute)


def _options(transcriber: "Transcriber", language: str | None, **more: Any) -> "TranscribeOptions":
    from sottovoce.runtime.options import TranscribeOptions

    known = language if language in transcriber.languages else None
    return TranscribeOptions(language=known, without_timestamps=True, temperature=0.0, **more)
