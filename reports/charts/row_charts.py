"""Charts with a row for each thing: figures with intervals, stacked bars, grouped bars, pairs of bars."""

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
from sottovoce.reports.charts.chart import N_PARTS, DotChart, GroupChart, PairChart, StackChart

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROW_PX = 34
_BAR_PX = 17
_GROUP_GAP_PX = 30
_VALUE_PX = 62
_PAIR_VALUE_PX = 42
_PAIR_TICKS = 3


def draw_dots(chart: DotChart) -> "Figure":
    """Draw figures with their intervals."""
    labels = [dot.label for dot in chart.dots]
    figure, axes = row_canvas(labels, height_px=_ROW_PX * len(labels))
    if chart.band is not None:
        axes.axvspan(*chart.band, color=BAND, linewidth=0, zorder=0)
    axes.axvline(chart.reference, color=QUIET, linewidth=1, linestyle=(0, (3, 2)), zorder=1)
    for place, dot in enumerate(chart.dots):
        colour = paint_of(dot.series)
        axes.plot([dot.low, dot.high], [place, place], color=colour, linewidth=2, solid_capstyle="butt")
        for end in (dot.low, dot.high):
            axes.plot([end, end], [place - 0.12, place + 0.12], color=colour, linewidth=2)
        axes.plot([dot.value], [place], marker="o", markersize=8, color=colour, markeredgecolor=SURFACE)
        axes.text(dot.value, place - 0.24, safe_label(dot.text), ha="center", va="bottom", fontweight="bold")
    axes.set_ylim(len(labels) - 0.4, -0.75)
    axes.set_xlim(*_padded_limits(chart))
    finish_rows(axes, labels, range(len(labels)), chart.text.axis)
    return figure


def draw_stacks(chart: StackChart) -> "Figure":
    """Draw bars made of parts."""
    labels = [stack.label for stack in chart.stacks]
    figure, axes = row_canvas(labels, height_px=_ROW_PX * len(labels), value_px=_VALUE_PX)
    for place, stack in enumerate(chart.stacks):
        left = 0.0
        for part, size in enumerate(stack.parts):
            colour = PARTS[part % N_PARTS]
            axes.barh(place, size, left=left, height=0.56, color=colour, edgecolor=SURFACE, linewidth=1)
            left += size
        value_text(axes, left, place, stack.text)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(0, max((sum(stack.parts) for stack in chart.stacks), default=1.0) or 1.0)
    finish_rows(axes, labels, range(len(labels)), chart.text.axis)
    return figure


def draw_groups(chart: GroupChart) -> "Figure":
    """Draw bars under headings."""
    labels = [bar.label for group in chart.groups for bar in group.bars]
    height_px = _BAR_PX * len(labels) + _GROUP_GAP_PX * len(chart.groups)
    figure, axes = row_canvas(labels, height_px=height_px, value_px=_VALUE_PX)
    places: list[float] = []
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
            places.append(top + _BAR_PX / 2)
            axes.barh(places[-1], bar.value, height=_BAR_PX * 0.72, color=paint_of(bar.series))
            value_text(axes, bar.value, places[-1], bar.text)
            top += _BAR_PX
    axes.set_ylim(height_px, 0)
    axes.set_xlim(0, max((bar.value for group in chart.groups for bar in group.bars), default=1.0) or 1.0)
    finish_rows(axes, labels, places, chart.text.axis)
    return figure


def draw_pairs(chart: PairChart) -> "Figure":
    """Draw two bars in each row."""
    labels = [pair.label for pair in chart.pairs]
    places = [_BAR_PX * (place + 0.5) for place in range(len(labels))]
    height_px = _BAR_PX * len(labels)
    panel_px = (WIDTH_PX - left_px_of(labels)) / 2 - _PAIR_VALUE_PX
    figure, axes = row_canvas(labels, height_px=height_px, value_px=panel_px + 2 * _PAIR_VALUE_PX - RIGHT_PX)
    box = axes.get_position()
    other = figure.add_axes(
        (box.x1 + _PAIR_VALUE_PX / WIDTH_PX, box.y0, box.width, box.height), facecolor="none"
    )
    for place, pair in zip(places, chart.pairs, strict=True):
        for panel, value, text in ((axes, pair.left, pair.left_text), (other, pair.right, pair.right_text)):
            panel.barh(place, value, height=_BAR_PX * 0.72, color=paint_of(pair.series))
            value_text(panel, max(0.0, value), place, text)
    axes.set_xlim(0, chart.left_limit)
    other.set_xlim(*chart.right_limits)
    other.axvline(0, color=QUIET, linewidth=1)
    for panel, names, title in (
        (axes, labels, chart.text.axis),
        (other, [""] * len(labels), chart.right_axis),
    ):
        panel.set_ylim(height_px, 0)
        finish_rows(panel, names, places, title)
        panel.locator_params(axis="x", nbins=_PAIR_TICKS)
    return figure


def _padded_limits(chart: DotChart) -> tuple[float, float]:
    ends = [end for dot in chart.dots for end in (dot.low, dot.high)] + [chart.reference, *(chart.band or ())]
    room = (max(ends) - min(ends)) * 0.14 or 0.5
    return min(ends) - room, max(ends) + room
