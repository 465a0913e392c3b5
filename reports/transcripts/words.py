"""Words of transcripts: aligned with the reference, marked as fixed, broken or wrong in both, and when they start."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import jiwer

from sottovoce.benchmark.schema.clips import SpokenWord

_PUNCTUATION = ".,!?;:\"'()[]\u3002\u3001\uff0c"


class Mark(StrEnum):
    """The change of a word from the baseline to the variant."""

    RIGHT = "right"
    FIXED = "fixed"
    BROKEN = "broken"
    WRONG_IN_BOTH = "wrong in both"


class WordKind(StrEnum):
    """How a word of a transcript relates to the reference."""

    SAME = "same"
    SUBSTITUTED = "substituted"
    INSERTED = "inserted"
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedWord:
    """A word of a transcript; for a missing one the word of the reference."""

    text: str
    kind: WordKind
    mark: Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A position of an alignment: the words under one another; None where a line has none."""

    reference: MarkedWord | None
    baseline: MarkedWord | None
    variant: MarkedWord | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """A transcript aligned with the n words of its reference.

    Attributes:
        words: of the reference; shape (n,).
        matched: the word of the transcript at each reference word, None where it is missing; shape (n,).
        inserted: the words before each reference word and after the last one; shape (n + 1,).
    """

    words: tuple[str, ...]
    matched: tuple[str | None, ...]
    inserted: tuple[tuple[str, ...], ...]


def align_words(reference: str, hypothesis: str) -> Alignment:
    """Align a transcript with its reference.

    Args:
        reference: normalized, words apart by spaces (characters in languages written without spaces).
        hypothesis: normalized transcript.
    """
    words = tuple(reference.split())
    matched: list[str | None] = [None] * len(words)
    inserted: list[tuple[str, ...]] = [()] * (len(words) + 1)
    output = jiwer.process_words(" ".join(words), " ".join(hypothesis.split()))
    transcript = output.hypotheses[0]
    for chunk in output.alignments[0]:
        found = transcript[chunk.hyp_start_idx : chunk.hyp_end_idx]
        if chunk.type == "insert":
            inserted[chunk.ref_start_idx] += tuple(found)
        elif chunk.type != "delete":
            matched[chunk.ref_start_idx : chunk.ref_end_idx] = found
    return Alignment(words=words, matched=tuple(matched), inserted=tuple(inserted))


def compare_words(baseline: Alignment, variant: Alignment) -> tuple[Slot, ...]:
    """Mark the words of two transcripts of one reference.

    Broken minus fixed is the difference of the two error counts: an inserted word counts as wrong in both
    if the other transcript has one at the same position.
    """
    slots: list[Slot] = []
    for index in range(len(baseline.words) + 1):
        slots += _inserted_slots(baseline.inserted[index], variant.inserted[index])
        if index < len(baseline.words):
            slots.append(_slot(baseline.words[index], baseline.matched[index], variant.matched[index]))
    return tuple(slots)


def _mark(*, was_right: bool, is_right: bool) -> Mark:
    if is_right:
        return Mark.RIGHT if was_right else Mark.FIXED
    return Mark.BROKEN if was_right else Mark.WRONG_IN_BOTH


def _inserted_slots(old: Sequence[str], new: Sequence[str]) -> list[Slot]:
    """Align inserted words with one another; one that only one transcript has is fixed or broken."""
    shared = min(len(old), len(new))
    return [
        Slot(
            reference=None,
            baseline=_inserted_word(old, index, Mark.WRONG_IN_BOTH if index < shared else Mark.FIXED),
            variant=_inserted_word(new, index, Mark.WRONG_IN_BOTH if index < shared else Mark.BROKEN),
        )
        for index in range(max(len(old), len(new)))
    ]


def _inserted_word(words: Sequence[str], index: int, mark: Mark) -> MarkedWord | None:
    return MarkedWord(text=words[index], kind=WordKind.INSERTED, mark=mark) if index < len(words) else None


def _slot(word: str, old: str | None, new: str | None) -> Slot:
    mark = _mark(was_right=old == word, is_right=new == word)
    return Slot(
        reference=MarkedWord(text=word, kind=WordKind.SAME, mark=mark),
        baseline=_marked_word(word, old, mark),
        variant=_marked_word(word, new, mark),
    )


def _marked_word(word: str, found: str | None, mark: Mark) -> MarkedWord:
    if found is None:
        return MarkedWord(text=word, kind=WordKind.MISSING, mark=mark)
    return MarkedWord(text=found, kind=WordKind.SAME if found == word else WordKind.SUBSTITUTED, mark=mark)


def start_times(
    words: Sequence[str], spoken: Sequence[SpokenWord], *, by_character: bool
) -> tuple[float | None, ...]:
    """Find where each word starts, seconds from the start of the clip.

    Normalizing changes words ("twenty two" to "22"), and the times come from another decoding. So the words
    are aligned; one that has no counterpart takes the time of the word before it, or else after it.

    Args:
        words: of a normalized transcript.
        spoken: words with their times, not normalized.
        by_character: whether each character of a language without spaces is a word.

    Returns:
        One for each word; None if no word has a time.
    """
    from rapidfuzz.distance import Levenshtein

    timed = list(_timed_texts(spoken, by_character=by_character))
    starts: list[float | None] = [None] * len(words)
    for block in Levenshtein.opcodes(list(words), [text for text, _ in timed]):
        if block.tag in {"equal", "replace"}:
            starts[block.src_start : block.src_end] = [
                start for _, start in timed[block.dest_start : block.dest_end]
            ]
    return _filled(starts)


def _timed_texts(spoken: Sequence[SpokenWord], *, by_character: bool) -> Iterator[tuple[str, float]]:
    for word in spoken:
        text = word.text.strip().strip(_PUNCTUATION).casefold()
        if not math.isfinite(word.start_s) or not math.isfinite(word.end_s):
            continue
        if not by_character:
            yield text, word.start_s
            continue
        step_s = (word.end_s - word.start_s) / max(len(text), 1)
        yield from ((character, word.start_s + index * step_s) for index, character in enumerate(text))


def _filled(starts: Sequence[float | None]) -> tuple[float | None, ...]:
    last = next((start for start in starts if start is not None), None)
    filled = []
    for start in starts:
        last = last if start is None else start
        filled.append(last)
    return tuple(filled)
