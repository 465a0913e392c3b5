"""What one transcription has in common for all of its windows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sottovoce.runtime.clock import PhaseClock
from sottovoce.runtime.decoding.tokenizer import Tokens
from sottovoce.runtime.options import TranscribeOptions

LanguageProbabilities = Mapping[str, float]
"""By code; they add up to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectedLanguage:
    """The likeliest language of audio.

    Attributes:
        language: code.
        probability: among the languages that the model knows.
        probabilities: of all languages that the model knows; empty where nothing was detected.
    """

    language: str
    probability: float
    probabilities: LanguageProbabilities = field(default_factory=dict, compare=False)


OnShare = Callable[[float], None]
"""Called with the share of the windows of one call that is done: 0 to 1, never less than before."""


def ignore_share(_share: float) -> None:
    """Report nothing."""


def likeliest(found: Sequence[tuple[LanguageProbabilities, float]]) -> DetectedLanguage:
    """Return the language of several windows: the likeliest on average, weighted by the length of each.

    Args:
        found: the probabilities of each window, and its length in seconds.
    """
    total_s = sum(length_s for _, length_s in found)
    means = {
        code: sum(probabilities[code] * length_s for probabilities, length_s in found) / total_s
        for code in found[0][0]
    }
    best = max(means, key=means.__getitem__)
    return DetectedLanguage(language=best, probability=means[best], probabilities=means)


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
        on_share: follows the decoding of each batch of windows.
    """

    options: TranscribeOptions
    clock: PhaseClock
    detected: DetectedLanguage
    hotwords: Tokens = ()
    initial_prompt: Tokens = ()
    are_times_aligned: bool = False
    on_share: OnShare = ignore_share
