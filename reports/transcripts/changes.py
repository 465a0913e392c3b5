"""The clips whose transcripts changed, most harmful first."""

import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.comparisons import Comparison
from sottovoce.benchmark.schema.results import Results
from sottovoce.reports.sections.latency import clip_speedup
from sottovoce.reports.text.units import count, fixed
from sottovoce.reports.transcripts.word_diff import Kind, Mark, Word, WordDiff, compare_words
from sottovoce.reports.transcripts.word_times import start_times
from sottovoce.statistics.accuracy import CHARACTER_LANGUAGES

_LANGUAGE_TAG = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
_FIRST_UNEVEN = "\u0590"
"""Latin, Greek, Cyrillic and Armenian letters come before it."""
_UNEVEN_COLUMNS = 1.5
"""Of a character of a script that has no letters of one width: an estimate on the safe side."""


_MAX_COLUMNS = 28
"""Of a place; a longer word is cut where it is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A clip that a variant transcribes otherwise than the baseline."""

    baseline: ClipRow
    variant: ClipRow

    @property
    def harm(self) -> int:
        """Errors of the variant minus errors of the baseline."""
        return self.variant.words.errors - self.baseline.words.errors

    @property
    def audio(self) -> str | None:
        """Name of the clip's file in the results folder."""
        return self.variant.audio or self.baseline.audio


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What a line has at one place of the alignment.

    Attributes:
        text: empty where the line has no word here.
        columns: width of the place: that of its widest word in any line.
        mark: what became of the word; None where there is nothing to say.
        is_cut: the word is wider than its place.
        start_s: when it is said; None where nobody knows.
    """

    text: str
    columns: int
    mark: Mark | None = None
    is_missing: bool = False
    is_cut: bool = False
    start_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A reference or a transcript, whose pieces stand under those of the other lines."""

    label: str
    pieces: tuple[Piece, ...]


def find_changes(results: Results, rows: Sequence[ClipRow]) -> tuple[Change, ...]:
    """Compare every variant's transcripts with the baseline's; failed clips are no change."""
    compared = {comparison.variant for comparison in results.comparisons}
    heard = [row for row in rows if row.error is None]
    by_baseline = {row.clip_id: row for row in heard if row.variant == results.baseline}
    changes = [
        Change(baseline=by_baseline[row.clip_id], variant=row)
        for row in heard
        if row.variant in compared
        and row.clip_id in by_baseline
        and row.normalized_hypothesis != by_baseline[row.clip_id].normalized_hypothesis
    ]
    return tuple(sorted(changes, key=lambda c: (-c.harm, c.variant.clip_id, c.variant.variant)))


def summarize_changes(comparison: Comparison, *, n_clips: int, name: Callable[[str], str] = str) -> str:
    """Count the changed transcripts of a variant in one sentence; `name` writes its name."""
    n_even = comparison.n_changed - comparison.n_worse - comparison.n_better
    return (
        f"{name(comparison.variant)} changed {comparison.n_changed:,} of {count(n_clips, 'transcript')}: "
        f"{comparison.n_worse:,} with more errors, {comparison.n_better:,} with fewer, "
        f"{n_even:,} with as many."
    )


def describe_harm(harm: int) -> str:
    """Say in words how many errors more or fewer there are."""
    if harm == 0:
        return "as many errors"
    return f"{count(abs(harm), 'error')} {'more' if harm > 0 else 'fewer'}"


def describe_change(change: Change) -> Iterator[str]:
    """Yield what is to be known of a changed clip, the most important first."""
    before, after = change.baseline.words.errors, change.variant.words.errors
    row = change.variant
    yield f"{count(before, 'error')} became {after:,}, of {count(row.words.reference_words, 'word')}"
    yield f"{fixed(row.audio_s, 1)} s"
    speedup = clip_speedup(change.baseline, row)
    if speedup is not None:
        yield f"{fixed(speedup)} times as fast"
    if any((*row.disturbed, *change.baseline.disturbed)):
        yield "timed while the machine was disturbed"
    if row.snr_db is not None:
        yield f"{fixed(row.snr_db, 0)} dB over noise"
    if row.source:
        yield row.source
    if row.speaker:
        yield f"speaker {row.speaker}"


def align_lines(change: Change) -> tuple[Line, ...]:
    """Put the words of reference, baseline and variant under one another."""
    diff = compare_words(
        change.variant.normalized_reference,
        change.baseline.normalized_hypothesis,
        change.variant.normalized_hypothesis,
    )
    columns = [
        min(
            _MAX_COLUMNS,
            max(_columns(word.text) for word in (slot.reference, slot.baseline, slot.variant) if word),
        )
        for slot in diff.slots
    ]
    return (
        Line(label="reference", pieces=_reference_pieces(diff, columns)),
        Line(
            label=change.baseline.variant,
            pieces=_pieces([slot.baseline for slot in diff.slots], columns, change.baseline),
        ),
        Line(
            label=change.variant.variant,
            pieces=_pieces([slot.variant for slot in diff.slots], columns, change.variant),
        ),
    )


def language_tag(language: str | None) -> str:
    """Return a well-formed language tag, or an empty string."""
    return language if language is not None and _LANGUAGE_TAG.fullmatch(language) else ""


def direction_of(text: str) -> str:
    """Tell which way a text runs, `ltr` or `rtl`: as its first letter does."""
    strong = (kind for kind in map(unicodedata.bidirectional, text) if kind in {"L", "R", "AL"})
    return "ltr" if next(strong, "L") == "L" else "rtl"


def _reference_pieces(diff: WordDiff, columns: Sequence[int]) -> tuple[Piece, ...]:
    words = [slot.reference for slot in diff.slots]
    return tuple(
        Piece(text="", columns=width)
        if word is None
        else Piece(text=word.text, columns=width, is_cut=_columns(word.text) > width)
        for word, width in zip(words, columns, strict=True)
    )


def _pieces(words: Sequence[Word | None], columns: Sequence[int], row: ClipRow) -> tuple[Piece, ...]:
    starts = iter(
        start_times(
            [word.text for word in words if word is not None and word.kind is not Kind.MISSING],
            row.spoken,
            by_character=row.language in CHARACTER_LANGUAGES,
        )
    )
    return tuple(
        Piece(text="", columns=width)
        if word is None
        else Piece(
            text=word.text,
            columns=width,
            mark=_shown_mark(word),
            is_missing=word.kind is Kind.MISSING,
            is_cut=_columns(word.text) > width,
            start_s=None if word.kind is Kind.MISSING else next(starts),
        )
        for word, width in zip(words, columns, strict=True)
    )


def _shown_mark(word: Word) -> Mark | None:
    """Leave out what says nothing: a right word, and one that was right in this transcript only."""
    is_quiet = word.mark is Mark.RIGHT or (word.kind is Kind.SAME and word.mark is not Mark.FIXED)
    return None if is_quiet else word.mark


def _columns(text: str) -> int:
    """Measure a text in columns of a monospaced font."""
    return math.ceil(sum(map(_column, text)))


def _column(character: str) -> float:
    if unicodedata.combining(character) or unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return 0
    if unicodedata.east_asian_width(character) in {"W", "F"}:
        return 2
    return 1 if character < _FIRST_UNEVEN else _UNEVEN_COLUMNS
