"""Words of a transcript, marked by what became of them: fixed, broken, wrong in both."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import jiwer


class Mark(StrEnum):
    """What became of a word between the baseline and the variant."""

    RIGHT = "right"
    FIXED = "fixed"
    BROKEN = "broken"
    WRONG_IN_BOTH = "wrong in both"


class Kind(StrEnum):
    """How a word of a transcript relates to the reference."""

    SAME = "same"
    SUBSTITUTED = "substituted"
    INSERTED = "inserted"
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A word of a transcript; one that is missing from it shows the reference's word."""

    text: str
    kind: Kind
    mark: Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A place of an alignment: the words that stand under one another; None where a line has none."""

    reference: Word | None
    baseline: Word | None
    variant: Word | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WordDiff:
    """A reference, and the transcripts of the baseline and the variant against it, place by place."""

    slots: tuple[Slot, ...]

    @property
    def reference(self) -> tuple[Word, ...]:
        """The words of the reference."""
        return tuple(slot.reference for slot in self.slots if slot.reference is not None)

    @property
    def baseline(self) -> tuple[Word, ...]:
        """The words of the baseline, missing ones included."""
        return tuple(slot.baseline for slot in self.slots if slot.baseline is not None)

    @property
    def variant(self) -> tuple[Word, ...]:
        """The words of the variant, missing ones included."""
        return tuple(slot.variant for slot in self.slots if slot.variant is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Aligned:
    """A transcript laid along the n words of its reference.

    Attributes:
        heard: for each reference word the word that stands for it, None where it is missing; shape (n,).
        invented: the words before each reference word and after the last one; shape (n + 1,).
    """

    heard: tuple[str | None, ...]
    invented: tuple[tuple[str, ...], ...]


def compare_words(reference: str, baseline: str, variant: str) -> WordDiff:
    """Mark the words of two transcripts of one reference.

    Broken minus fixed is the difference of the two error counts: an invented word counts as
    wrong in both where the other transcript invented one at the same place.

    Args:
        reference: normalized, words apart by spaces (characters in Chinese, Japanese and Thai).
        baseline: normalized transcript of the baseline.
        variant: normalized transcript of the variant.
    """
    words = tuple(reference.split())
    old, new = _align(words, baseline), _align(words, variant)
    slots: list[Slot] = []
    for place in range(len(words) + 1):
        slots += _invented(old.invented[place], new.invented[place])
        if place < len(words):
            slots.append(_heard(words[place], old.heard[place], new.heard[place]))
    return WordDiff(slots=tuple(slots))


def _align(words: Sequence[str], hypothesis: str) -> _Aligned:
    heard: list[str | None] = [None] * len(words)
    invented: list[tuple[str, ...]] = [()] * (len(words) + 1)
    output = jiwer.process_words(" ".join(words), " ".join(hypothesis.split()))
    spoken = output.hypotheses[0]
    for chunk in output.alignments[0]:
        said = spoken[chunk.hyp_start_idx : chunk.hyp_end_idx]
        if chunk.type == "insert":
            invented[chunk.ref_start_idx] += tuple(said)
        elif chunk.type != "delete":
            heard[chunk.ref_start_idx : chunk.ref_end_idx] = said
    return _Aligned(heard=tuple(heard), invented=tuple(invented))


def _mark(*, was_right: bool, is_right: bool) -> Mark:
    if is_right:
        return Mark.RIGHT if was_right else Mark.FIXED
    return Mark.BROKEN if was_right else Mark.WRONG_IN_BOTH


def _invented(old: Sequence[str], new: Sequence[str]) -> list[Slot]:
    """Lay invented words along one another; one that only one transcript has is fixed or broken."""
    shared = min(len(old), len(new))
    return [
        Slot(
            reference=None,
            baseline=_extra(old, place, Mark.WRONG_IN_BOTH if place < shared else Mark.FIXED),
            variant=_extra(new, place, Mark.WRONG_IN_BOTH if place < shared else Mark.BROKEN),
        )
        for place in range(max(len(old), len(new)))
    ]


def _extra(words: Sequence[str], place: int, mark: Mark) -> Word | None:
    return Word(text=words[place], kind=Kind.INSERTED, mark=mark) if place < len(words) else None


def _heard(word: str, old: str | None, new: str | None) -> Slot:
    mark = _mark(was_right=old == word, is_right=new == word)
    return Slot(
        reference=Word(text=word, kind=Kind.SAME, mark=mark),
        baseline=_against(word, old, mark),
        variant=_against(word, new, mark),
    )


def _against(word: str, heard: str | None, mark: Mark) -> Word:
    if heard is None:
        return Word(text=word, kind=Kind.MISSING, mark=mark)
    return Word(text=heard, kind=Kind.SAME if heard == word else Kind.SUBSTITUTED, mark=mark)
