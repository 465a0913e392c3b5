"""An entry against the baseline or another engine, paired clip by clip."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sottovoce.benchmark.results import (
    ClipRow,
    Comparison,
    PeerComparison,
    SpeedVerdict,
    Stage,
    StratumComparison,
    VariantResult,
    Verdict,
)
from sottovoce.benchmark.statistics.matched_pairs import Mistakes, find_mistakes, matched_pairs
from sottovoce.benchmark.statistics.noninferiority import judge_accuracy, more_clips_needed
from sottovoce.benchmark.statistics.panel import make_panel
from sottovoce.benchmark.statistics.strata import group_by_stratum
from sottovoce.errors import GateError
from sottovoce.intervals import (
    Blocks,
    Interval,
    make_blocks,
    rate_delta_interval,
    ratio_interval,
    ratio_of_ratios_interval,
)

BlocksOf = Callable[[Sequence[ClipRow]], Blocks]
Entrant = tuple[VariantResult, Sequence[ClipRow]]
"""An entry's summary and its rows, in the order of the clips."""


def median_latency_s(row: ClipRow) -> float:
    """Return a clip's median latency over its passes."""
    return float(np.median(row.latency_s))


def stage_seconds(row: ClipRow, stage: Stage) -> float:
    """Return a clip's median seconds in a stage over its passes."""
    return float(np.median([seconds.get(stage, 0.0) for seconds in row.stage_s]))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pairing:
    """Two entries on the clips that both transcribed.

    Attributes:
        speedup: ratio of total times, `before` by `after`.
        wer_delta: `after` minus `before`.
    """

    before: tuple[ClipRow, ...]
    after: tuple[ClipRow, ...]
    cut: Blocks
    speedup: Interval
    wer_delta: Interval


def _pair(
    before_rows: Sequence[ClipRow], after_rows: Sequence[ClipRow], blocks: BlocksOf, rng: np.random.Generator
) -> _Pairing:
    pairs = [
        (a, b) for a, b in zip(before_rows, after_rows, strict=True) if a.error is None and b.error is None
    ]
    before, after = tuple(a for a, _ in pairs), tuple(b for _, b in pairs)
    if sum(row.words.reference_words for row in before) == 0:
        raise GateError("the references hold no words after normalizing; nothing can be compared")
    speedup, delta = pair_clips(before, after, blocks, rng)
    if speedup is None:
        raise GateError("no clip that counts for speed was transcribed by both; nothing can be compared")
    return _Pairing(before=before, after=after, cut=blocks(before), speedup=speedup, wer_delta=delta)


def pair_clips(
    before: Sequence[ClipRow], after: Sequence[ClipRow], blocks: BlocksOf, rng: np.random.Generator
) -> tuple[Interval | None, Interval]:
    """Estimate how many times as fast one is as the other, and how their word error rates differ.

    Args:
        before: rows of clips that both transcribed, with words in their references.
        after: the same clips.
        blocks: makes the blocks that are resampled.
        rng: draws the resamples.

    Returns:
        Total times of the clips that count for speed, `before` by `after`, None where there are none; error rates,
        `after` minus `before`.
    """
    timed = timed_pairs(before, after)
    speedup = ratio_of_times(*timed, blocks, rng) if timed[0] else None
    cut = blocks(before)
    delta = rate_delta_interval(
        cut.sums([row.words.errors for row in before]),
        cut.sums([row.words.errors for row in after]),
        cut.sums([row.words.reference_words for row in before]),
        rng=rng,
    )
    return speedup, delta


def timed_pairs(
    before: Sequence[ClipRow], after: Sequence[ClipRow]
) -> tuple[tuple[ClipRow, ...], tuple[ClipRow, ...]]:
    """Return the clips that count for speed in both."""
    pairs = [(a, b) for a, b in zip(before, after, strict=True) if a.latency_s and b.latency_s]
    return tuple(a for a, _ in pairs), tuple(b for _, b in pairs)


def ratio_of_times(
    before_rows: Sequence[ClipRow], after_rows: Sequence[ClipRow], blocks: BlocksOf, rng: np.random.Generator
) -> Interval:
    """Estimate the ratio of total times, `before` by `after`, of the clips that count for speed in both.

    Raises:
        GateError: there is no such clip.
    """
    before, after = timed_pairs(before_rows, after_rows)
    if not before:
        raise GateError("no clip that counts for speed was transcribed by both; nothing can be compared")
    cut = blocks(before)
    return ratio_interval(
        cut.sums([median_latency_s(row) for row in before]),
        cut.sums([median_latency_s(row) for row in after]),
        rng=rng,
    )


def compare(
    baseline: Entrant, variant: Entrant, blocks: BlocksOf, *, margin: float, rng: np.random.Generator
) -> Comparison:
    """Compare an entry with the baseline on the clips that both transcribed.

    Args:
        baseline: its summary and its rows.
        variant: the same, rows in the same order.
        blocks: makes the blocks that are resampled.
        margin: largest tolerated WER increase, a fraction.
        rng: draws the resamples.

    Raises:
        GateError: there is no word to compare.
    """
    paired = _pair(baseline[1], variant[1], blocks, rng)
    before, after = paired.before, paired.after
    sizes = (baseline[0].component_size_bytes, variant[0].component_size_bytes)
    return Comparison(
        variant=variant[0].name,
        speedup=paired.speedup,
        stage_speedup=_stage_speedups(*timed_pairs(before, after), blocks, rng),
        size_ratio=variant[0].size_bytes / baseline[0].size_bytes,
        component_size_ratio={name: sizes[1][name] / sizes[0][name] for name in sizes[0] if name in sizes[1]},
        wer_delta=paired.wer_delta,
        n_changed=sum(
            a.normalized_hypothesis != b.normalized_hypothesis for a, b in zip(before, after, strict=True)
        ),
        n_worse=sum(b.words.errors > a.words.errors for a, b in zip(before, after, strict=True)),
        n_better=sum(b.words.errors < a.words.errors for a, b in zip(before, after, strict=True)),
        no_regression_rate=float(
            np.mean([b.words.errors <= a.words.errors for a, b in zip(before, after, strict=True)])
        ),
        matched_pairs=matched_pairs((_mistakes(a), _mistakes(b)) for a, b in zip(before, after, strict=True)),
        panel=make_panel(
            [
                (a.reference, a.hypothesis, b.hypothesis, a.language)
                for a, b in zip(before, after, strict=True)
            ],
            paired.cut,
            margin=margin,
            rng=rng,
        ),
        strata=tuple(_compare_strata(before, after, rng)),
        verdict=judge(paired.speedup, paired.wer_delta, margin=margin, n_clips=len(before)),
    )


def by_speaker(rows: Sequence[ClipRow]) -> Blocks:
    """Make a block of each speaker, where there are enough."""
    return make_blocks([row.speaker for row in rows])


def by_clip(rows: Sequence[ClipRow]) -> Blocks:
    """Make a block of each clip."""
    return make_blocks([None] * len(rows))


def _mistakes(row: ClipRow) -> Mistakes:
    return find_mistakes(row.normalized_reference, row.normalized_hypothesis)


def _compare_strata(
    before: Sequence[ClipRow], after: Sequence[ClipRow], rng: np.random.Generator
) -> Iterator[StratumComparison]:
    """Compare on each part with words; clips are resampled, since a part has few speakers."""
    for (kind, name), places in group_by_stratum(before).items():
        part = [before[place] for place in places]
        if sum(row.words.reference_words for row in part) == 0:
            continue
        speedup, delta = pair_clips(part, [after[place] for place in places], by_clip, rng)
        yield StratumComparison(by=kind, name=name, n_clips=len(part), speedup=speedup, wer_delta=delta)


def compare_peer(
    subject: Entrant, peer: Entrant, blocks: BlocksOf, *, rng: np.random.Generator
) -> PeerComparison:
    """Compare an entry of our engine with one of another on the clips that both transcribed.

    Args:
        subject: its summary and its rows.
        peer: the same, rows in the same order.
        blocks: makes the blocks that are resampled.
        rng: draws the resamples.

    Raises:
        GateError: there is no word to compare.
    """
    paired = _pair(peer[1], subject[1], blocks, rng)
    return PeerComparison(
        subject=subject[0].name, peer=peer[0].name, speedup=paired.speedup, wer_delta=paired.wer_delta
    )


def _stage_speedups(
    before: Sequence[ClipRow], after: Sequence[ClipRow], blocks: BlocksOf, rng: np.random.Generator
) -> dict[Stage, Interval]:
    """Compare seconds per call, so that a different number of tokens does not count as speed."""
    cut = blocks(before)
    timed = [
        stage
        for stage in Stage
        if all(sum(row.calls.get(stage, 0) for row in rows) > 0 for rows in (before, after))
    ]
    return {
        stage: ratio_of_ratios_interval(
            (
                cut.sums([stage_seconds(row, stage) for row in before]),
                cut.sums([row.calls.get(stage, 0) for row in before]),
            ),
            (
                cut.sums([stage_seconds(row, stage) for row in after]),
                cut.sums([row.calls.get(stage, 0) for row in after]),
            ),
            rng=rng,
        )
        for stage in timed
    }


def judge(speedup: Interval, wer_delta: Interval, *, margin: float, n_clips: int) -> Verdict:
    """Say what the intervals allow to say, and nothing more."""
    if speedup.low > 1:
        speed = SpeedVerdict.FASTER
    elif speedup.high < 1:
        speed = SpeedVerdict.SLOWER
    else:
        speed = SpeedVerdict.UNDECIDED
    return Verdict(
        speed=speed,
        accuracy=judge_accuracy(wer_delta, margin=margin),
        margin=margin,
        more_clips=more_clips_needed(wer_delta, margin=margin, n_clips=n_clips),
    )
