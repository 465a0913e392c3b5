"""Transcribe with a CTranslate2 variant, through faster-whisper.

faster-whisper comes with the extra `ct2`; it is imported when such a variant is loaded. It decodes: what our own
decoding does for the other formats, elastic windows and a second look at doubtful texts, it does not do.

Weights of a type that CTranslate2's kernels for this CPU do not know are turned into another when they are loaded:
float16 and bfloat16 into float32, int16 into INT8.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sottovoce.errors import InputError, MissingExtraError, SpecError, nearest
from sottovoce.runtime.audio.constants import HOP_SAMPLES, SAMPLE_RATE_HZ, WINDOW_SAMPLES
from sottovoce.runtime.audio.decode import Wave, is_silent
from sottovoce.runtime.audio.stream import BlockStream
from sottovoce.runtime.clock import PhaseClock
from sottovoce.runtime.decoding.window_decoder import DetectedLanguage
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.options import TranscribeOptions
from sottovoce.runtime.transcriber import DEFAULT_OPTIONS, Progress, Transcriber
from sottovoce.runtime.transcript import Phase, Segment, Task, Transcript, Word
from sottovoce.terms import Component

PHASES: Mapping[str, Phase] = {
    "feature_extractor": Phase.FEATURES,
    "encode": Phase.ENCODER,
    "add_word_timestamps": Phase.ALIGNMENT,
}
"""What faster-whisper calls its parts. Its decoder tells no first pass from a step, and is `other`."""

AS_STORED = "default"
"""The compute type that is the file's, or the nearest that the CPU has kernels for."""

END_NAME = "<|endoftext|>"
"""All tokens from it on are special or timestamps."""


def open_model(folder: Path, compute: ComputeSpec) -> Any:
    """Open a CTranslate2 folder in faster-whisper (`faster_whisper.WhisperModel`).

    Args:
        folder: of the variant.
        compute: threads; the type is the file's.

    Raises:
        InputError: the folder is damaged.
        MissingExtraError: faster-whisper is not installed.
    """
    try:
        from faster_whisper import WhisperModel
    except ImportError as cause:
        raise MissingExtraError("faster_whisper", needed_for="a CTranslate2 variant", extra="ct2") from cause
    try:
        with errors_only():
            return WhisperModel(
                str(folder), device="cpu", compute_type=AS_STORED, cpu_threads=compute.threads
            )
    except Exception as cause:  # CTranslate2 and tokenizers raise several kinds
        told = " ".join(str(cause).split())[:200]
        raise InputError(f"{folder} cannot be read: {told}; make the variant again") from cause


@contextmanager
def errors_only() -> Iterator[None]:
    """Keep CTranslate2 from writing to standard error which type it turns weights into: `precision` tells."""
    import ctranslate2

    level = ctranslate2.get_log_level()
    ctranslate2.set_log_level(logging.ERROR)
    try:
        yield
    finally:
        ctranslate2.set_log_level(level)


class _Clocked:
    """A part of faster-whisper whose calls are timed by the clock of the transcription that runs."""

    def __init__(self, part: Callable[..., Any], phase: Phase) -> None:
        self._part = part
        self._phase = phase
        self.clock = PhaseClock()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with self.clock.time(self._phase):
            return self._part(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name)


class Ctranslate2Transcriber(Transcriber):
    """A CTranslate2 variant in faster-whisper, behind the same calls as any other variant."""

    def _open(self, folder: Path, compute: ComputeSpec) -> None:
        self._model = open_model(folder, compute)
        self._parts = [_Clocked(getattr(self._model, name), phase) for name, phase in PHASES.items()]
        for name, part in zip(PHASES, self._parts, strict=True):
            setattr(self._model, name, part)
        self._end = int(self._model.hf_tokenizer.token_to_id(END_NAME))

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages that the model knows."""
        return tuple(self._model.supported_languages)

    def transcribe_batch(
        self, waves: Sequence[Wave], options: TranscribeOptions = DEFAULT_OPTIONS
    ) -> tuple[Transcript, ...]:
        """Transcribe clips one after another: faster-whisper has batches within one recording only."""
        return tuple(self.transcribe(wave, options) for wave in waves)

    def detect_language(self, wave: Wave) -> DetectedLanguage:
        """Detect the language of the first 30 s of a wave: float32, shape (n_samples,), 16 kHz."""
        if not self._model.model.is_multilingual:
            return self._uncovered_speech(TranscribeOptions())
        language, probability, _ = self._model.detect_language(wave[:WINDOW_SAMPLES])
        return DetectedLanguage(language=str(language), probability=float(probability))

    def compiled(self, component: Component) -> Any:  # noqa: ARG002 - one model is all components
        """Return the model (`ctranslate2.models.Whisper`), whichever component is asked for."""
        return self._model.model

    def _check(self, options: TranscribeOptions) -> None:
        if self._model.model.is_multilingual:
            if options.language is not None and options.language not in self.languages:
                raise SpecError(
                    f"unknown language {options.language}{nearest(options.language, self.languages)}; give a code such "
                    "as en or de"
                )
        elif options.language not in (None, "en") or options.task is Task.TRANSLATE:
            raise SpecError(
                f"this model knows English only, not {options.task} of {options.language or 'en'}"
            )
        if options.condition_on_previous_text and not options.with_timestamps:
            raise SpecError("sequential mode needs timestamps: they tell where the next window starts")

    def _transcribe(
        self, stream: BlockStream, options: TranscribeOptions, clock: PhaseClock, told: Progress
    ) -> tuple[list[Segment], DetectedLanguage]:
        wave = stream.read()
        if len(wave) < HOP_SAMPLES or is_silent(wave):
            return [], self._uncovered_speech(options)
        for part in self._parts:
            part.clock = clock
        found, info = self._start(wave, options)
        segments = list(self._follow(found, len(wave) / SAMPLE_RATE_HZ, told))
        if not segments and options.language is None:
            return [], self._uncovered_speech(options)
        return segments, DetectedLanguage(
            language=str(info.language), probability=float(info.language_probability)
        )

    def _uncovered_speech(self, options: TranscribeOptions) -> DetectedLanguage:
        """Return the language that is given or the only one; of silence nothing is known."""
        is_known = options.language is not None or not self._model.model.is_multilingual
        return DetectedLanguage(language=options.language or "en", probability=1.0 if is_known else 0.0)

    def _start(self, wave: Wave, options: TranscribeOptions) -> tuple[Iterable[Any], Any]:
        """Start a transcription as the options ask for it; the work is done while the segments are taken."""
        is_long = len(wave) > WINDOW_SAMPLES
        looks_for_speech = is_long if options.vad_filter is None else options.vad_filter
        asked = {
            "language": options.language,
            "task": options.task.value,
            "beam_size": options.beam_size,
            "temperature": list(options.temperatures),
            "compression_ratio_threshold": options.compression_ratio_limit,
            "log_prob_threshold": options.log_probability_limit,
            "no_speech_threshold": options.no_speech_limit,
            "initial_prompt": options.initial_prompt,
            "hotwords": options.hotwords,
            # Between windows: without them faster-whisper goes on 30 s later, whatever it heard.
            "without_timestamps": not (is_long or options.with_timestamps),
            "word_timestamps": options.word_timestamps,
        }
        started: tuple[Iterable[Any], Any] = self._model.transcribe(
            wave,
            condition_on_previous_text=options.condition_on_previous_text,
            vad_filter=looks_for_speech,
            **asked,
        )
        return started

    def _follow(self, found: Iterable[Any], duration_s: float, told: Progress) -> Iterator[Segment]:
        """Turn faster-whisper's segments into ours as they come."""
        for segment in found:
            start_s = min(float(segment.start), duration_s)
            end_s = max(start_s, min(float(segment.end), duration_s))
            yield Segment(
                start_s=start_s,
                end_s=end_s,
                text=str(segment.text).strip(),
                tokens=tuple(int(token) for token in segment.tokens if token < self._end),
                mean_log_probability=float(segment.avg_logprob),
                no_speech_probability=float(segment.no_speech_prob),
                compression_ratio=float(segment.compression_ratio),
                temperature=float(segment.temperature or 0.0),
                words=tuple(_word(word, end_s) for word in segment.words or ()),
            )
            told(end_s)


def _word(word: Any, latest_s: float) -> Word:
    start_s = min(float(word.start), latest_s)
    return Word(
        text=str(word.word),
        start_s=start_s,
        end_s=max(start_s, min(float(word.end), latest_s)),
        probability=float(word.probability),
    )
