"""Draw a chart with Matplotlib, as an SVG element of a page: themed, described, with ids of its own."""

import io
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from sottovoce.reports.charts.canvas import PAINTS, drawing_settings
from sottovoce.reports.charts.chart import (
    Chart,
    CurveChart,
    ErrorBarChart,
    GroupedBarChart,
    PairedBarChart,
    ScatterChart,
    StackedBarChart,
)
from sottovoce.reports.charts.plane_charts import draw_curves, draw_scatter
from sottovoce.reports.charts.row_charts import (
    draw_error_bars,
    draw_grouped_bars,
    draw_paired_bars,
    draw_stacked_bars,
)
from sottovoce.reports.text.units import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SVG_NAMESPACE = "http://www.w3.org/2000/svg"
_LINK = "{http://www.w3.org/1999/xlink}href"
_SVG = f"{{{SVG_NAMESPACE}}}"
_DROPPED = (f"{_SVG}metadata", f"{_SVG}style")
_REFERENCE = re.compile(r"url\(#([^)]+)\)|^#(.+)$")
_FONT_FAMILY = re.compile(r"'DejaVu Sans'(, [^;]*)?")


def draw(chart: Chart) -> str:
    """Draw a chart as an SVG element. The same chart gives the same bytes."""
    with drawing_settings(chart.text.name):
        file = io.StringIO()
        _draw_figure(chart).savefig(file, format="svg", metadata={"Date": None})
    return _inline_svg(file.getvalue(), chart)


def _draw_figure(chart: Chart) -> "Figure":
    match chart:
        case ErrorBarChart():
            return draw_error_bars(chart)
        case StackedBarChart():
            return draw_stacked_bars(chart)
        case GroupedBarChart():
            return draw_grouped_bars(chart)
        case CurveChart():
            return draw_curves(chart)
        case PairedBarChart():
            return draw_paired_bars(chart)
        case ScatterChart():
            return draw_scatter(chart)


def _inline_svg(svg: str, chart: Chart) -> str:
    """Make Matplotlib's SVG file part of a page."""
    name = chart.text.name
    root = ET.fromstring(svg)  # noqa: S314 written by Matplotlib in this process
    for parent in list(root.iter()):
        for child in [child for child in parent if child.tag in _DROPPED]:
            parent.remove(child)
    _isolate_ids(root, name)
    _paint(root)
    _describe(root, name, title=printable(chart.text.title), description=printable(chart.text.description))
    ET.register_namespace("", SVG_NAMESPACE)
    return ET.tostring(root, encoding="unicode")


def _isolate_ids(root: ET.Element, name: str) -> None:
    """Drop the ids that nothing refers to, and give the others the chart's prefix."""
    for element in root.iter():
        if _LINK in element.attrib:
            element.set("href", element.attrib.pop(_LINK))
    values = [value for element in root.iter() for value in element.attrib.values()]
    used = {first or second for value in values for first, second in _REFERENCE.findall(value)}
    for element in root.iter():
        for key, value in list(element.attrib.items()):
            if key == "id" and value not in used:
                del element.attrib[key]
            elif key == "id":
                element.set(key, f"{name}-{value}")
            else:
                element.set(key, _REFERENCE.sub(lambda found: _renamed(found, name), value))


def _renamed(found: re.Match[str], name: str) -> str:
    clip, link = found.groups()
    return f"url(#{name}-{clip})" if clip else f"#{name}-{link}"


def _paint(root: ET.Element) -> None:
    """Replace fixed colours by the variables of the page, and the font by the page's."""
    for element in root.iter():
        style = element.get("style")
        if style is not None:
            for colour, paint in PAINTS.items():
                style = style.replace(colour, paint)
            element.set("style", _FONT_FAMILY.sub("var(--sans, sans-serif)", style))


def _describe(root: ET.Element, name: str, *, title: str, description: str) -> None:
    for index, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ET.Element(f"{_SVG}{tag}", {"id": f"{name}-{tag}"})
        element.text = text
        root.insert(index, element)
    for size in ("width", "height", "version"):
        root.attrib.pop(size, None)
    root.set("role", "img")
    root.set("aria-labelledby", f"{name}-title {name}-desc")
