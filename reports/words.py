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
class WordDiff:
    """A reference, and the transcripts of the baseline and the variant against it."""

    reference: tuple[Word, ...]
    baseline: tuple[Word, ...]
    variant: tuple[Word, ...]


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
    ours, theirs = _align(words, variant), _align(words, baseline)
    marks = tuple(
        _mark(was_right=old == word, is_right=new == word)
        for word, old, new in zip(words, theirs.heard, ours.heard, strict=True)
    )
    return WordDiff(
        reference=tuple(
            Word(text=word, kind=Kind.SAME, mark=mark) for word, mark in zip(words, marks, strict=True)
        ),
        baseline=_lay_out(words, theirs, other=ours, marks=marks, lone=Mark.FIXED),
        variant=_lay_out(words, ours, other=theirs, marks=marks, lone=Mark.BROKEN),
    )


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


def _lay_out(
    words: Sequence[str], aligned: _Aligned, *, other: _Aligned, marks: Sequence[Mark], lone: Mark
) -> tuple[Word, ...]:
    """Put a transcript in order; `lone` marks a word that only this transcript invented."""
    line: list[Word] = []
    for place, invented in enumerate(aligned.invented):
        line += _inserted(invented, n_shared=len(other.invented[place]), lone=lone)
        if place < len(words):
            line.append(_heard(words[place], aligned.heard[place], marks[place]))
    return tuple(line)


def _inserted(invented: Sequence[str], *, n_shared: int, lone: Mark) -> list[Word]:
    return [
        Word(text=text, kind=Kind.INSERTED, mark=Mark.WRONG_IN_BOTH if place < n_shared else lone)
        for place, text in enumerate(invented)
    ]


def _heard(word: str, heard: str | None, mark: Mark) -> Word:
    if heard is None:
        return Word(text=word, kind=Kind.MISSING, mark=mark)
    return Word(text=heard, kind=Kind.SAME if heard == word else Kind.SUBSTITUTED, mark=mark)
