"""The clips whose transcripts changed, most harmful first."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sottovoce.benchmark.results import ClipRow, Comparison, Results
from sottovoce.reports.units import count, duration
from sottovoce.reports.words import WordDiff, compare_words

_LANGUAGE_TAG = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedClip:
    """A clip that a variant transcribes otherwise than the baseline, with its words marked.

    Attributes:
        harm: errors of the variant minus errors of the baseline.
        language: a well-formed language tag, or an empty string.
    """

    clip_id: str
    variant: str
    baseline: str
    harm: int
    effect: str
    facts: str
    language: str
    words: WordDiff


def find_changes(results: Results, rows: Sequence[ClipRow]) -> tuple[ChangedClip, ...]:
    """Compare every variant's transcripts with the baseline's; failed clips are no change."""
    compared = {comparison.variant for comparison in results.comparisons}
    heard = [row for row in rows if row.error is None]
    by_baseline = {row.clip_id: row for row in heard if row.variant == results.baseline}
    changes = [
        _describe_change(by_baseline[row.clip_id], row)
        for row in heard
        if row.variant in compared
        and row.clip_id in by_baseline
        and row.normalized_hypothesis != by_baseline[row.clip_id].normalized_hypothesis
    ]
    return tuple(sorted(changes, key=lambda change: (-change.harm, change.clip_id, change.variant)))


def summarize_changes(comparison: Comparison, *, n_clips: int) -> str:
    """Count the changed transcripts of a variant in one sentence."""
    n_even = comparison.n_changed - comparison.n_worse - comparison.n_better
    return (
        f"{comparison.variant} changed {comparison.n_changed:,} of {count(n_clips, 'transcript')}: "
        f"{comparison.n_worse:,} with more errors, {comparison.n_better:,} with fewer, "
        f"{n_even:,} with as many."
    )


def _describe_change(baseline: ClipRow, variant: ClipRow) -> ChangedClip:
    before, after = baseline.words.errors, variant.words.errors
    facts = (
        f"{before} {'error' if before == 1 else 'errors'} became {after}, "
        f"of {count(variant.words.reference_words, 'word')}; {duration(variant.audio_s)} of audio"
    )
    return ChangedClip(
        clip_id=variant.clip_id,
        variant=variant.variant,
        baseline=baseline.variant,
        harm=after - before,
        effect=_describe_harm(after - before),
        facts=facts,
        language=_language_tag(variant.language),
        words=compare_words(
            variant.normalized_reference, baseline.normalized_hypothesis, variant.normalized_hypothesis
        ),
    )


def _describe_harm(harm: int) -> str:
    if harm == 0:
        return "as many errors"
    return f"{abs(harm)} {'more' if harm > 0 else 'fewer'}"


def _language_tag(language: str | None) -> str:
    return language if language is not None and _LANGUAGE_TAG.fullmatch(language) else ""
