"""The report as one self-contained HTML page."""

import re
from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from sottovoce.reports.charts.chart import (
    N_PARTS,
    Chart,
    CurveChart,
    PairedBarChart,
    ScatterChart,
    StackedBarChart,
    series_colour,
)
from sottovoce.reports.charts.svg import draw
from sottovoce.reports.sections.facts import Fact
from sottovoce.reports.text.units import printable
from sottovoce.reports.training.view import TrainingView
from sottovoce.reports.view import ReportView


def render_report(view: ReportView) -> str:
    """Render a report. The page loads nothing from any network, and runs only its own script."""
    script = _script()
    return (
        _environment()
        .get_template("report.html.j2")
        .render(view=view, script=Markup(script), policy=Markup(content_policy(script)))  # noqa: S704 our own
    )


def render_training(view: TrainingView) -> str:
    """Render the page of a training. It loads nothing from any network, and runs no script."""
    template = _environment().get_template("training.html.j2")
    return template.render(view=view, policy=Markup(content_policy("")))  # noqa: S704 our own


def content_policy(script: str) -> str:
    """Write the content security policy of a page that holds one inline script, and audio in itself."""
    digest = b64encode(sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; media-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def _script() -> str:
    return files("sottovoce.reports").joinpath("templates", "report.js").read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("sottovoce.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_finalize,
    )
    environment.filters["svg"] = _draw_markup
    environment.filters["data_uri"] = _data_uri
    environment.filters["legend"] = legend
    environment.filters["explain"] = explain
    return environment


def legend(chart: Chart) -> tuple[tuple[str, str], ...]:
    """Return (class of the swatch, label) of each entry of a chart's legend; empty for a chart labelled in itself."""
    match chart:
        case StackedBarChart():
            return tuple((f"part-{index % N_PARTS}", name) for index, name in enumerate(chart.part_names))
        case CurveChart():
            return tuple((f"line-{series_colour(curve.series)}", curve.label) for curve in chart.curves)
        case ScatterChart(clouds=clouds) if clouds:
            return tuple((f"dot-{series_colour(series)}", name) for series, name in chart.kinds)
        case PairedBarChart() | ScatterChart():
            return tuple((f"bar-{series_colour(series)}", name) for series, name in chart.kinds)
        case _:
            return ()


def explain(label: str, glossary: Sequence[Fact]) -> Markup:
    """Mark the first term of the glossary in a label, the longest that fits, so that its explanation shows on hover."""
    safe = printable(label)
    for term in sorted(glossary, key=lambda fact: -len(fact.label)):
        found = re.search(rf"(?<!\w){re.escape(term.label)}(?!\w)", safe, flags=re.IGNORECASE)
        if found is not None:
            before, after = safe[: found.start()], safe[found.end() :]
            marked = Markup('<abbr title="{}">{}</abbr>').format(printable(term.value), found.group())
            return escape(before) + marked + escape(after)
    return escape(safe)


def _draw_markup(chart: Chart) -> Markup:
    return Markup(draw(chart))  # noqa: S704 an element tree wrote it, and escaped every text in it


def _data_uri(mp3: bytes) -> Markup:
    return Markup("data:audio/mpeg;base64," + b64encode(mp3).decode())  # noqa: S704 letters and digits


def _finalize(value: object) -> object:
    """Make every text that enters the page printable; markup passes as it is."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
