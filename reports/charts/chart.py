"""Charts as data; `svg.py` draws them."""

from dataclasses import dataclass

N_SERIES = 6
"""Colours for variants, the baseline's first; more variants share them, and their labels set them apart."""
N_PARTS = 5
"""Shades for the parts of a stacked bar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartText:
    """The texts of a chart. `name` is unique on the page; `axis` has the unit."""

    name: str
    title: str
    description: str
    axis: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorBar:
    """A figure with its interval if there is one; `text` stands above it."""

    label: str
    value: float
    low: float
    high: float
    text: str
    series: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorBarChart:
    """Figures with intervals against the baseline's figure; `band` is the tolerated range."""

    text: ChartText
    error_bars: tuple[ErrorBar, ...]
    reference: float
    band: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StackedBar:
    """A bar made of parts, in the order of the chart's part names; `text` stands beside it."""

    label: str
    parts: tuple[float, ...]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StackedBarChart:
    """Totals and their parts."""

    text: ChartText
    part_names: tuple[str, ...]
    bars: tuple[StackedBar, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A figure; `text` stands beside its bar."""

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
class GroupedBarChart:
    """Grouped bars over one common scale."""

    text: ChartText
    groups: tuple[BarGroup, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A line through points (x, y); `marks` are points on it that stand out."""

    label: str
    points: tuple[tuple[float, float], ...]
    series: int
    marks: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveChart:
    """Lines over a common x; `y_axis` has the unit.

    Attributes:
        y_limit: end of the y axis; None fits it to the lines.
        is_whole: x takes whole numbers only.
    """

    text: ChartText
    y_axis: str
    curves: tuple[Curve, ...]
    y_limit: float | None = 100.0
    is_whole: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BarPair:
    """Two figures of one row, with the texts beside their bars."""

    label: str
    left: float
    left_text: str
    right: float
    right_text: str
    series: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedBarChart:
    """Two figures of each row side by side; `right_axis` has the unit of the second.

    `left_limit` and `right_limits` end the scales, so that charts can share them. `kinds` names the series.
    """

    text: ChartText
    right_axis: str
    pairs: tuple[BarPair, ...]
    kinds: tuple[tuple[int, str], ...]
    left_limit: float
    right_limits: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A point with an interval of its y if there is one; `label` stands beside it if it is not empty.

    Attributes:
        reach: interval of its x; None where there is none.
        has_shape: its shape shows its series, as its colour does.
    """

    x: float
    y: float
    low: float
    high: float
    label: str
    series: int
    is_hollow: bool = False
    reach: tuple[float, float] | None = None
    has_shape: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PointCloud:
    """Many small points (x, y) of one series."""

    points: tuple[tuple[float, float], ...]
    series: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScatterChart:
    """Points over a common x; `line` joins some; up to `limit` is within a budget. `kinds` names the series."""

    text: ChartText
    y_axis: str
    points: tuple[Point, ...]
    line: tuple[tuple[float, float], ...]
    kinds: tuple[tuple[int, str], ...]
    limit: float | None = None
    clouds: tuple[PointCloud, ...] = ()


Chart = ErrorBarChart | StackedBarChart | GroupedBarChart | CurveChart | PairedBarChart | ScatterChart


def series_colour(series: int) -> int:
    """Return the number of a series' colour: 0 is the baseline's alone, the others repeat."""
    return 0 if series == 0 else 1 + (series - 1) % (N_SERIES - 1)
