"""The canvas of every chart: sizes, colours, axes, labels that fit.

A chart is drawn for a column about 384 CSS px wide, so that its labels stay readable on a phone. Colours
are CSS variables of the page, and follow its light or dark scheme.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sottovoce.reports.charts.chart import series_colour
from sottovoce.reports.text.units import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_PX = 384

INK, QUIET, GRID, BAND, SURFACE = "#1a1b1e", "#5b5d66", "#d9d7d1", "#e9e7e0", "#fcfbf9"
SERIES = ("#737984", "#0b62c4", "#b4540a", "#0b7a5e", "#8446ad", "#8a6d00")
PARTS = ("#123f52", "#1f6f83", "#4a9aa6", "#8cc3c6", "#a9a59a")
PAINTS = {
    INK: "currentColor",
    QUIET: f"var(--quiet, {QUIET})",
    GRID: f"var(--grid, {GRID})",
    BAND: f"var(--band, {BAND})",
    SURFACE: f"var(--surface, {SURFACE})",
    **{colour: f"var(--series-{index}, {colour})" for index, colour in enumerate(SERIES)},
    **{colour: f"var(--part-{index}, {colour})" for index, colour in enumerate(PARTS)},
}
_FONT_PX = 11.5
CHARACTER_PX = 6.6  # a wide character of the page's font at that size
_MAX_LABEL = 20
MAX_HEADING = 48
_LABEL_GAP_PX = 8
_TOP_PX = 8
_AXIS_PX = 44
RIGHT_PX = 16


@contextmanager
def drawing_settings(name: str) -> Iterator[None]:
    """Set Matplotlib so that the same chart gives the same bytes; `name` seeds its ids."""
    import matplotlib as mpl

    options = {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "font.family": ["DejaVu Sans"],  # comes with Matplotlib: the same measures on every machine
        "font.size": _FONT_PX,
        "text.color": INK,
        "text.parse_math": False,
        "axes.formatter.use_mathtext": False,
    }
    with mpl.rc_context(options), warnings.catch_warnings():
        # A label may hold characters that this font lacks; the browser's fonts draw them.
        warnings.filterwarnings("ignore", message="Glyph")
        yield


def row_canvas(labels: Sequence[str], *, height_px: float, value_px: float = 0) -> "tuple[Figure, Axes]":
    """Make a canvas with room for row labels on the left and for values on the right."""
    return canvas(height_px, left_px=left_px_of(labels), right_px=RIGHT_PX + value_px)


def left_px_of(labels: Sequence[str]) -> float:
    """Return the width of the row labels."""
    longest = max((len(safe_label(label)) for label in labels), default=0)
    return longest * CHARACTER_PX + 2 * _LABEL_GAP_PX


def canvas(height_px: float, *, left_px: float, right_px: float) -> "tuple[Figure, Axes]":
    """Make a figure whose axes are `height_px` high; at 72 dots per inch a point is a CSS px of the SVG."""
    from matplotlib.figure import Figure

    total_px = height_px + _TOP_PX + _AXIS_PX
    figure = Figure(figsize=(WIDTH_PX / 72, total_px / 72), dpi=72, facecolor="none")
    width = (WIDTH_PX - left_px - right_px) / WIDTH_PX
    axes = figure.add_axes(
        (left_px / WIDTH_PX, _AXIS_PX / total_px, width, height_px / total_px), facecolor="none"
    )
    return figure, axes


def finish_rows(axes: "Axes", labels: Sequence[str], ys: Sequence[float], axis: str) -> None:
    """Label the rows, and finish the axes."""
    axes.set_yticks(list(ys), [safe_label(label) for label in labels])
    axes.grid(visible=True, axis="x", color=GRID, linewidth=0.8)
    finish(axes, axis)
    axes.tick_params(axis="y", labelcolor=INK, pad=_LABEL_GAP_PX)


def finish(axes: "Axes", axis: str, *, is_whole: bool = False) -> None:
    """Name the x axis, and make the frame quiet; `is_whole` puts whole numbers on it."""
    from matplotlib.ticker import MaxNLocator

    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=is_whole))
    axes.tick_params(length=0, labelcolor=QUIET)
    axes.set_xlabel(safe_label(axis, longest=MAX_HEADING), color=QUIET, labelpad=6)


def value_text(axes: "Axes", x: float, y: float, text: str) -> None:
    """Write a figure beside the end of its bar."""
    axes.annotate(
        safe_label(text),
        (x, y),
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        annotation_clip=False,
    )


def paint_of(series: int) -> str:
    """Return the colour of a series, `#rrggbb`."""
    return SERIES[series_colour(series)]


def safe_label(label: str, *, longest: int = _MAX_LABEL) -> str:
    """Make a label one printable line of at most `longest` characters."""
    line = " ".join(printable(label).split())
    return line if len(line) <= longest else line[: longest - 1] + "\N{HORIZONTAL ELLIPSIS}"
