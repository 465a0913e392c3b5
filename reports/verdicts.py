"""What a comparison allows to say, in one plain sentence."""

import math

from sottovoce.benchmark.results import AccuracyVerdict, Comparison, Results, SpeedVerdict
from sottovoce.intervals import Interval
from sottovoce.reports.units import NO_BREAK_SPACE, fixed, percent, signed_points

MAX_CLIPS_FACTOR = 100
"""A forecast of more than this many times the clips at hand says only that it would be very many."""


def describe_verdict(comparison: Comparison, results: Results) -> str:
    """Say how fast and how accurate a variant is against the baseline, and what is left open."""
    speed = _describe_speed(comparison, results)
    accuracy = _describe_accuracy(comparison, n_clips=results.dataset.n_clips)
    return f"{speed}; {accuracy}."


def clips_to_decide(delta: Interval, *, margin: float, n_clips: int) -> int | None:
    """Forecast how many clips would tell on which side of the margin the WER increase lies.

    The interval narrows with the square root of the number of clips; as many are needed as bring
    its end to the margin, were the measured value the true one.

    Returns:
        The number rounded up to two figures; None where the value lies on the margin itself or
        the number is out of reach.
    """
    distance = abs(margin - delta.value)
    reach = delta.high - delta.value if delta.value < margin else delta.value - delta.low
    if distance == 0 or reach / distance > MAX_CLIPS_FACTOR**0.5:
        return None
    return _round_up(n_clips * (reach / distance) ** 2)


def _describe_speed(comparison: Comparison, results: Results) -> str:
    variant, baseline = comparison.variant, results.baseline
    confidence = f"{results.method.confidence * 100:g}{NO_BREAK_SPACE}%"
    ratio, span = fixed(comparison.speedup.value), _span(comparison.speedup)
    match comparison.verdict.speed:
        case SpeedVerdict.FASTER:
            return f"{variant} is {ratio} times as fast as {baseline} ({confidence} interval {span})"
        case SpeedVerdict.SLOWER:
            return (
                f"{variant} is slower than {baseline}: {ratio} times as fast ({confidence} interval {span})"
            )
        case SpeedVerdict.UNDECIDED:
            return (
                f"{variant} measured {ratio} times as fast as {baseline}, but the {confidence} interval "
                f"({span}) leaves open which is faster"
            )


def _describe_accuracy(comparison: Comparison, *, n_clips: int) -> str:
    delta, margin = comparison.wer_delta, comparison.verdict.margin
    points = f"{margin * 100:g} points"
    change = f"its word error rate is {_change(delta)}"
    match comparison.verdict.accuracy:
        case AccuracyVerdict.WITHIN:
            loss = "a real loss, but " if delta.low > 0 else ""
            return f"{change}, {loss}within the margin of {points}"
        case AccuracyVerdict.BEYOND:
            return f"{change}, beyond the margin of {points}: it is less accurate"
        case AccuracyVerdict.UNDECIDED:
            needed = clips_to_decide(delta, margin=margin, n_clips=n_clips)
            return f"{change}, which leaves open whether it stays within {points}: {_forecast(needed)}"


def _change(delta: Interval) -> str:
    span = f"({percent(delta.low)} to {percent(delta.high)})"
    size = signed_points(delta.value)
    if size.startswith("+"):
        return f"{size[1:]} points higher {span}"
    if delta.value < 0 and size != percent(0):
        return f"{size[1:]} points lower {span}"
    return f"the same {span}"


def _forecast(needed: int | None) -> str:
    if needed is None:
        return "only very many more clips would tell"
    return f"about {needed:,} clips like these would tell"


def _span(interval: Interval) -> str:
    return f"{fixed(interval.low)} to {fixed(interval.high)}"


def _round_up(number: float) -> int:
    """Round up to two significant figures: 1234 becomes 1300."""
    unit = 10.0 ** max(len(str(int(number))) - 2, 0)
    return math.ceil(number / unit) * int(unit)
