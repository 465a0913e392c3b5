"""Compare an entry with the baseline or with another engine, paired clip by clip."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.comparisons import (
    Comparison,
    PeerComparison,
    SpeedVerdict,
    StratumComparison,
    Verdict,
)
from sottovoce.benchmark.schema.results import VariantResult
from sottovoce.benchmark.statistics.matched_pairs import Mistakes, find_mistakes, matched_pairs
from sottovoce.benchmark.statistics.noninferiority import judge_accuracy, more_clips_needed
from sottovoce.benchmark.statistics.panel import make_panel
from sottovoce.benchmark.statistics.strata import group_by_stratum
from sottovoce.errors import GateError
from sottovoce.statistics.intervals import (
    MIN_BLOCKS,
    Blocks,
    Interval,
    make_blocks,
    rate_delta_interval,
    ratio_interval,
    ratio_of_ratios_interval,
    widen_by_rounds,
)
from sottovoce.terms import Stage

MIN_STRATUM_CLIPS = 2
"""A single clip has no spread and so no interval."""

BlocksOf = Callable[[Sequence[ClipRow]], Blocks]


class Entrant(NamedTuple):
    """An entry with its rows, in the order of the clips."""

    result: VariantResult
    rows: Sequence[ClipRow]


def median_latency_s(row: ClipRow) -> float:
    """Return a clip's median latency over its passes."""
    return float(np.median(row.latency_s))


def stage_seconds(row: ClipRow, stage: Stage) -> float:
    """Return a clip's median seconds in a stage over its passes."""
    return float(np.median([seconds.get(stage, 0.0) for seconds in row.stage_s]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """Two entries on the clips that both transcribed.

    Attributes:
        speedup: total time of `before` divided by that of `after`.
        wer_delta: `after` minus `before`.
    """

    before: tuple[ClipRow, ...]
    after: tuple[ClipRow, ...]
    cut: Blocks
    speedup: Interval
    wer_delta: Interval


def _pair(
    before_rows: Sequence[ClipRow], after_rows: Sequence[ClipRow], blocks: BlocksOf, rng: np.random.Generator
) -> Pairing:
    pairs = [
        (a, b) for a, b in zip(before_rows, after_rows, strict=True) if a.error is None and b.error is None
    ]
    before, after = tuple(a for a, _ in pairs), tuple(b for _, b in pairs)
    if sum(row.words.reference_words for row in before) == 0:
        raise GateError("the references hold no words after normalizing; nothing can be compared")
    speedup, delta = pair_clips(before, after, blocks, rng)
    if speedup is None:
        raise GateError("no clip that counts for speed was transcribed by both; nothing can be compared")
    return Pairing(before=before, after=after, cut=blocks(before), speedup=speedup, wer_delta=delta)


def pair_clips(
    before: Sequence[ClipRow], after: Sequence[ClipRow], blocks: BlocksOf, rng: np.random.Generator
) -> tuple[Interval | None, Interval]:
    """Estimate the speed-up and the difference of the word error rates.

    Args:
        before: rows of clips that both transcribed, with words in their references.
        after: the same clips.
        blocks: makes the blocks that are resampled.
        rng: draws the resamples.

    Returns:
        Total time of `before` divided by that of `after`, over the clips that count for speed, None without any; error
        rate of `after` minus that of `before`.
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
    """Estimate total time of `before` divided by that of `after`, over the clips that count for speed in both.

    The interval of resampled blocks is widened by the spread between passes.

    Raises:
        GateError: there is no such clip.
    """
    before, after = timed_pairs(before_rows, after_rows)
    if not before:
        raise GateError("no clip that counts for speed was transcribed by both; nothing can be compared")
    cut = blocks(before)
    resampled = ratio_interval(
        cut.sums([median_latency_s(row) for row in before]),
        cut.sums([median_latency_s(row) for row in after]),
        rng=rng,
    )
    return widen_by_rounds(resampled, _ratios_by_pass(before, after), n_blocks=cut.n_blocks)


def _ratios_by_pass(before: Sequence[ClipRow], after: Sequence[ClipRow]) -> list[float]:
    """Return the ratio of total times in each pass; passes have different processes."""
    n_passes = min(len(row.latency_s) for row in (*before, *after))
    return [
        sum(row.latency_s[number] for row in before) / sum(row.latency_s[number] for row in after)
        for number in range(n_passes)
    ]


def compare(
    baseline: Entrant,
    variant: Entrant,
    blocks: BlocksOf,
    *,
    margin: float,
    rng: np.random.Generator,
    noise: Interval | None = None,
) -> Comparison:
    """Compare an entry with the baseline on the clips that both transcribed.

    Args:
        baseline: with its rows.
        variant: with its rows in the same order.
        blocks: makes the blocks that are resampled.
        margin: largest tolerated WER increase, a fraction.
        rng: draws the resamples.
        noise: ratio of the A/A check; None without one.

    Raises:
        GateError: the references have no words, or no clip has times of both.
    """
    paired = _pair(baseline.rows, variant.rows, blocks, rng)
    before, after = paired.before, paired.after
    pairs = list(zip(before, after, strict=True))
    added_errors = [b.words.errors - a.words.errors for a, b in pairs]
    sizes = (baseline.result.component_size_bytes, variant.result.component_size_bytes)
    return Comparison(
        variant=variant.result.name,
        speedup=paired.speedup,
        stage_speedup=_stage_speedups(*timed_pairs(before, after), blocks, rng),
        size_ratio=variant.result.size_bytes / baseline.result.size_bytes,
        component_size_ratio={name: sizes[1][name] / sizes[0][name] for name in sizes[0] if name in sizes[1]},
        wer_delta=paired.wer_delta,
        n_changed=sum(a.normalized_hypothesis != b.normalized_hypothesis for a, b in pairs),
        n_worse=sum(added > 0 for added in added_errors),
        n_better=sum(added < 0 for added in added_errors),
        no_regression_rate=float(np.mean([added <= 0 for added in added_errors])),
        matched_pairs=matched_pairs((_mistakes(a), _mistakes(b)) for a, b in pairs),
        panel=make_panel(
            [(a.reference, a.hypothesis, b.hypothesis, a.language) for a, b in pairs],
            paired.cut,
            margin=margin,
            rng=rng,
        ),
        strata=tuple(_compare_strata(before, after, rng)),
        n_clips=len(before),
        n_failed=len(baseline.rows) - len(before),
        n_blocks=paired.cut.n_blocks,
        verdict=judge(paired, margin=margin, noise=noise),
    )


def by_speaker(rows: Sequence[ClipRow]) -> Blocks:
    """Make a block of each speaker, if there are enough."""
    return make_blocks([row.speaker for row in rows])


def by_clip(rows: Sequence[ClipRow]) -> Blocks:
    """Make a block of each clip."""
    return make_blocks([None] * len(rows))


def _mistakes(row: ClipRow) -> Mistakes:
    return find_mistakes(row.normalized_reference, row.normalized_hypothesis)


def _compare_strata(
    before: Sequence[ClipRow], after: Sequence[ClipRow], rng: np.random.Generator
) -> Iterator[StratumComparison]:
    """Compare each stratum with words and several clips; clips are resampled, since a stratum has few speakers."""
    for (kind, name), indices in group_by_stratum(before).items():
        part = [before[index] for index in indices]
        if len(part) < MIN_STRATUM_CLIPS or sum(row.words.reference_words for row in part) == 0:
            continue
        speedup, delta = pair_clips(part, [after[index] for index in indices], by_clip, rng)
        yield StratumComparison(by=kind, name=name, n_clips=len(part), speedup=speedup, wer_delta=delta)


def compare_peer(
    subject: Entrant, peer: Entrant, blocks: BlocksOf, *, rng: np.random.Generator
) -> PeerComparison:
    """Compare an entry of our engine with one of another on the clips that both transcribed; see `compare`."""
    paired = _pair(peer.rows, subject.rows, blocks, rng)
    return PeerComparison(
        subject=subject.result.name,
        peer=peer.result.name,
        speedup=paired.speedup,
        wer_delta=paired.wer_delta,
    )


def _stage_speedups(
    before: Sequence[ClipRow], after: Sequence[ClipRow], blocks: BlocksOf, rng: np.random.Generator
) -> dict[Stage, Interval]:
    """Compare seconds per call, so that a different number of tokens does not affect them."""
    found = ((stage, _stage_speedup(stage, before, after, blocks, rng)) for stage in Stage)
    return {stage: speedup for stage, speedup in found if speedup is not None}


def _stage_speedup(
    stage: Stage,
    before: Sequence[ClipRow],
    after: Sequence[ClipRow],
    blocks: BlocksOf,
    rng: np.random.Generator,
) -> Interval | None:
    """Compare a stage on the clips whose calls both counted; some engines count them on some clips only."""
    pairs = [
        (a, b)
        for a, b in zip(before, after, strict=True)
        if a.calls.get(stage, 0) > 0 and b.calls.get(stage, 0) > 0
    ]
    if not pairs:
        return None
    firsts, seconds = [a for a, _ in pairs], [b for _, b in pairs]
    cut = blocks(firsts)
    sums = tuple(
        (
            cut.sums([stage_seconds(row, stage) for row in rows]),
            cut.sums([row.calls[stage] for row in rows]),
        )
        for rows in (firsts, seconds)
    )
    if not all(times.all() for times, _ in sums):
        return None  # a time of 0 has no ratio
    resampled = ratio_of_ratios_interval(*sums, rng=rng)
    return widen_by_rounds(resampled, _stage_ratios_by_pass(stage, firsts, seconds), n_blocks=cut.n_blocks)


def _stage_ratios_by_pass(stage: Stage, before: Sequence[ClipRow], after: Sequence[ClipRow]) -> list[float]:
    """Return the ratio of seconds per call in each pass; empty if a pass has no time."""
    n_passes = min(len(row.stage_s) for row in (*before, *after))
    n_calls = [sum(row.calls[stage] for row in rows) for rows in (before, after)]
    seconds = [
        [sum(row.stage_s[number].get(stage, 0.0) for row in rows) for rows in (before, after)]
        for number in range(n_passes)
    ]
    if not all(one and other for one, other in seconds):
        return []
    return [one / n_calls[0] / (other / n_calls[1]) for one, other in seconds]


def judge(paired: Pairing, *, margin: float, noise: Interval | None) -> Verdict:
    """Draw the conclusions that the intervals allow.

    Args:
        paired: two entries.
        margin: largest tolerated WER increase, a fraction.
        noise: ratio of the A/A check; None without one.
    """
    n_clips, n_blocks = len(paired.before), paired.cut.n_blocks
    n_timed = len(timed_pairs(paired.before, paired.after)[0])
    return Verdict(
        speed=judge_speed(paired.speedup, n_clips=n_timed, noise=noise),
        accuracy=judge_accuracy(paired.wer_delta, margin=margin, n_blocks=n_blocks),
        margin=margin,
        more_clips=more_clips_needed(paired.wer_delta, margin=margin, n_clips=n_clips, n_blocks=n_blocks),
    )


def judge_speed(speedup: Interval, *, n_clips: int, noise: Interval | None = None) -> SpeedVerdict:
    """Return whether a speed-up exceeds the noise of the A/A check; undecided with fewer than `MIN_BLOCKS` clips.

    Args:
        speedup: ratio of total times.
        n_clips: in the speed-up.
        noise: ratio of the A/A check; None without one.
    """
    if n_clips < MIN_BLOCKS:
        return SpeedVerdict.UNDECIDED
    slower, faster = (1.0, 1.0) if noise is None else (min(1.0, noise.low), max(1.0, noise.high))
    if speedup.low > faster:
        return SpeedVerdict.FASTER
    if speedup.high < slower:
        return SpeedVerdict.SLOWER
    return SpeedVerdict.UNDECIDED


def why_incomparable(ours: Sequence[ClipRow], peer: Sequence[ClipRow]) -> str | None:
    """Return why an entry of another engine cannot be compared; None if it can, or if the reason lies with our entry.

    Both arguments have one row for each clip, in the same order.
    """
    shared = [a for a, b in zip(ours, peer, strict=True) if a.error is None and b.error is None]
    timed = [a for a, b in zip(ours, peer, strict=True) if a.latency_s and b.latency_s]
    if any(row.latency_s for row in ours) and not timed:
        return "it transcribed no clip that counts for speed and that we transcribed"
    if _n_words(row for row in ours if row.error is None) and not _n_words(shared):
        return "it transcribed no clip with words that we transcribed"
    return None


def _n_words(rows: Iterable[ClipRow]) -> int:
    return sum(row.words.reference_words for row in rows)
