"""Word errors under listening conditions, and their difference from the baseline, paired clip by clip."""

from collections.abc import Mapping, Sequence

import numpy as np

from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.comparisons import ConditionComparison
from sottovoce.benchmark.schema.results import ConditionErrors
from sottovoce.benchmark.statistics.comparison import BlocksOf, pair_clips
from sottovoce.statistics.accuracy import add_errors, normalize, word_errors
from sottovoce.terms import Condition

RowsByCondition = Mapping[Condition, Sequence[ClipRow | None]]
"""The scored clips under each condition, in the order of the clips; None for a clip that failed."""


def rows_by_condition(
    conditions: Sequence[Condition],
    rows: Sequence[ClipRow],
    texts: Mapping[tuple[Condition, str], str],
) -> RowsByCondition:
    """Score the transcripts of an entry under each condition.

    Args:
        conditions: in their order.
        rows: of the entry, from the passes; those of clean speech are taken as they are.
        texts: transcripts by condition and id of the clip; a clip that failed is missing.
    """
    return {
        condition: [
            _clean(row)
            if condition is Condition.CLEAN
            else _rescored(row, texts.get((condition, row.clip_id)))
            for row in rows
        ]
        for condition in conditions
    }


def _clean(row: ClipRow) -> ClipRow | None:
    return None if row.error is not None else row.model_copy(update={"latency_s": ()})


def _rescored(row: ClipRow, text: str | None) -> ClipRow | None:
    if text is None:
        return None
    normalized = normalize(text, row.language)
    return row.model_copy(
        update={
            "hypothesis": text,
            "normalized_hypothesis": normalized,
            "words": word_errors(row.normalized_reference, normalized),
            "latency_s": (),
        }
    )


def count_condition_errors(degraded: RowsByCondition) -> tuple[ConditionErrors, ...]:
    """Add up the errors of an entry under each condition under which it transcribed words."""
    found = []
    for condition, rows in degraded.items():
        scored = [row.words for row in rows if row is not None]
        words = add_errors(scored)
        if words.reference_words:
            found.append(
                ConditionErrors(condition=condition, n_clips=len(scored), words=words, wer=words.wer)
            )
    return tuple(found)


def compare_conditions(
    baseline: RowsByCondition, variant: RowsByCondition, blocks: BlocksOf, *, rng: np.random.Generator
) -> tuple[ConditionComparison, ...]:
    """Compare an entry with the baseline under each condition, on the clips that both transcribed.

    Args:
        baseline: its rows.
        variant: the rows of the entry, of the same clips.
        blocks: makes the blocks that are resampled.
        rng: draws the resamples.
    """
    found = []
    for condition in (each for each in baseline if each in variant):
        pairs = [
            (a, b)
            for a, b in zip(baseline[condition], variant[condition], strict=True)
            if a is not None and b is not None
        ]
        before, after = [a for a, _ in pairs], [b for _, b in pairs]
        if sum(row.words.reference_words for row in before):
            _, delta = pair_clips(before, after, blocks, rng)
            found.append(ConditionComparison(condition=condition, n_clips=len(pairs), wer_delta=delta))
    return tuple(found)
