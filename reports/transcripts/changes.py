"""The clips whose transcripts a variant changed, most harmful first."""

import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.comparisons import Comparison
from sottovoce.benchmark.schema.results import Results
from sottovoce.reports.text.units import count, fixed, times
from sottovoce.reports.transcripts.words import (
    Alignment,
    Mark,
    MarkedWord,
    WordKind,
    align_words,
    compare_words,
    start_times,
)
from sottovoce.statistics.accuracy import CHARACTER_LANGUAGES

_LANGUAGE_TAG = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
_FIRST_UNEVEN = "\u0590"
"""Latin, Greek, Cyrillic and Armenian letters come before it."""
_UNEVEN_COLUMNS = 1.5
"""Width of a character of a script whose letters differ in width: an estimate on the safe side."""
_MAX_COLUMNS = 28
"""Width of a slot; a longer word is cut on the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A clip whose transcript by a variant differs from the baseline's."""

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
class AlignedWord:
    """A line's word at one slot of the alignment.

    Attributes:
        text: empty where the line has no word.
        columns: width of the slot: that of its widest word in any line.
        mark: the change of the word; None where there is none to show.
        is_cut: the word is wider than its slot.
        start_s: from the start of the clip; None if it is not known.
    """

    text: str
    columns: int
    mark: Mark | None = None
    is_missing: bool = False
    is_cut: bool = False
    start_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptLine:
    """A reference or a transcript, its words under those of the other lines."""

    label: str
    words: tuple[AlignedWord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineWords:
    """The baseline's transcript of a clip: aligned once for all variants that changed it.

    Attributes:
        starts: of its words, seconds; None where they are not known.
    """

    alignment: Alignment
    starts: tuple[float | None, ...]


def find_changes(results: Results, rows: Sequence[ClipRow]) -> tuple[Change, ...]:
    """Compare every variant's transcripts with the baseline's; failed clips are no change."""
    compared = {comparison.variant for comparison in results.comparisons}
    transcribed = [row for row in rows if row.error is None]
    by_baseline = {row.clip_id: row for row in transcribed if row.variant == results.baseline}
    changes = [
        Change(baseline=by_baseline[row.clip_id], variant=row)
        for row in transcribed
        if row.variant in compared
        and row.clip_id in by_baseline
        and row.normalized_hypothesis != by_baseline[row.clip_id].normalized_hypothesis
    ]
    return tuple(sorted(changes, key=lambda c: (-c.harm, c.variant.clip_id, c.variant.variant)))


def summarize_changes(comparison: Comparison, *, n_clips: int, name: Callable[[str], str] = str) -> str:
    """Count the changed transcripts of a variant in one sentence; `name` formats its name."""
    n_even = comparison.n_changed - comparison.n_worse - comparison.n_better
    return (
        f"{name(comparison.variant)} changed {comparison.n_changed:,} of {count(n_clips, 'transcript')}: "
        f"{comparison.n_worse:,} with more errors, {comparison.n_better:,} with fewer, "
        f"{n_even:,} with as many."
    )


def describe_harm(harm: int) -> str:
    """Format how many errors more or fewer there are."""
    if harm == 0:
        return "as many errors"
    return f"{count(abs(harm), 'error')} {'more' if harm > 0 else 'fewer'}"


def describe_change(change: Change, speedup: float | None) -> Iterator[str]:
    """Yield facts about a changed clip, the most important first."""
    before, after = change.baseline.words.errors, change.variant.words.errors
    row = change.variant
    yield f"{count(before, 'error')} became {after:,}, of {count(row.words.reference_words, 'word')}"
    yield f"{fixed(row.audio_s, 1)} s"
    if speedup is not None:
        yield f"{times(speedup)} times as fast"
    if any((*row.disturbed, *change.baseline.disturbed)):
        yield "timed while the machine was disturbed"
    if row.snr_db is not None:
        yield f"{fixed(row.snr_db, 0)} dB over noise"
    if row.source:
        yield row.source
    if row.speaker:
        yield f"speaker {row.speaker}"


def align_baseline(change: Change) -> BaselineWords:
    """Align the baseline's transcript of a changed clip with the reference."""
    row = change.baseline
    return BaselineWords(
        alignment=align_words(change.variant.normalized_reference, row.normalized_hypothesis),
        starts=_start_times(row),
    )


def align_lines(change: Change, baseline: BaselineWords) -> tuple[TranscriptLine, ...]:
    """Put the words of reference, baseline and variant under one another."""
    row = change.variant
    slots = compare_words(
        baseline.alignment, align_words(row.normalized_reference, row.normalized_hypothesis)
    )
    columns = [
        min(
            _MAX_COLUMNS,
            max(_columns(word.text) for word in (slot.reference, slot.baseline, slot.variant) if word),
        )
        for slot in slots
    ]
    return (
        TranscriptLine(
            label="reference",
            words=tuple(
                _aligned_word(slot.reference, width) for slot, width in zip(slots, columns, strict=True)
            ),
        ),
        TranscriptLine(
            label=change.baseline.variant,
            words=_transcript_words([slot.baseline for slot in slots], columns, baseline.starts),
        ),
        TranscriptLine(
            label=row.variant,
            words=_transcript_words([slot.variant for slot in slots], columns, _start_times(row)),
        ),
    )


def _start_times(row: ClipRow) -> tuple[float | None, ...]:
    words = row.normalized_hypothesis.split()
    return start_times(words, row.spoken, by_character=row.language in CHARACTER_LANGUAGES)


def language_tag(language: str | None) -> str:
    """Return a well-formed language tag, or an empty string."""
    return language if language is not None and _LANGUAGE_TAG.fullmatch(language) else ""


def direction_of(text: str) -> str:
    """Return the direction of a text's first letter, `ltr` or `rtl`."""
    strong = (kind for kind in map(unicodedata.bidirectional, text) if kind in {"L", "R", "AL"})
    return "ltr" if next(strong, "L") == "L" else "rtl"


def _transcript_words(
    words: Sequence[MarkedWord | None], columns: Sequence[int], starts: Sequence[float | None]
) -> tuple[AlignedWord, ...]:
    """Add marks and start times, which missing words do not have."""
    remaining = iter(starts)
    return tuple(
        _aligned_word(word, width)
        if word is None
        else replace(
            _aligned_word(word, width),
            mark=_shown_mark(word),
            is_missing=word.kind is WordKind.MISSING,
            start_s=None if word.kind is WordKind.MISSING else next(remaining),
        )
        for word, width in zip(words, columns, strict=True)
    )


def _aligned_word(word: MarkedWord | None, width: int) -> AlignedWord:
    if word is None:
        return AlignedWord(text="", columns=width)
    return AlignedWord(text=word.text, columns=width, is_cut=_columns(word.text) > width)


def _shown_mark(word: MarkedWord) -> Mark | None:
    """Leave out the mark of a right word, and of one that is right in this transcript only."""
    is_quiet = word.mark is Mark.RIGHT or (word.kind is WordKind.SAME and word.mark is not Mark.FIXED)
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
