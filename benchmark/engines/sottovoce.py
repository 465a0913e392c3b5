"""The engine `sottovoce`: our own runtime, without torch; what a device runs."""

import time
from collections.abc import Sequence
from pathlib import Path

from sottovoce.benchmark.engines.engine import Probe, group_by_language
from sottovoce.benchmark.engines.probe import probe_variant
from sottovoce.benchmark.engines.readback import read_onnx_precision, read_precision
from sottovoce.benchmark.engines.transcription import DetailedTranscript, TimedTranscript
from sottovoce.benchmark.schema.precision import Precision
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.layout import components_of, format_of
from sottovoce.runtime.options import TranscribeOptions
from sottovoce.runtime.transcriber import Transcriber
from sottovoce.runtime.transcript import Phase
from sottovoce.terms import Component, Format, Stage

STAGES = {
    Phase.FEATURES: Stage.FEATURES,
    Phase.ENCODER: Stage.ENCODER,
    Phase.PREFILL: Stage.DECODER,
    Phase.DECODE: Stage.DECODER_WITH_PAST,
}
"""The phases that are stages; time in any other is `other`."""


class SottovoceEngine:
    """A variant in our runtime, greedy, without timestamps and without attempts at higher temperatures."""

    def __init__(self, folder: Path, compute: ComputeSpec) -> None:
        self._folder = folder
        self._compute = compute
        self._parts = components_of(folder)
        self._transcriber = Transcriber.load(folder, compute=compute)

    def transcribe(self, wave: Wave, language: str | None) -> TimedTranscript:
        """Transcribe a wave, float32, shape (n_samples,), 16 kHz."""
        known = language if language in self._transcriber.languages else None
        options = TranscribeOptions(language=known, with_timestamps=False, temperatures=(0.0,))
        started = time.perf_counter()
        transcript = self._transcriber.transcribe(wave, options)
        text = transcript.text
        latency = time.perf_counter() - started
        timings = transcript.timings
        stages = {stage: timings.phase_s.get(phase, 0.0) for phase, stage in STAGES.items()}
        stages[Stage.OTHER] = max(0.0, latency - sum(stages.values()))
        return TimedTranscript(
            text=text,
            n_tokens=transcript.n_tokens,
            latency_s=latency,
            stage_s=stages,
            calls={stage: timings.calls.get(phase, 0) for phase, stage in STAGES.items()},
        )

    def detail(self, wave: Wave, language: str | None) -> DetailedTranscript:
        """Transcribe a wave as `transcribe` does, with the times of its words; tell which language it would detect.

        ONNX shows no cross-attention to place words by, and faster-whisper says more when it places them: it hears what is
        behind the last word once more.
        """
        known = language if language in self._transcriber.languages else None
        options = TranscribeOptions(
            language=known,
            with_timestamps=False,
            temperatures=(0.0,),
            word_timestamps=format_of(self._folder) is Format.OPENVINO,
        )
        transcript = self._transcriber.transcribe(wave, options)
        return DetailedTranscript(
            text=transcript.text,
            tokens=tuple(token for segment in transcript.segments for token in segment.tokens),
            language=self._detected(wave),
            words=tuple(word for segment in transcript.segments for word in segment.words),
        )

    def transcribe_batch(
        self, waves: Sequence[Wave], languages: Sequence[str | None], batch_size: int
    ) -> float:
        """Transcribe clips up to 30 s in batches; return the seconds that it took."""
        groups = group_by_language(waves, languages, self._transcriber.languages)
        started = time.perf_counter()
        for known, alike in groups.items():
            options = TranscribeOptions(
                language=known, with_timestamps=False, temperatures=(0.0,), batch_size=batch_size
            )
            self._transcriber.transcribe_batch(alike, options)
        return time.perf_counter() - started

    def _detected(self, wave: Wave) -> str | None:
        if len(self._transcriber.languages) == 1:
            return None
        return self._transcriber.detect_language(wave).language

    def precision(self) -> Precision:
        """Read back what the variant computes in; CTranslate2 tells its compute type and no nodes."""
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
        """Time encoder and decode step alone, and count their work; None of a variant that is not OpenVINO's."""
        if format_of(self._folder) is not Format.OPENVINO:
            return None
        return probe_variant(self._folder, self._compute)
