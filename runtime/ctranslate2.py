"""Transcribe with a CTranslate2 variant, through faster-whisper.

faster-whisper comes with the extra `ct2`; it is imported when such a variant is loaded. It decodes without what
sottovoce's own decoding does for the other formats: elastic windows, and recovery of speech that a text leaves out.

Weights of a type that CTranslate2's kernels for this CPU do not support are converted when they are loaded: float16 and
bfloat16 to float32, int16 to INT8.
"""

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from threading import RLock
from typing import Any, Unpack

from sottovoce.errors import InputError, MissingExtraError, SpecError
from sottovoce.runtime.audio.constants import HOP_SAMPLES, SAMPLE_RATE_HZ, WINDOW_SAMPLES
from sottovoce.runtime.audio.decode import Wave, is_silent
from sottovoce.runtime.clock import PhaseClock
from sottovoce.runtime.decoding.context import DetectedLanguage, default_language
from sottovoce.runtime.decoding.model_defaults import NO_DEFAULTS, ModelDefaults
from sottovoce.runtime.live.options import LiveOptions, LiveOptionValues
from sottovoce.runtime.live.session import LiveSession
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.options import OptionValues, TranscribeOptions, check_language
from sottovoce.runtime.protocol import (
    DEFAULT_LIVE_OPTIONS,
    DEFAULT_OPTIONS,
    Audio,
    Progress,
    SegmentStream,
    Transcriber,
)
from sottovoce.runtime.transcript import Phase, Segment, Task, Transcript, Word
from sottovoce.terms import Component

PHASES: Mapping[str, Phase] = {
    "feature_extractor": Phase.FEATURES,
    "encode": Phase.ENCODER,
    "add_word_timestamps": Phase.ALIGNMENT,
}
"""What faster-whisper calls its parts. It does not separate the decoder's prefill from its steps: both are `other`."""

AS_STORED = "default"
"""The compute type that is the file's, or the nearest that the CPU has kernels for."""

END_NAME = "<|endoftext|>"
"""All tokens from it on are special or timestamps."""

FASTER_WHISPER_BEST_OF = 5
"""Texts that faster-whisper draws at a temperature above 0 unless the options give a number."""


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
        message = " ".join(str(cause).split())[:200]
        raise InputError(f"{folder} cannot be read: {message}; make the variant again") from cause


@contextmanager
def errors_only() -> Iterator[None]:
    """Keep CTranslate2 from writing to standard error which type it converts weights to."""
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
    """A CTranslate2 variant in faster-whisper; see `Transcriber`."""

    def __init__(self, model: Any, defaults: ModelDefaults = NO_DEFAULTS) -> None:
        """Open a session.

        Args:
            model: `faster_whisper.WhisperModel`, whose weights all sessions share.
            defaults: language and task of the model.
        """
        self._shared = model
        self._defaults = defaults
        self._lock = RLock()
        self._model = copy(model)
        self._parts = [_Clocked(getattr(self._model, name), phase) for name, phase in PHASES.items()]
        for name, part in zip(PHASES, self._parts, strict=True):
            setattr(self._model, name, part)
        self._end = int(model.hf_tokenizer.token_to_id(END_NAME))
        self._is_multilingual = bool(model.model.is_multilingual)

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages that the model can transcribe."""
        return tuple(self._model.supported_languages)

    def segments(
        self,
        audio: Audio,
        options: TranscribeOptions = DEFAULT_OPTIONS,
        *,
        name: str | None = None,
        progress: Progress | None = None,
        **changes: Unpack[OptionValues],
    ) -> SegmentStream:
        """Transcribe audio of any length; yield each segment as soon as it is final; see `Transcriber`."""
        options = self._defaults.fill_options(replace(options, **changes))
        self._check(options)
        return SegmentStream(audio, options, self._transcribe, lock=self._lock, name=name, progress=progress)

    def transcribe_batch(
        self,
        waves: Sequence[Wave],
        options: TranscribeOptions = DEFAULT_OPTIONS,
        **changes: Unpack[OptionValues],
    ) -> tuple[Transcript, ...]:
        """Transcribe clips one after another: faster-whisper has batches within one recording only."""
        return tuple(self.transcribe(wave, options, **changes) for wave in waves)

    def detect_language(self, wave: Wave) -> DetectedLanguage:
        """Detect the language of the first 30 s of a wave: float32, shape (n_samples,), 16 kHz."""
        if not self._is_multilingual:
            return self._default_language(DEFAULT_OPTIONS)
        with self._lock:
            language, probability, found = self._model.detect_language(wave[:WINDOW_SAMPLES])
        return _detected(language, probability, found)

    def live(
        self,
        options: LiveOptions = DEFAULT_LIVE_OPTIONS,  # noqa: ARG002 - refused whatever they are
        **changes: Unpack[LiveOptionValues],  # noqa: ARG002 - same
    ) -> LiveSession:
        """Refuse: faster-whisper does not decode behind words that are committed.

        Raises:
            SpecError: always.
        """
        raise SpecError(
            "a CTranslate2 variant does not transcribe live; use an OpenVINO variant, such as int8-fast"
        )

    def new_session(self) -> "Ctranslate2Transcriber":
        """Return a transcriber with the same model, for another stream or thread."""
        return Ctranslate2Transcriber(self._shared, self._defaults)

    def compiled(self, component: Component) -> Any:  # noqa: ARG002 - one model is all components
        """Return the model (`ctranslate2.models.Whisper`), which is all components."""
        return self._model.model

    def _check(self, options: TranscribeOptions) -> None:
        languages = self.languages if self._is_multilingual else ()
        check_language(options.language or "en", options.task, languages)

    def _transcribe(self, stream: SegmentStream) -> Generator[Segment, None, None]:
        options = stream.options
        stream.detected = self._default_language(options)
        wave = stream.audio.read()
        if len(wave) < HOP_SAMPLES or is_silent(wave):
            return
        for part in self._parts:
            part.clock = stream.clock
        if _looks_for_speech(wave, options):
            stream.voice_activity = f"silero of faster-whisper {version('faster-whisper')}"
        found, info = self._start(wave, options)
        for segment in self._converted(found, len(wave) / SAMPLE_RATE_HZ):
            stream.detected = _detected(info.language, info.language_probability, info.all_language_probs)
            yield segment
            stream.report(segment.end_s)

    def _default_language(self, options: TranscribeOptions) -> DetectedLanguage:
        return default_language(options, is_multilingual=self._is_multilingual)

    def _start(self, wave: Wave, options: TranscribeOptions) -> tuple[Iterable[Any], Any]:
        """Start a transcription; the work is done while the segments are taken."""
        is_long = len(wave) > WINDOW_SAMPLES
        penalty = {} if options.length_penalty is None else {"length_penalty": options.length_penalty}
        started: tuple[Iterable[Any], Any] = self._model.transcribe(
            wave,
            language=options.language,
            task=(options.task or Task.TRANSCRIBE).value,
            beam_size=options.beam_size,
            **penalty,
            patience=options.patience,
            temperature=list(options.temperatures_tried),
            best_of=options.best_of or FASTER_WHISPER_BEST_OF,
            repetition_penalty=options.repetition_penalty,
            no_repeat_ngram_size=options.no_repeat_ngram_size,
            suppress_tokens=[-1] if options.suppress_tokens is None else list(options.suppress_tokens),
            max_initial_timestamp=options.max_initial_timestamp,
            compression_ratio_threshold=options.compression_ratio_threshold,
            log_prob_threshold=options.log_prob_threshold,
            no_speech_threshold=options.no_speech_threshold,
            condition_on_previous_text=options.condition_on_previous_text,
            initial_prompt=options.initial_prompt,
            hotwords=options.hotwords,
            # Without timestamps faster-whisper starts each window 30 s after the one before, whatever it decoded.
            without_timestamps=options.without_timestamps and not is_long,
            word_timestamps=bool(options.word_timestamps),
            vad_filter=_looks_for_speech(wave, options),
        )
        return started

    def _converted(self, found: Iterable[Any], duration_s: float) -> Iterator[Segment]:
        """Convert faster-whisper's segments to ours."""
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


def _detected(
    language: str, probability: float, found: Sequence[tuple[str, float]] | None
) -> DetectedLanguage:
    return DetectedLanguage(
        language=str(language),
        probability=float(probability),
        probabilities={str(code): float(value) for code, value in found or ()},
    )


def _looks_for_speech(wave: Wave, options: TranscribeOptions) -> bool:
    return len(wave) > WINDOW_SAMPLES if options.vad_filter is None else options.vad_filter


def _word(word: Any, latest_s: float) -> Word:
    start_s = min(float(word.start), latest_s)
    return Word(
        text=str(word.word),
        start_s=start_s,
        end_s=max(start_s, min(float(word.end), latest_s)),
        probability=float(word.probability),
    )
