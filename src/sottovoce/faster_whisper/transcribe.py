"""`WhisperModel` and `BatchedInferencePipeline` on a sottovoce variant."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sottovoce.errors import InputError, SpecError
from sottovoce.faster_whisper import parts
from sottovoce.faster_whisper.arguments import Given, check_arguments, to_options
from sottovoce.faster_whisper.audio import Audio, read_wave
from sottovoce.faster_whisper.detection import settle_language
from sottovoce.faster_whisper.feature_extractor import FeatureExtractor
from sottovoce.faster_whisper.hallucinations import without_hallucinations
from sottovoce.faster_whisper.models import choose_variant, find_model
from sottovoce.faster_whisper.parts import Part
from sottovoce.faster_whisper.plan import Plan, plan_parts, read_vad_options
from sottovoce.faster_whisper.results import (
    Segment,
    TranscriptionInfo,
    TranscriptionOptions,
    Word,
    to_segments,
    transcription_options,
    with_progress,
)
from sottovoce.faster_whisper.utils import get_logger
from sottovoce.faster_whisper.vad import VadOptions, find_speech
from sottovoce.languages import DETECT, parse_language
from sottovoce.runtime import transcript
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ, WINDOW_SAMPLES
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.decoding.context import DetectedLanguage
from sottovoce.runtime.decoding.tokenizer import MAX_TOKENS, TIMESTAMP_STEP_S, TOKENIZER_NAME, Vocabulary
from sottovoce.runtime.loading import load
from sottovoce.runtime.options import TranscribeOptions
from sottovoce.runtime.protocol import Transcriber

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = [
    "BatchedInferencePipeline",
    "Segment",
    "TranscriptionInfo",
    "TranscriptionOptions",
    "WhisperModel",
    "Word",
]

PREPENDED = "\"'“¿([{-"
APPENDED = "\"'.。,，!！?？:：”)]}、"  # noqa: RUF001 - full-width marks of Chinese and Japanese

CONFIG_NAME = "preprocessor_config.json"

DEFAULT_SEGMENTS, DEFAULT_THRESHOLD = 1, 0.5
"""Of language detection: with these, the language is that of the transcription's first window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """What programs read of the model under `WhisperModel`: `model.model.is_multilingual` and so on."""

    is_multilingual: bool
    n_mels: int
    compute_type: str
    num_workers: int
    device: str = "cpu"
    device_index: tuple[int, ...] = (0,)


class WhisperModel:
    """A variant of Whisper, with faster-whisper's interface."""

    input_stride = 2
    time_precision = TIMESTAMP_STEP_S
    max_length = MAX_TOKENS

    def __init__(
        self,
        model_size_or_path: str,
        device: str = "auto",
        device_index: int | list[int] = 0,
        compute_type: str = "default",
        cpu_threads: int = 0,
        num_workers: int = 1,
        download_root: str | None = None,
        local_files_only: bool = False,
        files: dict[str, Any] | None = None,
        revision: str | None = None,
        use_auth_token: str | bool | None = None,
        **model_kwargs: Any,
    ) -> None:
        """Load a variant.

        Args:
            model_size_or_path: the folder of a run or variant, or the name of a model; see `models.find_model`.
            device: `auto` or `cpu`.
            device_index: 0.
            compute_type: which variant of a run; see `models.choose_variant`.
            cpu_threads: of inference; 0: all cores.
            num_workers: transcriptions that run at once; more take turns.
            download_root: folder with a folder for each model.
            local_files_only: do not make a model that is missing.
            files: refused, as are the following.
            revision: refused.
            use_auth_token: refused.
            model_kwargs: refused.

        Raises:
            InputError: there is no such model, or it is damaged.
            MissingExtraError: the libraries that make or run it are not installed.
            ResourceError: this machine cannot run it.
            SpecError: an argument is not supported.
        """
        given = dict(locals())
        check_arguments(given, WhisperModel.__init__)
        if model_kwargs:
            raise SpecError(f"{next(iter(model_kwargs))} is not supported: it is CTranslate2's; leave it out")
        found = find_model(str(model_size_or_path), root=download_root, local_files_only=local_files_only)
        self._folder = choose_variant(found, compute_type)
        first = load(self._folder, threads=cpu_threads or None)
        self._sessions = cycle([first, *(first.new_session() for _ in range(num_workers - 1))])
        self._languages = first.languages
        self.logger = get_logger()
        self.feature_extractor = FeatureExtractor(_n_mels(self._folder))
        self.num_samples_per_token = self.feature_extractor.hop_length * self.input_stride
        self.frames_per_second = SAMPLE_RATE_HZ // self.feature_extractor.hop_length
        self.tokens_per_second = SAMPLE_RATE_HZ // self.num_samples_per_token
        self.model = Backend(
            is_multilingual=self.is_multilingual,
            n_mels=self.feature_extractor.feature_size,
            compute_type=compute_type,
            num_workers=num_workers,
        )

    @property
    def supported_languages(self) -> list[str]:
        """Codes of the languages that the model can transcribe."""
        return list(self._languages)

    @property
    def is_multilingual(self) -> bool:
        """Whether the model knows other languages than English."""
        return len(self._languages) > 1

    @cached_property
    def hf_tokenizer(self) -> "Tokenizer":
        """The tokenizer of the library `tokenizers`."""
        from tokenizers import Tokenizer

        return Tokenizer.from_file(str(self._folder / TOKENIZER_NAME))

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Tokens to text."""
        return Vocabulary.read(self._folder / TOKENIZER_NAME)

    def transcribe(
        self,
        audio: Audio,
        language: str | None = None,
        task: str = "transcribe",
        log_progress: bool = False,
        beam_size: int = 5,
        best_of: int = 5,
        patience: float = 1,
        length_penalty: float = 1,
        repetition_penalty: float = 1,
        no_repeat_ngram_size: int = 0,
        temperature: float | Sequence[float] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
        compression_ratio_threshold: float | None = 2.4,
        log_prob_threshold: float | None = -1.0,
        no_speech_threshold: float | None = 0.6,
        condition_on_previous_text: bool = True,
        prompt_reset_on_temperature: float = 0.5,
        initial_prompt: str | Iterable[int] | None = None,
        prefix: str | None = None,
        suppress_blank: bool = True,
        suppress_tokens: Sequence[int] | None = (-1,),
        without_timestamps: bool = False,
        max_initial_timestamp: float = 1.0,
        word_timestamps: bool = False,
        prepend_punctuations: str = PREPENDED,
        append_punctuations: str = APPENDED,
        multilingual: bool = False,
        vad_filter: bool = False,
        vad_parameters: Mapping[str, Any] | VadOptions | None = None,
        max_new_tokens: int | None = None,
        chunk_length: int | None = None,
        clip_timestamps: str | Sequence[float] = "0",
        hallucination_silence_threshold: float | None = None,
        hotwords: str | None = None,
        language_detection_threshold: float | None = 0.5,
        language_detection_segments: int = 1,
    ) -> tuple[Iterator[Segment], TranscriptionInfo]:
        """Transcribe audio; the work is done while the segments are taken.

        The arguments are those of faster-whisper 1.2.1; `docs/how-to/from-faster-whisper.md` has what becomes of each.

        Returns:
            The segments in order of time, and the language. Without `language`, the first segment is decoded before.

        Raises:
            InputError: the audio cannot be read.
            SpecError: an argument is not supported, or the model has no such language or task.
        """
        given = dict(locals())
        check_arguments(given, WhisperModel.transcribe)
        return _start(self, given, is_batched=False)

    def detect_language(
        self,
        audio: Audio | None = None,
        features: Any = None,
        vad_filter: bool = False,
        vad_parameters: Mapping[str, Any] | VadOptions | None = None,
        language_detection_segments: int = DEFAULT_SEGMENTS,
        language_detection_threshold: float | None = DEFAULT_THRESHOLD,
    ) -> tuple[str, float, list[tuple[str, float]]]:
        """Detect the language of audio.

        Args:
            audio: a path, an open file or samples.
            features: refused.
            vad_filter: take speech only.
            vad_parameters: how speech is found.
            language_detection_segments: windows of 30 s that are looked at.
            language_detection_threshold: the first window with a higher probability decides; else the language of most
                windows is taken.

        Returns:
            Code, probability, and the probabilities of all languages, the likeliest first.

        Raises:
            InputError: the audio cannot be read.
            SpecError: features are given.
        """
        if audio is None or features is not None:
            raise SpecError("features are not supported: give detect_language the audio")
        wave = read_wave(audio)
        if vad_filter:
            spans, _ = find_speech(wave, read_vad_options(vad_parameters))
            wave = parts.join(wave, spans).wave if spans else wave[:0]
        return self._detect(wave, language_detection_segments, language_detection_threshold)

    def _detect(
        self, wave: Wave, n_segments: int, threshold: float | None
    ) -> tuple[str, float, list[tuple[str, float]]]:
        session = next(self._sessions)
        n_windows = max(1, min(n_segments, -(-len(wave) // WINDOW_SAMPLES)))
        windows = (wave[i * WINDOW_SAMPLES : (i + 1) * WINDOW_SAMPLES] for i in range(n_windows))
        return _as_tuple(settle_language(map(session.detect_language, windows), threshold))


class BatchedInferencePipeline:
    """Transcribes windows that do not depend on one another, several at once."""

    def __init__(self, model: WhisperModel) -> None:
        """Take a model."""
        self.model = model

    def transcribe(
        self,
        audio: Audio,
        language: str | None = None,
        task: str = "transcribe",
        log_progress: bool = False,
        beam_size: int = 5,
        best_of: int = 5,
        patience: float = 1,
        length_penalty: float = 1,
        repetition_penalty: float = 1,
        no_repeat_ngram_size: int = 0,
        temperature: float | Sequence[float] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
        compression_ratio_threshold: float | None = 2.4,
        log_prob_threshold: float | None = -1.0,
        no_speech_threshold: float | None = 0.6,
        condition_on_previous_text: bool = True,
        prompt_reset_on_temperature: float = 0.5,
        initial_prompt: str | Iterable[int] | None = None,
        prefix: str | None = None,
        suppress_blank: bool = True,
        suppress_tokens: Sequence[int] | None = (-1,),
        without_timestamps: bool = True,
        max_initial_timestamp: float = 1.0,
        word_timestamps: bool = False,
        prepend_punctuations: str = PREPENDED,
        append_punctuations: str = APPENDED,
        multilingual: bool = False,
        vad_filter: bool = True,
        vad_parameters: Mapping[str, Any] | VadOptions | None = None,
        max_new_tokens: int | None = None,
        chunk_length: int | None = None,
        clip_timestamps: Sequence[Mapping[str, float]] | None = None,
        hallucination_silence_threshold: float | None = None,
        batch_size: int = 8,
        hotwords: str | None = None,
        language_detection_threshold: float | None = 0.5,
        language_detection_segments: int = 1,
    ) -> tuple[Iterator[Segment], TranscriptionInfo]:
        """Transcribe audio in batches; see `WhisperModel.transcribe`.

        Args:
            clip_timestamps: clips of at most 30 s, each with `start` and `end` in seconds.
            batch_size: windows decoded together, at most 32. Beam search decodes one after another.
        """
        given = dict(locals())
        check_arguments(given, BatchedInferencePipeline.transcribe)
        return _start(self.model, given, is_batched=True)


def _start(
    model: WhisperModel, given: Given, *, is_batched: bool
) -> tuple[Iterator[Segment], TranscriptionInfo]:
    wave = read_wave(given["audio"])
    duration_s = len(wave) / SAMPLE_RATE_HZ
    is_mixed = _is_mixed(model, given)
    plan = plan_parts(wave, given, is_batched=is_batched, is_mixed=is_mixed)
    language, probability, probabilities = _known_language(model, given, plan, is_mixed=is_mixed)
    common = None if is_mixed else language
    options = to_options(
        {**given, "vad_filter": plan.vad_options is not None}, model.vocabulary, common, is_batched=is_batched
    )
    found = _decode(next(model._sessions), plan, options)  # noqa: SLF001 - of the same module
    if language is None:
        first = next(found, None)
        detected = first[0] if first else DetectedLanguage(language="en", probability=0.0)
        language, probability, probabilities = _as_tuple(detected)
        found = chain([first] if first else [], found)
    segments: Iterator[transcript.Segment] = (segment for _, segment in found)
    if given["hallucination_silence_threshold"] is not None and given["word_timestamps"]:
        segments = without_hallucinations(segments, given["hallucination_silence_threshold"], duration_s)
    info = TranscriptionInfo(
        language=language,
        language_probability=probability,
        duration=duration_s,
        duration_after_vad=plan.duration_s,
        all_language_probs=probabilities or None,
        transcription_options=transcription_options(given),
        vad_options=plan.vad_options,
    )
    converted = to_segments(segments, model.vocabulary, has_words=given["word_timestamps"])
    return (with_progress(converted, duration_s) if given["log_progress"] else converted), info


def _is_mixed(model: WhisperModel, given: Given) -> bool:
    """Return whether each window has a language of its own."""
    if given["multilingual"] and not model.is_multilingual:
        model.logger.warning("multilingual=True has no effect: the model knows English only")
    return bool(given["multilingual"]) and model.is_multilingual


def _known_language(
    model: WhisperModel, given: Given, plan: Plan, *, is_mixed: bool
) -> tuple[str | None, float, list[tuple[str, float]]]:
    """Return the language as far as it is known before decoding: given, the only one, or detected as the user wants."""
    language = parse_language(given["language"] or DETECT)
    if not model.is_multilingual:
        if language not in {DETECT, "en"}:
            model.logger.warning("the model knows English only: en is taken instead of %s", language)
        return "en", 1.0, []
    if language != DETECT:
        return language, 1.0, []
    n_segments, threshold = given["language_detection_segments"], given["language_detection_threshold"]
    is_default = (n_segments, threshold) == (DEFAULT_SEGMENTS, DEFAULT_THRESHOLD)
    if is_mixed or not plan.parts or (is_default and not plan.in_batches):
        return None, 0.0, []
    wave = parts.concatenate(plan.parts, n_segments * WINDOW_SAMPLES)
    return model._detect(wave, n_segments, threshold)  # noqa: SLF001 - of the same module


def _decode(
    transcriber: Transcriber, plan: Plan, options: TranscribeOptions
) -> Iterator[tuple[DetectedLanguage, transcript.Segment]]:
    """Yield the segments of all parts, with the language of each."""
    if plan.in_batches:
        yield from _decode_windows(transcriber, plan.parts, options)
        return
    for part in plan.parts:
        with transcriber.segments(part.wave, options) as stream:
            for segment in stream:
                yield stream.detected, part.restored(segment)
        if stream.detected.probability > 0:
            options = replace(options, language=stream.detected.language)


def _decode_windows(
    transcriber: Transcriber, windows: Sequence[Part], options: TranscribeOptions
) -> Iterator[tuple[DetectedLanguage, transcript.Segment]]:
    upcoming = iter(windows)
    while batch := list(islice(upcoming, options.batch_size)):
        found = transcriber.transcribe_batch([part.wave for part in batch], options)
        for part, text in zip(batch, found, strict=True):
            detected = DetectedLanguage(language=text.language, probability=text.language_probability)
            for segment in text.segments:
                yield detected, part.restored(segment)


def _as_tuple(detected: DetectedLanguage) -> tuple[str, float, list[tuple[str, float]]]:
    ranked = sorted(detected.probabilities.items(), key=lambda each: -each[1])
    return detected.language, detected.probability, ranked


def _n_mels(folder: Path) -> int:
    """Return the mel bins of a variant.

    Raises:
        InputError: its settings are damaged.
    """
    path = folder / CONFIG_NAME
    try:
        config = json.loads(path.read_bytes()) if path.is_file() else {}
        return int(config.get("feature_size", FeatureExtractor().feature_size))
    except (AttributeError, OSError, TypeError, ValueError) as cause:
        raise InputError(f"{path} cannot be read: {cause}; make the variant again") from cause
