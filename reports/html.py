"""From the view to one self-contained page."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from sottovoce.reports.charts import (
    N_PARTS,
    Chart,
    CurveChart,
    PairChart,
    ScatterChart,
    StackChart,
    series_colour,
)
from sottovoce.reports.drawing import draw
from sottovoce.reports.units import printable
from sottovoce.reports.view import ReportView


def render_report(view: ReportView) -> str:
    """Render a report. The page has no script and asks nothing of any network."""
    return _environment().get_template("report.html.j2").render(view=view)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("sottovoce.reports", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_finalize,
    )
    environment.filters["svg"] = _draw_markup
    environment.filters["legend"] = legend
    return environment


def legend(chart: Chart) -> tuple[tuple[str, str], ...]:
    """Return (class of the swatch, label) for a chart whose labels do not stand at its marks."""
    match chart:
        case StackChart():
            return tuple((f"part-{place % N_PARTS}", name) for place, name in enumerate(chart.part_names))
        case CurveChart():
            return tuple((f"line-{series_colour(curve.series)}", curve.label) for curve in chart.curves)
        case PairChart() | ScatterChart():
            return tuple((f"bar-{series_colour(series)}", name) for series, name in chart.kinds)
        case _:
            return ()


def _draw_markup(chart: Chart) -> Markup:
    return Markup(draw(chart))  # noqa: S704 an element tree wrote it, and escaped every text in it


def _finalize(value: object) -> object:
    """Make every text that enters the page printable; markup passes as it is."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
