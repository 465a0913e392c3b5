"""Matplotlib turns a chart into SVG."""

import io
from typing import TYPE_CHECKING

from sottovoce.reports.charts.canvas import PAINTS, drawing_settings
from sottovoce.reports.charts.chart import (
    Chart,
    CurveChart,
    DotChart,
    GroupChart,
    PairChart,
    ScatterChart,
    StackChart,
)
from sottovoce.reports.charts.plane_charts import draw_curves, draw_scatter
from sottovoce.reports.charts.row_charts import draw_dots, draw_groups, draw_pairs, draw_stacks
from sottovoce.reports.charts.svg import inline_svg
from sottovoce.reports.text.units import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(chart: Chart) -> str:
    """Draw a chart as an SVG element. The same chart gives the same bytes."""
    with drawing_settings(chart.text.name):
        file = io.StringIO()
        _draw_figure(chart).savefig(file, format="svg", metadata={"Date": None})
    return inline_svg(
        file.getvalue(),
        name=chart.text.name,
        title=printable(chart.text.title),
        description=printable(chart.text.description),
        paints=PAINTS,
    )


def _draw_figure(chart: Chart) -> "Figure":
    match chart:
        case DotChart():
            return draw_dots(chart)
        case StackChart():
            return draw_stacks(chart)
        case GroupChart():
            return draw_groups(chart)
        case CurveChart():
            return draw_curves(chart)
        case PairChart():
            return draw_pairs(chart)
        case ScatterChart():
            return draw_scatter(chart)
