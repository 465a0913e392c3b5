"""Charts of rows: figures with intervals, stacked bars, grouped bars, pairs of bars."""

from typing import TYPE_CHECKING

from sottovoce.reports.charts.canvas import (
    BAND,
    MAX_HEADING,
    PARTS,
    QUIET,
    RIGHT_PX,
    SURFACE,
    WIDTH_PX,
    finish_rows,
    left_px_of,
    paint_of,
    row_canvas,
    safe_label,
    value_text,
)
from sottovoce.reports.charts.chart import (
    N_PARTS,
    ErrorBarChart,
    GroupedBarChart,
    PairedBarChart,
    StackedBarChart,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROW_PX = 34
_BAR_PX = 17
_GROUP_GAP_PX = 30
_VALUE_PX = 62
_PAIR_VALUE_PX = 42
_PAIR_TICKS = 3


def draw_error_bars(chart: ErrorBarChart) -> "Figure":
    """Draw figures with their intervals."""
    labels = [bar.label for bar in chart.error_bars]
    figure, axes = row_canvas(labels, height_px=_ROW_PX * len(labels))
    if chart.band is not None:
        axes.axvspan(*chart.band, color=BAND, linewidth=0, zorder=0)
    axes.axvline(chart.reference, color=QUIET, linewidth=1, linestyle=(0, (3, 2)), zorder=1)
    for y, bar in enumerate(chart.error_bars):
        colour = paint_of(bar.series)
        axes.plot([bar.low, bar.high], [y, y], color=colour, linewidth=2, solid_capstyle="butt")
        for end in (bar.low, bar.high):
            axes.plot([end, end], [y - 0.12, y + 0.12], color=colour, linewidth=2)
        axes.plot([bar.value], [y], marker="o", markersize=8, color=colour, markeredgecolor=SURFACE)
        axes.text(bar.value, y - 0.24, safe_label(bar.text), ha="center", va="bottom", fontweight="bold")
    axes.set_ylim(len(labels) - 0.4, -0.75)
    axes.set_xlim(*_padded_limits(chart))
    finish_rows(axes, labels, range(len(labels)), chart.text.axis)
    return figure


def draw_stacked_bars(chart: StackedBarChart) -> "Figure":
    """Draw bars made of parts."""
    labels = [bar.label for bar in chart.bars]
    figure, axes = row_canvas(labels, height_px=_ROW_PX * len(labels), value_px=_VALUE_PX)
    for y, bar in enumerate(chart.bars):
        left = 0.0
        for part, size in enumerate(bar.parts):
            colour = PARTS[part % N_PARTS]
            axes.barh(y, size, left=left, height=0.56, color=colour, edgecolor=SURFACE, linewidth=1)
            left += size
        value_text(axes, left, y, bar.text)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(0, max((sum(bar.parts) for bar in chart.bars), default=1.0) or 1.0)
    finish_rows(axes, labels, range(len(labels)), chart.text.axis)
    return figure


def draw_grouped_bars(chart: GroupedBarChart) -> "Figure":
    """Draw bars under headings."""
    labels = [bar.label for group in chart.groups for bar in group.bars]
    height_px = _BAR_PX * len(labels) + _GROUP_GAP_PX * len(chart.groups)
    figure, axes = row_canvas(labels, height_px=height_px, value_px=_VALUE_PX)
    ys: list[float] = []
    top = 0.0
    for group in chart.groups:
        axes.text(
            0,
            top + _GROUP_GAP_PX * 0.58,
            safe_label(group.label, longest=MAX_HEADING),
            va="center",
            color=QUIET,
        )
        top += _GROUP_GAP_PX
        for bar in group.bars:
            ys.append(top + _BAR_PX / 2)
            axes.barh(ys[-1], bar.value, height=_BAR_PX * 0.72, color=paint_of(bar.series))
            value_text(axes, bar.value, ys[-1], bar.text)
            top += _BAR_PX
    axes.set_ylim(height_px, 0)
    axes.set_xlim(0, max((bar.value for group in chart.groups for bar in group.bars), default=1.0) or 1.0)
    finish_rows(axes, labels, ys, chart.text.axis)
    return figure


def draw_paired_bars(chart: PairedBarChart) -> "Figure":
    """Draw two bars in each row."""
    labels = [pair.label for pair in chart.pairs]
    ys = [_BAR_PX * (index + 0.5) for index in range(len(labels))]
    height_px = _BAR_PX * len(labels)
    panel_px = (WIDTH_PX - left_px_of(labels)) / 2 - _PAIR_VALUE_PX
    figure, axes = row_canvas(labels, height_px=height_px, value_px=panel_px + 2 * _PAIR_VALUE_PX - RIGHT_PX)
    box = axes.get_position()
    other = figure.add_axes(
        (box.x1 + _PAIR_VALUE_PX / WIDTH_PX, box.y0, box.width, box.height), facecolor="none"
    )
    for y, pair in zip(ys, chart.pairs, strict=True):
        for panel, value, text in ((axes, pair.left, pair.left_text), (other, pair.right, pair.right_text)):
            panel.barh(y, value, height=_BAR_PX * 0.72, color=paint_of(pair.series))
            value_text(panel, max(0.0, value), y, text)
    axes.set_xlim(0, chart.left_limit)
    other.set_xlim(*chart.right_limits)
    other.axvline(0, color=QUIET, linewidth=1)
    for panel, names, title in (
        (axes, labels, chart.text.axis),
        (other, [""] * len(labels), chart.right_axis),
    ):
        panel.set_ylim(height_px, 0)
        finish_rows(panel, names, ys, title)
        panel.locator_params(axis="x", nbins=_PAIR_TICKS)
    return figure


def _padded_limits(chart: ErrorBarChart) -> tuple[float, float]:
    ends = [end for bar in chart.error_bars for end in (bar.low, bar.high)] + [
        chart.reference,
        *(chart.band or ()),
    ]
    room = (max(ends) - min(ends)) * 0.14 or 0.5
    return min(ends) - room, max(ends) + room
