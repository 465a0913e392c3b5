"""Charts over two axes: lines and points."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sottovoce.reports.charts.canvas import (
    CHARACTER_PX,
    GRID,
    MAX_HEADING,
    QUIET,
    RIGHT_PX,
    SURFACE,
    canvas,
    finish,
    paint_of,
    safe_label,
)
from sottovoce.reports.charts.chart import CurveChart, Point, ScatterChart, series_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DASHES = ("solid", "dashed", "dotted")
_MARKERS = ("o", "s", "D", "^", "v", "P")
_CURVE_HEIGHT_PX = 190
_SCATTER_HEIGHT_PX = 240
_ROOM = 1.08
"""The scale ends this many times above its largest figure."""
_CLOUD_PX = 3.2
_LABEL_PX = 13
_LABEL_OFFSET_PX = 7


def draw_curves(chart: CurveChart) -> "Figure":
    """Draw lines."""
    figure, axes = canvas(_CURVE_HEIGHT_PX, left_px=46, right_px=RIGHT_PX)
    for curve in chart.curves:
        colour, number = paint_of(curve.series), series_colour(curve.series)
        axes.plot(
            [x for x, _ in curve.points],
            [y for _, y in curve.points],
            color=colour,
            linestyle=_DASHES[number % len(_DASHES)],
            linewidth=2,
        )
        axes.plot(
            [x for x, _ in curve.marks],
            [y for _, y in curve.marks],
            color=colour,
            marker=_MARKERS[number],
            markersize=6.5,
            markeredgecolor=SURFACE,
            linestyle="none",
        )
    axes.set_ylim(0, chart.y_limit or _ROOM * max(y for curve in chart.curves for _, y in curve.points))
    axes.set_xlim(left=0)
    axes.grid(visible=True, color=GRID, linewidth=0.8)
    axes.set_ylabel(safe_label(chart.y_axis), color=QUIET)
    finish(axes, chart.text.axis, is_whole=chart.is_whole)
    return figure


def draw_scatter(chart: ScatterChart) -> "Figure":
    """Draw points."""
    figure, axes = canvas(_SCATTER_HEIGHT_PX, left_px=58, right_px=RIGHT_PX)
    if chart.limit is not None:
        axes.axhline(chart.limit, color=QUIET, linewidth=1, linestyle=(0, (3, 2)), zorder=1)
    if chart.line:
        axes.plot(*zip(*chart.line, strict=True), color=QUIET, linewidth=1.2, zorder=2)
    for cloud in chart.clouds:
        axes.plot(
            [x for x, _ in cloud.points],
            [y for _, y in cloud.points],
            color=paint_of(cloud.series),
            marker=_MARKERS[series_colour(cloud.series)],
            markersize=_CLOUD_PX,
            markeredgewidth=0,
            alpha=0.45,
            linestyle="none",
            zorder=2,
        )
    for point in chart.points:
        _draw_point(axes, point)
    axes.margins(0.1)
    axes.grid(visible=True, color=GRID, linewidth=0.8)
    axes.set_ylabel(safe_label(chart.y_axis, longest=MAX_HEADING), color=QUIET)
    finish(axes, chart.text.axis)
    _label_points(axes, chart.points)
    return figure


def _draw_point(axes: "Axes", point: Point) -> None:
    colour = paint_of(point.series)
    axes.plot([point.x, point.x], [point.low, point.high], color=colour, linewidth=1.6, zorder=3)
    if point.reach is not None:
        axes.plot(list(point.reach), [point.y, point.y], color=colour, linewidth=1.6, zorder=3)
    axes.plot(
        [point.x],
        [point.y],
        marker=_MARKERS[series_colour(point.series)] if point.has_shape else "o",
        markersize=7,
        color=colour,
        markerfacecolor=SURFACE if point.is_hollow else colour,
        zorder=4,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Box:
    """The area of a label, in px of the canvas."""

    left: float
    bottom: float
    width: float

    def overlaps(self, other: "_Box") -> bool:
        """Return whether the two overlap."""
        is_beside = self.left + self.width <= other.left or other.left + other.width <= self.left
        return not is_beside and abs(self.bottom - other.bottom) < _LABEL_PX


def _label_points(axes: "Axes", points: Sequence[Point]) -> None:
    """Name the points from the highest down, each where it covers no other name."""
    axes.autoscale_view()  # else the coordinates are those of an empty scale
    named = [(point, label) for point in points if (label := safe_label(point.label))]
    taken: list[_Box] = []
    for point, label in sorted(named, key=lambda found: -found[0].y):
        x_px, y_px = axes.transData.transform((point.x, point.y))
        boxes = list(_label_boxes(x_px, y_px, len(label) * CHARACTER_PX, right_px=axes.bbox.x1 + RIGHT_PX))
        free = (box for box in boxes if not any(box.overlaps(other) for other in taken))
        box = next(free, boxes[0])
        taken.append(box)
        axes.annotate(
            label,
            (point.x, point.y),
            xytext=(box.left - x_px, box.bottom - y_px),
            textcoords="offset points",
            zorder=5,
            annotation_clip=False,
        )


def _label_boxes(x_px: float, y_px: float, width_px: float, *, right_px: float) -> Iterator[_Box]:
    """Yield the possible areas of a label: right or left of its point, above it, below it, then farther below."""
    right, left = x_px + _LABEL_OFFSET_PX, max(x_px - _LABEL_OFFSET_PX - width_px, 0)
    sides = (right, left) if right + width_px <= right_px else (left,)
    lines = (1, -1, -2, -3, -4)
    for line, side in itertools.product(lines, sides):
        up = _LABEL_OFFSET_PX if line > 0 else line * _LABEL_PX
        yield _Box(left=side, bottom=y_px + up, width=width_px)
