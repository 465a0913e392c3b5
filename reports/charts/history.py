"""Measurements over time, drawn as an SVG file of its own."""

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sottovoce.benchmark.history import HistoryEntry, HistorySeries, group_series, name_series
from sottovoce.reports.text.units import printable
from sottovoce.statistics.intervals import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_IN, HEIGHT_IN = 8, 5
MARKERS = "osD^vP"
LEAST_ROOM_DAYS = 1 / 24
"""Room left and right of the measurements, which may all be of one moment."""


def draw_history(past: Sequence[HistoryEntry]) -> str:
    """Draw speed and word errors of entries over time, as an SVG file; a bar is the interval against the baseline.

    Args:
        past: at least one; a line joins the measurements of one entry under the same conditions.
    """
    import matplotlib as mpl
    from matplotlib.dates import ConciseDateFormatter, date2num
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.fonttype": "none", "text.parse_math": False}):
        figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
        speed, errors = figure.subplots(2, 1, sharex=True)
        lines = group_series(past)
        _draw(speed, lines, lambda one: one.rtfx, _relative_speed)
        speed.set_ylabel("audio s per s")
        speed.set_ylim(bottom=0)
        _draw(errors, lines, lambda one: 100 * one.wer, _relative_errors)
        errors.set_ylabel("WER, %")
        speed.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
        times = date2num([one.created for one in past])
        room = max((times.max() - times.min()) / 10, LEAST_ROOM_DAYS)
        errors.set_xlim(times.min() - room, times.max() + room)
        errors.xaxis_date()
        errors.xaxis.set_major_formatter(ConciseDateFormatter(errors.xaxis.get_major_locator()))
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


Bounds = Callable[[HistoryEntry], tuple[float, float] | None]


def _draw(
    axes: "Axes", lines: Sequence[HistorySeries], value: Callable[[HistoryEntry], float], bounds: Bounds
) -> None:
    from matplotlib.dates import date2num

    for index, (line, name) in enumerate(zip(lines, name_series(lines), strict=True)):
        values = [value(one) for one in line.entries]
        found = [bounds(one) or (at, at) for one, at in zip(line.entries, values, strict=True)]
        reach = [
            [max(0.0, at - low) for at, (low, _) in zip(values, found, strict=True)],
            [max(0.0, high - at) for at, (_, high) in zip(values, found, strict=True)],
        ]
        axes.errorbar(
            date2num([one.created for one in line.entries]),
            values,
            yerr=reach,
            marker=MARKERS[index % len(MARKERS)],
            capsize=3,
            label=printable(name),
        )
    axes.grid(visible=True, alpha=0.3)


def _relative_speed(one: HistoryEntry) -> tuple[float, float] | None:
    return None if one.speedup is None else _scaled(one.speedup, one.rtfx / one.speedup.value)


def _scaled(interval: Interval, unit: float) -> tuple[float, float]:
    return interval.low * unit, interval.high * unit


def _relative_errors(one: HistoryEntry) -> tuple[float, float] | None:
    if one.wer_delta is None:
        return None
    baseline = one.wer - one.wer_delta.value
    return 100 * (baseline + one.wer_delta.low), 100 * (baseline + one.wer_delta.high)
