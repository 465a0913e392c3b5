"""Split the words of a window into segments: sentences, none longer than a subtitle is shown."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from sottovoce.runtime.timestamps.words import APPENDED_PUNCTUATION, SENTENCE_ENDS

MAX_SENTENCE_S = 7.0
"""A longer sentence is split: the guidelines of Netflix and the BBC show a subtitle no longer."""

MIN_SENTENCE_S = 1.0
"""A shorter sentence is merged with the next one, or at the end with the previous one."""

MAX_PAUSE_S = 1.0
"""A longer pause ends a sentence, whatever its punctuation."""

MIN_SHARE = 0.25
"""Neither part of a split sentence is shorter, if it can be split elsewhere."""

CLAUSE_ENDS = frozenset(",;:，；：、—–")  # noqa: RUF001 - full-width marks of Chinese and Japanese, and dashes

ABBREVIATIONS = frozenset(
    {"mr", "mrs", "ms", "dr", "st", "prof", "sr", "jr", "vs", "gen", "col", "capt", "lt", "sgt", "rev", "hon"}
)
"""A name follows them, which starts with a capital letter as a sentence does."""

_CLOSING_MARKS = "".join(APPENDED_PUNCTUATION - SENTENCE_ENDS - CLAUSE_ENDS)


class TimedText(Protocol):
    """A word with its times."""

    @property
    def text(self) -> str:
        """With the space before it."""

    @property
    def start_s(self) -> float:
        """Seconds."""

    @property
    def end_s(self) -> float:
        """Seconds; not before `start_s`."""


T = TypeVar("T", bound=TimedText)


def split_into_sentences(words: Sequence[T]) -> tuple[tuple[T, ...], ...]:
    """Split the words of a window into sentences that can be shown one at a time.

    Sentences end at punctuation and at pauses longer than `MAX_PAUSE_S`. A sentence under `MIN_SENTENCE_S` is merged with
    a neighbour if both together are no longer than `MAX_SENTENCE_S`. A sentence over `MAX_SENTENCE_S` is split after a
    comma or the like, else at a pause, else in its middle.

    Args:
        words: in order of time.

    Returns:
        The same words in sentences of at least one; only a sentence of a single word can be longer than
        `MAX_SENTENCE_S`.
    """
    sentences = _merge_short(_split_at_ends(words))
    return tuple(part for sentence in sentences for part in _split_long(sentence))


def _split_at_ends(words: Sequence[T]) -> list[tuple[T, ...]]:
    sentences: list[tuple[T, ...]] = []
    first = 0
    for end in range(1, len(words) + 1):
        if end == len(words) or _is_end(words[end - 1], words[end]):
            sentences.append(tuple(words[first:end]))
            first = end
    return sentences


def _is_end(word: TimedText, following: TimedText) -> bool:
    return following.start_s - word.end_s > MAX_PAUSE_S or ends_sentence(word.text, following.text)


def ends_sentence(text: str, following: str) -> bool:
    """Return whether a word ends a sentence: in "i.e. so", "Mr. Hill" and "J. Hill" the first does not."""
    word = text.strip().rstrip(_CLOSING_MARKS)
    if not word or word[-1] not in SENTENCE_ENDS or following.lstrip()[:1].islower():
        return False
    bare = word[:-1].lower()
    is_initial = len(bare) == 1 and bare.isascii() and bare.isalpha() and bare != "i"
    return not (word[-1] == "." and (bare in ABBREVIATIONS or is_initial))


def ends_clause(text: str) -> bool:
    """Return whether a word ends with a comma or the like."""
    return text.strip().rstrip(_CLOSING_MARKS)[-1:] in CLAUSE_ENDS


def _merge_short(sentences: list[tuple[T, ...]]) -> list[tuple[T, ...]]:
    merged: list[tuple[T, ...]] = []
    for sentence in sentences:
        if merged and _duration_s(merged[-1]) < MIN_SENTENCE_S and _can_merge(merged[-1], sentence):
            merged[-1] += sentence
        else:
            merged.append(sentence)
    if len(merged) > 1 and _duration_s(merged[-1]) < MIN_SENTENCE_S and _can_merge(*merged[-2:]):
        merged[-2:] = [merged[-2] + merged[-1]]
    return merged


def _can_merge(sentence: tuple[T, ...], following: tuple[T, ...]) -> bool:
    is_near = following[0].start_s - sentence[-1].end_s <= MAX_PAUSE_S
    return is_near and _duration_s(sentence + following) <= MAX_SENTENCE_S


def _split_long(words: tuple[T, ...]) -> list[tuple[T, ...]]:
    duration_s = _duration_s(words)
    if duration_s <= MAX_SENTENCE_S or len(words) == 1:
        return [words]
    min_s = MIN_SHARE * duration_s
    candidates = range(1, len(words))
    balanced = [i for i in candidates if min(_duration_s(words[:i]), _duration_s(words[i:])) >= min_s]
    best = max(balanced or candidates, key=lambda i: _split_score(words, i))
    return _split_long(words[:best]) + _split_long(words[best:])


def _split_score(words: Sequence[TimedText], index: int) -> tuple[bool, float, float]:
    """Rate a split before a word: after a clause, at a long pause (to 0.1 s), near the middle."""
    before, after = words[index - 1], words[index]
    middle_s = (words[0].start_s + words[-1].end_s) / 2
    return ends_clause(before.text), round(after.start_s - before.end_s, 1), -abs(after.start_s - middle_s)


def _duration_s(words: Sequence[TimedText]) -> float:
    return words[-1].end_s - words[0].start_s
