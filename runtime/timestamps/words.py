"""Word timestamps from tokens and the times at which they start.

Source: `whisper/tokenizer.py` and `whisper/timing.py` of openai/whisper.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from statistics import geometric_mean, median
from string import punctuation

from sottovoce.runtime.decoding.tokenizer import Tokens, WhisperTokenizer
from sottovoce.runtime.transcript import Word

LANGUAGES_WITHOUT_SPACES = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
"""Their words are single characters here: finding longer ones takes a dictionary."""

PREPENDED_PUNCTUATION = frozenset("\"'“¿([{-")
APPENDED_PUNCTUATION = frozenset("\"'.。,，!！?？:：”)]}、%")  # noqa: RUF001 - full-width marks of Chinese and Japanese
INNER_MARKS = frozenset(".,':/")
SENTENCE_ENDS = frozenset(".。!！?？")  # noqa: RUF001 - same

MAX_MEDIAN_S = 0.7
"""A longer median word means that the alignment failed, not that speech is slow."""

MAX_WORD_MEDIANS = 2.0
PAUSE_MEDIANS = 4.0

MIN_PROBABILITY = 1e-10
"""A geometric mean needs positive numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WordTokens:
    """The text of a word or a punctuation mark, and the number of its tokens, at least one."""

    text: str
    n_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WordTiming:
    """A word, or punctuation that is not merged yet, with its tokens and times.

    Attributes:
        text: with the space before it.
        first_token: index of its first token.
        end_token: index after its last token.
        start_s: seconds from the start of the window.
        end_s: seconds; not before `start_s`.
    """

    text: str
    first_token: int
    end_token: int
    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        """Seconds from start to end."""
        return self.end_s - self.start_s


def split_to_word_tokens(
    tokenizer: WhisperTokenizer, tokens: Tokens, language: str
) -> tuple[WordTokens, ...]:
    """Split text tokens into words and punctuation marks.

    Unlike in openai/whisper, a mark between letters or digits is a part of the word: 3.5, 10,000, l'homme.

    Args:
        tokens: text tokens only.
        language: code; some languages have no spaces between words.

    Returns:
        Words in order; their joined texts are the text of the tokens.
    """
    characters = tuple(_split_on_unicode(tokenizer, tokens))
    if language in LANGUAGES_WITHOUT_SPACES:
        return characters
    words: list[WordTokens] = []
    for part, after in zip_longest(characters, characters[1:]):
        is_inner = part.text in INNER_MARKS and words and words[-1].text[-1:].isalnum()
        is_mark = part.text.strip() in punctuation and not (is_inner and after and after.text[:1].isalnum())
        if words and not part.text.startswith(" ") and not is_mark:
            words[-1] = WordTokens(
                text=words[-1].text + part.text, n_tokens=words[-1].n_tokens + part.n_tokens
            )
        else:
            words.append(part)
    return tuple(words)


def find_word_timings(
    segments: Sequence[Sequence[WordTokens]], token_starts_s: Sequence[float]
) -> tuple[tuple[WordTiming, ...], ...]:
    """Return when each word is spoken.

    Attention to silence is blurred, so that a pause is part of the word before or after it. Therefore some words are
    truncated to twice the median duration: punctuation at the end of a sentence, words after it and words after a pause.
    Punctuation is then merged with its word, whose times it does not change. Unlike in openai/whisper, several marks
    in a row are merged, and closing marks after a space, as in French.

    Args:
        segments: the words of each segment of a window.
        token_starts_s: seconds at which each token of all segments starts, and at which the last ends; ascending, one
            more than there are tokens.

    Returns:
        The words of each segment, in order and without overlap.
    """
    timings = _initial_timings(segments, token_starts_s)
    durations_s = [word.duration_s for words in timings for word in words if word.duration_s > 0]
    median_s = min(MAX_MEDIAN_S, median(durations_s)) if durations_s else 0.0
    if median_s > 0:
        timings = _truncate_at_sentence_ends(timings, median_s)
    timings = [_merge_appended(_merge_prepended(words)) for words in timings]
    if median_s > 0:
        timings = _truncate_after_pauses(timings, median_s)
    return tuple(map(tuple, timings))


def to_word(timing: WordTiming, probabilities: Sequence[float]) -> Word:
    """Add the probability to a word; `probabilities` has one for each token of the window."""
    values = [max(MIN_PROBABILITY, float(p)) for p in probabilities[timing.first_token : timing.end_token]]
    return Word(
        text=timing.text,
        start_s=timing.start_s,
        end_s=timing.end_s,
        probability=min(1.0, geometric_mean(values)),
    )


def _split_on_unicode(tokenizer: WhisperTokenizer, tokens: Tokens) -> Iterator[WordTokens]:
    """Split between characters: a token can be a part of one."""
    whole = tokenizer.text(tokens)
    n_chars, first = 0, 0
    for end in range(1, len(tokens) + 1):
        text = tokenizer.text(tokens[first:end])
        # An incomplete character decodes to U+FFFD, which the whole text has there only if it is damaged.
        if text and whole.startswith(text, n_chars) and end < len(tokens):
            yield WordTokens(text=text, n_tokens=end - first)
            n_chars, first = n_chars + len(text), end
    if first < len(tokens):
        yield WordTokens(text=whole[n_chars:], n_tokens=len(tokens) - first)


def _initial_timings(
    segments: Sequence[Sequence[WordTokens]], token_starts_s: Sequence[float]
) -> list[list[WordTiming]]:
    timings = []
    first = 0
    for words in segments:
        timed = []
        for word in words:
            end = first + word.n_tokens
            start_s, end_s = float(token_starts_s[first]), float(token_starts_s[end])
            timed.append(
                WordTiming(text=word.text, first_token=first, end_token=end, start_s=start_s, end_s=end_s)
            )
            first = end
        timings.append(timed)
    return timings


def _truncate_at_sentence_ends(timings: list[list[WordTiming]], median_s: float) -> list[list[WordTiming]]:
    max_s = MAX_WORD_MEDIANS * median_s
    is_after_end = False
    is_first = True
    truncated = []
    for words in timings:
        kept = []
        for word in words:
            fits = is_first or word.duration_s <= max_s
            kept.append(word if fits else _truncate(word, max_s, is_after_end=is_after_end))
            is_after_end, is_first = _is_punctuation(word.text, SENTENCE_ENDS), False
        truncated.append(kept)
    return truncated


def _truncate(word: WordTiming, max_s: float, *, is_after_end: bool) -> WordTiming:
    if _is_punctuation(word.text, SENTENCE_ENDS):
        return replace(word, end_s=word.start_s + max_s)
    return replace(word, start_s=word.end_s - max_s) if is_after_end else word


def _truncate_after_pauses(timings: list[list[WordTiming]], median_s: float) -> list[list[WordTiming]]:
    last_end_s = 0.0
    truncated = []
    for words in timings:
        has_pause = bool(words) and words[0].end_s - last_end_s > PAUSE_MEDIANS * median_s
        truncated.append(_truncate_first(words, MAX_WORD_MEDIANS * median_s) if has_pause else words)
        last_end_s = truncated[-1][-1].end_s if words else last_end_s
    return truncated


def _truncate_first(words: list[WordTiming], max_s: float) -> list[WordTiming]:
    """Truncate the second word, then the first, to `max_s` before their ends."""
    first, *others = words
    both_long = bool(others) and others[0].end_s - first.start_s > 2 * max_s
    if first.duration_s <= max_s and not both_long:
        return words
    if others and others[0].duration_s > max_s:
        # Near the start of the window the two share the time.
        boundary_s = max(others[0].end_s / 2, others[0].end_s - max_s)
        first, others[0] = replace(first, end_s=boundary_s), replace(others[0], start_s=boundary_s)
    return [replace(first, start_s=max(first.start_s, first.end_s - max_s)), *others]


def _merge_prepended(words: list[WordTiming]) -> list[WordTiming]:
    merged: list[WordTiming] = []
    for word in reversed(words):
        if merged and word.text.startswith(" ") and _is_punctuation(word.text, PREPENDED_PUNCTUATION):
            merged[-1] = replace(merged[-1], text=word.text + merged[-1].text, first_token=word.first_token)
        else:
            merged.append(word)
    return merged[::-1]


def _merge_appended(words: list[WordTiming]) -> list[WordTiming]:
    merged: list[WordTiming] = []
    for word in words:
        if merged and _is_punctuation(word.text, APPENDED_PUNCTUATION):
            merged[-1] = replace(merged[-1], text=merged[-1].text + word.text, end_token=word.end_token)
        else:
            merged.append(word)
    return merged


def _is_punctuation(text: str, marks: frozenset[str]) -> bool:
    """Return whether a text has only these marks; blank text does."""
    return marks.issuperset(text.strip())
