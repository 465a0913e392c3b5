"""Whether a variant is no worse than the baseline by more than a margin: what an interval allows to say.

Source: Piaggio et al. 2012, "Reporting of noninferiority and equivalence randomized trials" (JAMA 308), figure 1:
the interval of the difference against the margin decides, not a test of no difference.
"""

from enum import StrEnum
from math import ceil

from sottovoce.statistics.intervals import MIN_BLOCKS, Interval

MAX_FACTOR = 100
"""More clips than that many times as many are not asked for: the difference is the margin."""


class AccuracyVerdict(StrEnum):
    """Whether the WER increase stays within the margin: what its interval says."""

    WITHIN = "within"
    BEYOND = "beyond"
    UNDECIDED = "undecided"


def judge_accuracy(delta: Interval, *, margin: float, n_blocks: int) -> AccuracyVerdict:
    """Say whether an increase stays within the margin.

    Args:
        delta: error rate of the variant minus the baseline's, a fraction.
        margin: largest tolerated increase, a fraction.
        n_blocks: that were resampled; a few decide nothing, however narrow their interval.
    """
    if n_blocks < MIN_BLOCKS:
        return AccuracyVerdict.UNDECIDED
    if delta.high <= margin:
        return AccuracyVerdict.WITHIN
    if delta.low > margin:
        return AccuracyVerdict.BEYOND
    return AccuracyVerdict.UNDECIDED


def more_clips_needed(delta: Interval, *, margin: float, n_clips: int, n_blocks: int) -> int | None:
    """Estimate how many more clips would decide, with an even chance.

    The half of the interval that reaches over the margin narrows with the square root of the clips, if the
    difference stays what it is.

    Args:
        delta: error rate of the variant minus the baseline's, a fraction.
        margin: largest tolerated increase, a fraction.
        n_clips: that the interval rests on.
        n_blocks: of these clips.

    Returns:
        0 where it is decided; None where the difference lies so close to the margin that hardly any number would do.
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
