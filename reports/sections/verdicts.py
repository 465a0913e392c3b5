"""What a comparison allows to say, in one plain sentence."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from sottovoce.benchmark.schema.comparisons import AccuracyVerdict, Comparison, SpeedVerdict, Verdict
from sottovoce.benchmark.schema.results import Results
from sottovoce.benchmark.statistics.noninferiority import more_clips_needed
from sottovoce.reports.text.units import NO_BREAK_SPACE, fixed, percent, signed_points
from sottovoce.statistics.intervals import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Badge:
    """A verdict in two or three words; `tone` is good, bad or open."""

    text: str
    tone: str


def verdict_badges(verdict: Verdict) -> tuple[Badge, ...]:
    """Put a verdict in few words: one badge on speed, one on accuracy."""
    return (_speed_badge(verdict.speed), _accuracy_badge(verdict.accuracy))


def describe_verdict(comparison: Comparison, results: Results, *, name: Callable[[str], str] = str) -> str:
    """Say how fast and how accurate a variant is against the baseline, and what is left open.

    Args:
        comparison: of the variant.
        results: what was measured.
        name: writes the name of an entry.
    """
    speed = _describe_speed(comparison, results, name)
    accuracy = _describe_accuracy(comparison, results)
    return f"{speed}; {accuracy}."


def _speed_badge(verdict: SpeedVerdict) -> Badge:
    match verdict:
        case SpeedVerdict.FASTER:
            return Badge(text="faster", tone="good")
        case SpeedVerdict.SLOWER:
            return Badge(text="slower", tone="bad")
        case SpeedVerdict.UNDECIDED:
            return Badge(text="speed undecided", tone="open")


def _accuracy_badge(verdict: AccuracyVerdict) -> Badge:
    match verdict:
        case AccuracyVerdict.WITHIN:
            return Badge(text="accuracy within margin", tone="good")
        case AccuracyVerdict.BEYOND:
            return Badge(text="accuracy beyond margin", tone="bad")
        case AccuracyVerdict.UNDECIDED:
            return Badge(text="accuracy undecided", tone="open")


def _describe_speed(comparison: Comparison, results: Results, name: Callable[[str], str]) -> str:
    variant, baseline = name(comparison.variant), name(results.baseline)
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
            return f"{variant} measured {ratio} times as fast as {baseline}, but {_why_open(comparison, results, span)}"


def _why_open(comparison: Comparison, results: Results, span: str) -> str:
    """Say why nothing is said about speed: the interval, the machine's noise, or too few clips."""
    confidence = f"{results.method.confidence * 100:g}{NO_BREAK_SPACE}%"
    found, check = comparison.speedup, results.self_check
    if found.low <= 1 <= found.high:
        return f"the {confidence} interval ({span}) leaves open which is faster"
    if check is not None and found.low <= check.ratio.high and found.high >= check.ratio.low:
        return f"{check.entry} against itself measured {_span(check.ratio)}: the machine may have made the difference"
    return "so few clips do not tell which is faster"


def _describe_accuracy(comparison: Comparison, results: Results) -> str:
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
            n_clips = comparison.n_clips or results.dataset.n_clips
            n_blocks = comparison.n_blocks or n_clips
            more = more_clips_needed(delta, margin=margin, n_clips=n_clips, n_blocks=n_blocks)
            return f"{change}, which leaves open whether it stays within {points}: {_forecast(more)}"


def _change(delta: Interval) -> str:
    span = f"({percent(delta.low)} to {percent(delta.high)})"
    size = signed_points(delta.value)
    if size.startswith("+"):
        return f"{size[1:]} points higher {span}"
    if delta.value < 0 and size != percent(0):
        return f"{size[1:]} points lower {span}"
    return f"the same {span}"


def _forecast(more: int | None) -> str:
    if more is None:
        return "only very many more clips would tell"
    return f"about {_round_up(more):,} clips more like these would tell"


def _span(interval: Interval) -> str:
    return f"{fixed(interval.low)} to {fixed(interval.high)}"


def _round_up(number: float) -> int:
    """Round up to two significant figures: 1234 becomes 1300."""
    unit = 10.0 ** max(len(str(int(number))) - 2, 0)
    return math.ceil(number / unit) * int(unit)
