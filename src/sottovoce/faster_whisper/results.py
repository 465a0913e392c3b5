"""What `transcribe` returns. The classes are not frozen: programs change and extend what they get."""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sottovoce.faster_whisper.vad import VadOptions


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
