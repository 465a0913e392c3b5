"""Charts: what is drawn, as data, and Matplotlib that turns it into SVG.

A chart is drawn for a column about 384 CSS px wide, so that its labels stay readable on a phone. Colours
are CSS variables of the page, and follow its light or dark scheme.
"""

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sottovoce.reports.svg import inline_svg
from sottovoce.reports.units import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_PX = 384
N_SERIES = 6
"""Colours for variants, the baseline's first; more variants share them and are told apart by label."""
N_PARTS = 5
"""Shades for the parts of a stacked bar."""

_INK, _QUIET, _GRID, _BAND, _SURFACE = "#1a1b1e", "#5b5d66", "#d9d7d1", "#e9e7e0", "#fcfbf9"
_SERIES = ("#737984", "#0b62c4", "#b4540a", "#0b7a5e", "#8446ad", "#8a6d00")
_PARTS = ("#123f52", "#1f6f83", "#4a9aa6", "#8cc3c6", "#a9a59a")
_PAINTS = {
    _INK: "currentColor",
    _QUIET: f"var(--quiet, {_QUIET})",
    _GRID: f"var(--grid, {_GRID})",
    _BAND: f"var(--band, {_BAND})",
    _SURFACE: f"var(--surface, {_SURFACE})",
    **{colour: f"var(--series-{place}, {colour})" for place, colour in enumerate(_SERIES)},
    **{colour: f"var(--part-{place}, {colour})" for place, colour in enumerate(_PARTS)},
}
_DASHES = ("solid", "dashed", "dotted")
_FONT_PX = 11.5
_CHARACTER_PX = 6.6  # a wide character of the page's font at that size
_MAX_LABEL = 20
_MAX_HEADING = 48
_LABEL_GAP_PX = 8
_ROW_PX = 34
_BAR_PX = 17
_GROUP_GAP_PX = 30
_TOP_PX = 8
_AXIS_PX = 44
_RIGHT_PX = 16
_VALUE_PX = 62
_CURVE_HEIGHT_PX = 190
_SCATTER_HEIGHT_PX = 240
_PAIR_VALUE_PX = 42
_PAIR_TICKS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartText:
    """What is said about a chart. `name` is unique on the page; `axis` has the unit."""

    name: str
    title: str
    description: str
    axis: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A figure, its interval if there is one, and the words beside it."""

    label: str
    value: float
    low: float
    high: float
    text: str
    series: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DotChart:
    """Figures with intervals against the baseline's figure; `band` is tolerated."""

    text: ChartText
    dots: tuple[Dot, ...]
    reference: float
    band: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A bar made of parts, in the order of the chart's part names, and the words beside it."""

    label: str
    parts: tuple[float, ...]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StackChart:
    """Wholes and what they are made of."""

    text: ChartText
    part_names: tuple[str, ...]
    stacks: tuple[Stack, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A figure and the words beside it."""

    label: str
    value: float
    text: str
    series: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BarGroup:
    """Bars under one heading."""

    label: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupChart:
    """Grouped bars over one common scale."""

    text: ChartText
    groups: tuple[BarGroup, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A line through points (x, y)."""

    label: str
    points: tuple[tuple[float, float], ...]
    series: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveChart:
    """Lines over a common x; `y_axis` has the unit."""

    text: ChartText
    y_axis: str
    curves: tuple[Curve, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two figures of one thing, and the words beside each."""

    label: str
    left: float
    left_text: str
    right: float
    right_text: str
    series: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PairChart:
    """Two figures of each row side by side; `right_axis` has the unit of the second.

    `left_limit` and `right_limits` end the scales, so that charts can share them. `kinds` names the series.
    """

    text: ChartText
    right_axis: str
    pairs: tuple[Pair, ...]
    kinds: tuple[tuple[int, str], ...]
    left_limit: float
    right_limits: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A point with an interval of its y if there is one; `label` stands beside it if it is not empty."""

    x: float
    y: float
    low: float
    high: float
    label: str
    series: int
    is_hollow: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ScatterChart:
    """Points over a common x; `line` joins some; up to `limit` is within a budget. `kinds` names the series."""

    text: ChartText
    y_axis: str
    points: tuple[Point, ...]
    line: tuple[tuple[float, float], ...]
    kinds: tuple[tuple[int, str], ...]
    limit: float | None = None


Chart = DotChart | StackChart | GroupChart | CurveChart | PairChart | ScatterChart


def series_colour(series: int) -> int:
    """Return the place of a variant's colour: 0 is the baseline's alone, the others come round again."""
    return 0 if series == 0 else 1 + (series - 1) % (N_SERIES - 1)


def draw(chart: Chart) -> str:
    """Draw a chart as an SVG element. The same chart gives the same bytes."""
    with _settings(chart.text.name):
        file = io.StringIO()
        _draw_figure(chart).savefig(file, format="svg", metadata={"Date": None})
    return inline_svg(
        file.getvalue(),
        name=chart.text.name,
        title=printable(chart.text.title),
        description=printable(chart.text.description),
        paints=_PAINTS,
    )


@contextmanager
def _settings(name: str) -> Iterator[None]:
    import matplotlib as mpl

    options = {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "font.family": ["DejaVu Sans"],  # comes with Matplotlib: the same measures on every machine
        "font.size": _FONT_PX,
        "text.color": _INK,
        "text.parse_math": False,
        "axes.formatter.use_mathtext": False,
    }
    with mpl.rc_context(options), warnings.catch_warnings():
        # A label may hold characters that this font lacks; the browser's fonts draw them.
        warnings.filterwarnings("ignore", message="Glyph")
        yield


def _draw_figure(chart: Chart) -> "Figure":
    match chart:
        case DotChart():
            return _draw_dots(chart)
        case StackChart():
            return _draw_stacks(chart)
        case GroupChart():
            return _draw_groups(chart)
        case CurveChart():
            return _draw_curves(chart)
        case PairChart():
            return _draw_pairs(chart)
        case ScatterChart():
            return _draw_scatter(chart)


def _draw_dots(chart: DotChart) -> "Figure":
    labels = [dot.label for dot in chart.dots]
    figure, axes = _row_canvas(labels, height_px=_ROW_PX * len(labels))
    if chart.band is not None:
        axes.axvspan(*chart.band, color=_BAND, linewidth=0, zorder=0)
    axes.axvline(chart.reference, color=_QUIET, linewidth=1, linestyle=(0, (3, 2)), zorder=1)
    for place, dot in enumerate(chart.dots):
        colour = _series_colour(dot.series)
        axes.plot([dot.low, dot.high], [place, place], color=colour, linewidth=2, solid_capstyle="butt")
        for end in (dot.low, dot.high):
            axes.plot([end, end], [place - 0.12, place + 0.12], color=colour, linewidth=2)
        axes.plot([dot.value], [place], marker="o", markersize=8, color=colour, markeredgecolor=_SURFACE)
        axes.text(dot.value, place - 0.24, _safe(dot.text), ha="center", va="bottom", fontweight="bold")
    axes.set_ylim(len(labels) - 0.4, -0.75)
    axes.set_xlim(*_padded_limits(chart))
    _finish_rows(axes, labels, range(len(labels)), chart.text.axis)
    return figure


def _draw_stacks(chart: StackChart) -> "Figure":
    labels = [stack.label for stack in chart.stacks]
    figure, axes = _row_canvas(labels, height_px=_ROW_PX * len(labels), value_px=_VALUE_PX)
    for place, stack in enumerate(chart.stacks):
        left = 0.0
        for part, size in enumerate(stack.parts):
            colour = _PARTS[part % N_PARTS]
            axes.barh(place, size, left=left, height=0.56, color=colour, edgecolor=_SURFACE, linewidth=1)
            left += size
        _value_text(axes, left, place, stack.text)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(0, max((sum(stack.parts) for stack in chart.stacks), default=1.0) or 1.0)
    _finish_rows(axes, labels, range(len(labels)), chart.text.axis)
    return figure


def _draw_groups(chart: GroupChart) -> "Figure":
    labels = [bar.label for group in chart.groups for bar in group.bars]
    height_px = _BAR_PX * len(labels) + _GROUP_GAP_PX * len(chart.groups)
    figure, axes = _row_canvas(labels, height_px=height_px, value_px=_VALUE_PX)
    places: list[float] = []
    top = 0.0
    for group in chart.groups:
        axes.text(
            0, top + _GROUP_GAP_PX * 0.58, _safe(group.label, longest=_MAX_HEADING), va="center", color=_QUIET
        )
        top += _GROUP_GAP_PX
        for bar in group.bars:
            places.append(top + _BAR_PX / 2)
            axes.barh(places[-1], bar.value, height=_BAR_PX * 0.72, color=_series_colour(bar.series))
            _value_text(axes, bar.value, places[-1], bar.text)
            top += _BAR_PX
    axes.set_ylim(height_px, 0)
    axes.set_xlim(0, max((bar.value for group in chart.groups for bar in group.bars), default=1.0) or 1.0)
    _finish_rows(axes, labels, places, chart.text.axis)
    return figure


def _draw_curves(chart: CurveChart) -> "Figure":
    figure, axes = _canvas(_CURVE_HEIGHT_PX, left_px=46, right_px=_RIGHT_PX)
    for curve in chart.curves:
        axes.plot(
            [x for x, _ in curve.points],
            [y for _, y in curve.points],
            color=_series_colour(curve.series),
            linestyle=_DASHES[series_colour(curve.series) % len(_DASHES)],
            linewidth=2,
        )
    axes.set_ylim(0, 100)
    axes.set_xlim(left=0)
    axes.grid(visible=True, color=_GRID, linewidth=0.8)
    axes.set_ylabel(_safe(chart.y_axis), color=_QUIET)
    _finish(axes, chart.text.axis)
    return figure


def _draw_pairs(chart: PairChart) -> "Figure":
    labels = [pair.label for pair in chart.pairs]
    places = [_BAR_PX * (place + 0.5) for place in range(len(labels))]
    height_px = _BAR_PX * len(labels)
    panel_px = (WIDTH_PX - _left_px(labels)) / 2 - _PAIR_VALUE_PX
    figure, axes = _row_canvas(
        labels, height_px=height_px, value_px=panel_px + 2 * _PAIR_VALUE_PX - _RIGHT_PX
    )
    box = axes.get_position()
    other = figure.add_axes(
        (box.x1 + _PAIR_VALUE_PX / WIDTH_PX, box.y0, box.width, box.height), facecolor="none"
    )
    for place, pair in zip(places, chart.pairs, strict=True):
        for panel, value, text in ((axes, pair.left, pair.left_text), (other, pair.right, pair.right_text)):
            panel.barh(place, value, height=_BAR_PX * 0.72, color=_series_colour(pair.series))
            _value_text(panel, max(0.0, value), place, text)
    axes.set_xlim(0, chart.left_limit)
    other.set_xlim(*chart.right_limits)
    other.axvline(0, color=_QUIET, linewidth=1)
    for panel, names, title in (
        (axes, labels, chart.text.axis),
        (other, [""] * len(labels), chart.right_axis),
    ):
        panel.set_ylim(height_px, 0)
        _finish_rows(panel, names, places, title)
        panel.locator_params(axis="x", nbins=_PAIR_TICKS)
    return figure


def _draw_scatter(chart: ScatterChart) -> "Figure":
    figure, axes = _canvas(_SCATTER_HEIGHT_PX, left_px=58, right_px=_RIGHT_PX)
    if chart.limit is not None:
        axes.axhline(chart.limit, color=_QUIET, linewidth=1, linestyle=(0, (3, 2)), zorder=1)
    if chart.line:
        axes.plot(*zip(*chart.line, strict=True), color=_QUIET, linewidth=1.2, zorder=2)
    for point in chart.points:
        colour = _series_colour(point.series)
        axes.plot([point.x, point.x], [point.low, point.high], color=colour, linewidth=1.6, zorder=3)
        axes.plot(
            [point.x],
            [point.y],
            marker="o",
            markersize=7,
            color=colour,
            markerfacecolor=_SURFACE if point.is_hollow else colour,
            zorder=4,
        )
        axes.annotate(
            _safe(point.label),
            (point.x, point.y),
            xytext=(6, 6),
            textcoords="offset points",
            zorder=5,
            annotation_clip=False,
        )
    axes.margins(0.1)
    axes.grid(visible=True, color=_GRID, linewidth=0.8)
    axes.set_ylabel(_safe(chart.y_axis, longest=_MAX_HEADING), color=_QUIET)
    _finish(axes, chart.text.axis)
    return figure


def _row_canvas(labels: Sequence[str], *, height_px: float, value_px: float = 0) -> "tuple[Figure, Axes]":
    return _canvas(height_px, left_px=_left_px(labels), right_px=_RIGHT_PX + value_px)


def _left_px(labels: Sequence[str]) -> float:
    longest = max((len(_safe(label)) for label in labels), default=0)
    return longest * _CHARACTER_PX + 2 * _LABEL_GAP_PX


def _canvas(height_px: float, *, left_px: float, right_px: float) -> "tuple[Figure, Axes]":
    """Make a figure whose axes are `height_px` high; at 72 dots per inch a point is a CSS px of the SVG."""
    from matplotlib.figure import Figure

    total_px = height_px + _TOP_PX + _AXIS_PX
    figure = Figure(figsize=(WIDTH_PX / 72, total_px / 72), dpi=72, facecolor="none")
    width = (WIDTH_PX - left_px - right_px) / WIDTH_PX
    axes = figure.add_axes(
        (left_px / WIDTH_PX, _AXIS_PX / total_px, width, height_px / total_px), facecolor="none"
    )
    return figure, axes


def _finish_rows(axes: "Axes", labels: Sequence[str], places: Sequence[float], axis: str) -> None:
    axes.set_yticks(list(places), [_safe(label) for label in labels])
    axes.grid(visible=True, axis="x", color=_GRID, linewidth=0.8)
    _finish(axes, axis)
    axes.tick_params(axis="y", labelcolor=_INK, pad=_LABEL_GAP_PX)


def _finish(axes: "Axes", axis: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.tick_params(length=0, labelcolor=_QUIET)
    axes.set_xlabel(_safe(axis, longest=_MAX_HEADING), color=_QUIET, labelpad=6)


def _value_text(axes: "Axes", x: float, y: float, text: str) -> None:
    axes.annotate(
        _safe(text), (x, y), xytext=(5, 0), textcoords="offset points", va="center", annotation_clip=False
    )


def _padded_limits(chart: DotChart) -> tuple[float, float]:
    ends = [end for dot in chart.dots for end in (dot.low, dot.high)] + [chart.reference, *(chart.band or ())]
    room = (max(ends) - min(ends)) * 0.14 or 0.5
    return min(ends) - room, max(ends) + room


def _series_colour(series: int) -> str:
    return _SERIES[series_colour(series)]


def _safe(label: str, *, longest: int = _MAX_LABEL) -> str:
    """Make a label that fits: one line, printable, not longer than its place."""
    line = " ".join(printable(label).split())
    return line if len(line) <= longest else line[: longest - 1] + "\N{HORIZONTAL ELLIPSIS}"
