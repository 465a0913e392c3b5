"""Non-inferiority: whether a variant is at most a margin worse than the baseline.

Source: Piaggio et al. 2012, "Reporting of noninferiority and equivalence randomized trials" (JAMA 308), figure 1:
compare the interval of the difference with the margin, instead of testing for no difference.
"""

from math import ceil

from sottovoce.benchmark.schema.comparisons import AccuracyVerdict
from sottovoce.statistics.intervals import MIN_BLOCKS, Interval

MAX_FACTOR = 100
"""No more than this many times the clips are suggested: the difference is then too close to the margin."""


def judge_accuracy(delta: Interval, *, margin: float, n_blocks: int) -> AccuracyVerdict:
    """Return whether an increase stays within the margin; undecided with fewer than `MIN_BLOCKS` blocks.

    Args:
        delta: error rate of the variant minus the baseline's, a fraction.
        margin: largest tolerated increase, a fraction.
        n_blocks: that were resampled.
    """
    if n_blocks < MIN_BLOCKS:
        return AccuracyVerdict.UNDECIDED
    if delta.high <= margin:
        return AccuracyVerdict.WITHIN
    if delta.low > margin:
        return AccuracyVerdict.BEYOND
    return AccuracyVerdict.UNDECIDED


def more_clips_needed(delta: Interval, *, margin: float, n_clips: int, n_blocks: int) -> int | None:
    """Estimate how many more clips would decide, with an even chance, if the difference stays the same.

    The half of the interval that crosses the margin narrows with the square root of the number of clips.

    Args:
        delta: error rate of the variant minus the baseline's, a fraction.
        margin: largest tolerated increase, a fraction.
        n_clips: in the interval.
        n_blocks: of these clips.

    Returns:
        0 if it is decided; None if the difference is too close to the margin.
    """
    if judge_accuracy(delta, margin=margin, n_blocks=n_blocks) is not AccuracyVerdict.UNDECIDED:
        return 0
    fewest = max(1, MIN_BLOCKS - n_blocks)
    is_within = delta.value < margin
    reach = delta.high - delta.value if is_within else delta.value - delta.low
    room = abs(margin - delta.value)
    if reach >= room * MAX_FACTOR**0.5:
        return None
    return max(fewest, ceil(n_clips * (reach / room) ** 2) - n_clips)
