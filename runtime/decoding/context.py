"""What one transcription has in common for all of its windows."""

from dataclasses import dataclass

from sottovoce.runtime.clock import PhaseClock
from sottovoce.runtime.decoding.tokenizer import Tokens
from sottovoce.runtime.options import TranscribeOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectedLanguage:
    """The likeliest language of a window.

    Attributes:
        language: code.
        probability: among the languages that the model knows.
    """

    language: str
    probability: float


def default_language(options: TranscribeOptions, *, is_multilingual: bool) -> DetectedLanguage:
    """Return the language that is given or the model's only one; else English with probability 0, as for silence."""
    is_known = options.language is not None or not is_multilingual
    return DetectedLanguage(language=options.language or "en", probability=1.0 if is_known else 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodingContext:
    """What is settled before the first window of a transcription.

    Attributes:
        options: of the transcription.
        clock: times the work.
        detected: the language.
        hotwords: tokens before the text of every window.
        initial_prompt: tokens before the first text: names, style.
        are_times_aligned: segments get their times from the alignment, and the model gives no timestamps.
    """

    options: TranscribeOptions
    clock: PhaseClock
    detected: DetectedLanguage
    hotwords: Tokens = ()
    initial_prompt: Tokens = ()
    are_times_aligned: bool = False
