"""What `transcribe` returns. The classes are not frozen: programs change and extend what they get."""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sottovoce.faster_whisper.vad import VadOptions
from sottovoce.runtime import transcript
from sottovoce.runtime.audio.constants import HOP_SAMPLES, SAMPLE_RATE_HZ
from sottovoce.runtime.decoding.tokenizer import Vocabulary


class _AsDict:
    def _asdict(self) -> dict[str, Any]:
        name = type(self).__name__
        warnings.warn(
            f"{name}._asdict() is deprecated; use dataclasses.asdict", DeprecationWarning, stacklevel=2
        )
        return asdict(self)  # type: ignore[call-overload, no-any-return]  # a dataclass, by its subclasses


@dataclass
class Word(_AsDict):
    """A word, with the space before it; seconds, and a probability from 0 to 1."""

    start: float
    end: float
    word: str
    probability: float


@dataclass
class Segment(_AsDict):
    """A part of the audio with its text.

    Attributes:
        id: from 1.
        seek: frames of 10 ms before its start.
        start: seconds.
        end: seconds.
        text: with the space before it.
        tokens: of the text, without timestamps.
        avg_logprob: natural logarithm, mean over the tokens of its window.
        compression_ratio: of the text of its window.
        no_speech_prob: of its window.
        words: None without `word_timestamps`.
        temperature: of its window.
    """

    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: list[int]
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    words: list[Word] | None
    temperature: float | None


@dataclass
class TranscriptionOptions:
    """The arguments of `transcribe`, as they were given."""

    beam_size: int
    best_of: int
    patience: float
    length_penalty: float
    repetition_penalty: float
    no_repeat_ngram_size: int
    log_prob_threshold: float | None
    no_speech_threshold: float | None
    compression_ratio_threshold: float | None
    condition_on_previous_text: bool
    prompt_reset_on_temperature: float
    temperatures: list[float]
    initial_prompt: str | Iterable[int] | None
    prefix: str | None
    suppress_blank: bool
    suppress_tokens: list[int] | None
    without_timestamps: bool
    max_initial_timestamp: float
    word_timestamps: bool
    prepend_punctuations: str
    append_punctuations: str
    multilingual: bool
    max_new_tokens: int | None
    clip_timestamps: str | list[float] | list[dict[str, float]] | None
    hallucination_silence_threshold: float | None
    hotwords: str | None


@dataclass
class TranscriptionInfo:
    """The language of audio, and how it is transcribed.

    Attributes:
        language: code.
        language_probability: 1 where the language was given or the model has only one.
        duration: seconds of audio.
        duration_after_vad: seconds that are transcribed.
        all_language_probs: code and probability, the likeliest first; None where no language was detected.
        transcription_options: the arguments.
        vad_options: None without `vad_filter`.
    """

    language: str
    language_probability: float
    duration: float
    duration_after_vad: float
    all_language_probs: list[tuple[str, float]] | None
    transcription_options: TranscriptionOptions
    vad_options: VadOptions | None


def transcription_options(given: Mapping[str, Any]) -> TranscriptionOptions:
    """Return the arguments of a call of `transcribe`."""
    temperature = given["temperature"]
    temperatures = list(temperature) if isinstance(temperature, Iterable) else [temperature]
    names = TranscriptionOptions.__dataclass_fields__.keys() - {"temperatures"}
    return TranscriptionOptions(temperatures=temperatures, **{name: given[name] for name in names})


def to_segments(
    segments: Iterable[transcript.Segment], vocabulary: Vocabulary, *, has_words: bool
) -> Iterator[Segment]:
    """Convert segments of the runtime; their texts get the space before them back."""
    for number, segment in enumerate(segments, 1):
        yield Segment(
            id=number,
            seek=int(segment.start_s * SAMPLE_RATE_HZ) // HOP_SAMPLES,
            start=round(segment.start_s, 2),
            end=round(segment.end_s, 2),
            text=vocabulary.text(segment.tokens),
            tokens=list(segment.tokens),
            avg_logprob=segment.mean_log_probability,
            compression_ratio=segment.compression_ratio,
            no_speech_prob=segment.no_speech_probability,
            words=[_word(word) for word in segment.words] if has_words else None,
            temperature=segment.temperature,
        )


def _word(word: transcript.Word) -> Word:
    return Word(
        start=round(word.start_s, 2), end=round(word.end_s, 2), word=word.text, probability=word.probability
    )


def with_progress(segments: Iterator[Segment], duration_s: float) -> Iterator[Segment]:
    """Show a bar on standard error while segments are taken."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("transcribe", total=duration_s)
        for segment in segments:
            bar.update(task, completed=segment.end)
            yield segment
        bar.update(task, completed=duration_s)
