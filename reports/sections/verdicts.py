"""The verdict on each comparison in one plain sentence, and the notices that stand before the figures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.comparisons import AccuracyVerdict, Comparison, SpeedVerdict, Verdict
from sottovoce.benchmark.schema.results import Results
from sottovoce.benchmark.statistics.noninferiority import more_clips_needed
from sottovoce.reports.sections.noise import warn_of_noise, why_void
from sottovoce.reports.text.tables import span
from sottovoce.reports.text.units import NO_BREAK_SPACE, count, points, round_up, signed_points, times
from sottovoce.statistics.intervals import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Badge:
    """A verdict in two or three words; `tone` is good, bad or open."""

    text: str
    tone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A warning that stands before the figures; a loud one voids some of them."""

    title: str
    text: str
    is_loud: bool = False


_NOISE_VOIDS = Notice(
    title="Noise voids speeds",
    text="Do not use the speeds of this report. Close other programs, then measure again.",
    is_loud=True,
)


def find_notices(
    results: Results, rows: Sequence[ClipRow], *, name: Callable[[str], str] = str
) -> tuple[Notice, ...]:
    """Gather the warnings; `name` formats the name of an entry."""
    found: dict[str, str | None] = {
        "Synthetic speech": _warn_of_synthetic_speech(results),
        "Failures": _warn_of_failures(rows, name),
        "A noisy machine": warn_of_noise(results, name=name),
    }
    if any(why_void(results, comparison) is not None for comparison in results.comparisons):
        found["A noisy machine"] = None
        return (_NOISE_VOIDS, *_notices(found))
    return _notices(found)


def _notices(found: Mapping[str, str | None]) -> tuple[Notice, ...]:
    return tuple(Notice(title=title, text=text) for title, text in found.items() if text is not None)


def _warn_of_synthetic_speech(results: Results) -> str | None:
    if not results.dataset.synthetic:
        return None
    return "The demo speech is synthetic; its WER says nothing about real speech."


def _warn_of_failures(rows: Sequence[ClipRow], name: Callable[[str], str]) -> str | None:
    failed = [row for row in rows if row.error is not None]
    if not failed:
        return None
    names = ", ".join(name(variant) for variant in dict.fromkeys(row.variant for row in failed))
    clips = count(len({row.clip_id for row in failed}), "clip")
    return f"{clips} failed under {names}. A failed clip has no score."


def verdict_badges(verdict: Verdict) -> tuple[Badge, ...]:
    """Return one badge on speed and one on accuracy."""
    return (_speed_badge(verdict.speed), _accuracy_badge(verdict.accuracy))


def describe_verdict(comparison: Comparison, results: Results, *, name: Callable[[str], str] = str) -> str:
    """Describe speed and accuracy of a variant against the baseline, and what stays undecided.

    `name` formats the name of an entry.
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
    ratio, interval = times(comparison.speedup.value), span(comparison.speedup, times)
    match comparison.verdict.speed:
        case SpeedVerdict.FASTER:
            return f"{variant} is {ratio} times as fast as {baseline} ({confidence} interval {interval})"
        case SpeedVerdict.SLOWER:
            return f"{variant} is slower than {baseline}: {ratio} times as fast ({confidence} interval {interval})"
        case SpeedVerdict.UNDECIDED:
            return f"{variant} measured {ratio} times as fast as {baseline}, but {_why_open(comparison, results)}"


def _why_open(comparison: Comparison, results: Results) -> str:
    """Give the reason of an undecided speed: the interval, the machine's noise, or too few clips."""
    confidence = f"{results.method.confidence * 100:g}{NO_BREAK_SPACE}%"
    found, check = comparison.speedup, results.self_check
    if found.low <= 1 <= found.high:
        return f"the {confidence} interval ({span(found, times)}) leaves open which is faster"
    if check is not None and found.low <= check.ratio.high and found.high >= check.ratio.low:
        return f"{check.entry} against itself measured {span(check.ratio, times)}: the machine may have made the difference"
    return "there are too few clips to decide which is faster"


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
    interval = f"({span(delta, points)})"
    size = signed_points(delta.value)
    if size.startswith("+"):
        return f"{size[1:]} points higher {interval}"
    if size != "0":
        return f"{size[1:]} points lower {interval}"
    return f"the same {interval}"


def _forecast(more: int | None) -> str:
    if more is None:
        return "only very many more clips would decide it"
    return f"about {round_up(more):,} more clips like these would decide it"
