"""Charts over two axes: lines and points."""

from typing import TYPE_CHECKING

from sottovoce.reports.canvas import (
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
from sottovoce.reports.charts import CurveChart, ScatterChart, series_colour

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DASHES = ("solid", "dashed", "dotted")
_CURVE_HEIGHT_PX = 190
_SCATTER_HEIGHT_PX = 240


def draw_curves(chart: CurveChart) -> "Figure":
    """Draw lines."""
    figure, axes = canvas(_CURVE_HEIGHT_PX, left_px=46, right_px=RIGHT_PX)
    for curve in chart.curves:
        axes.plot(
            [x for x, _ in curve.points],
            [y for _, y in curve.points],
            color=paint_of(curve.series),
            linestyle=_DASHES[series_colour(curve.series) % len(_DASHES)],
            linewidth=2,
        )
    axes.set_ylim(0, 100)
    axes.set_xlim(left=0)
    axes.grid(visible=True, color=GRID, linewidth=0.8)
    axes.set_ylabel(safe_label(chart.y_axis), color=QUIET)
    finish(axes, chart.text.axis)
    return figure


def draw_scatter(chart: ScatterChart) -> "Figure":
    """Draw points."""
    figure, axes = canvas(_SCATTER_HEIGHT_PX, left_px=58, right_px=RIGHT_PX)
    if chart.limit is not None:
        axes.axhline(chart.limit, color=QUIET, linewidth=1, linestyle=(0, (3, 2)), zorder=1)
    if chart.line:
        axes.plot(*zip(*chart.line, strict=True), color=QUIET, linewidth=1.2, zorder=2)
    for point in chart.points:
        colour = paint_of(point.series)
        axes.plot([point.x, point.x], [point.low, point.high], color=colour, linewidth=1.6, zorder=3)
        axes.plot(
            [point.x],
            [point.y],
            marker="o",
            markersize=7,
            color=colour,
            markerfacecolor=SURFACE if point.is_hollow else colour,
            zorder=4,
        )
        axes.annotate(
            safe_label(point.label),
            (point.x, point.y),
            xytext=(6, 6),
            textcoords="offset points",
            zorder=5,
            annotation_clip=False,
        )
    axes.margins(0.1)
    axes.grid(visible=True, color=GRID, linewidth=0.8)
    axes.set_ylabel(safe_label(chart.y_axis, longest=MAX_HEADING), color=QUIET)
    finish(axes, chart.text.axis)
    return figure
