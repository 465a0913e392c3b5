import re
from xml.etree import ElementTree as ET

import pytest

from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.results import Results
from sottovoce.reports.charts.chart import Chart, ChartText, ErrorBar, ErrorBarChart, ScatterChart
from sottovoce.reports.charts.svg import draw
from sottovoce.reports.sections.figures import build_charts
from tests.support.detailed_results import build_detailed_sample

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>alert(1)</script>$x_1$\x00\n\u4f60"


@pytest.fixture(scope="module")
def charts(results: Results, rows: tuple[ClipRow, ...]) -> tuple[Chart, ...]:
    return build_charts(results, rows)


@pytest.fixture(scope="module")
def drawings(charts: tuple[Chart, ...]) -> tuple[str, ...]:
    return tuple(draw(chart) for chart in charts)


def relative_luminance(colour: str) -> float:
    """Return WCAG's relative luminance of `#rrggbb`."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def hostile_chart(label: str) -> ErrorBarChart:
    error_bar = ErrorBar(label=label, value=1.0, low=0.9, high=1.1, text=label, series=1)
    text = ChartText(name="hostile", title=label, description=label, axis=label)
    return ErrorBarChart(text=text, error_bars=(error_bar,), reference=1.0)


def test_charts_cover_speed_accuracy_size_stages_and_latency(charts: tuple[Chart, ...]) -> None:
    assert {chart.text.name for chart in charts} == {
        "trade",
        "wer",
        "latency",
        "latency-percentiles",
        "by-length",
        "call-time",
        "size",
    }


def test_a_screen_reader_gets_the_title_and_figures_of_a_chart(drawings: tuple[str, ...]) -> None:
    for drawing in drawings:
        root = ET.fromstring(drawing)  # noqa: S314 our own
        title, description = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
        assert title is not None
        assert description is not None
        assert root.get("role") == "img"
        assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
        assert "fp16" in "".join(description.itertext())


def test_charts_of_a_page_share_no_ids_and_refer_only_to_their_own(drawings: tuple[str, ...]) -> None:
    ids = [found for drawing in drawings for found in re.findall(r'\bid="([^"]+)"', drawing)]
    assert len(ids) == len(set(ids))
    for drawing in drawings:
        own = set(re.findall(r'\bid="([^"]+)"', drawing))
        assert set(re.findall(r"url\(#([^)]+)\)", drawing)) <= own
        assert set(re.findall(r'href="#([^"]+)"', drawing)) <= own


def test_charts_take_every_colour_from_the_page(drawings: tuple[str, ...]) -> None:
    for drawing in drawings:
        colours = re.findall(r"(?:fill|stroke): ([^;\"]+)", drawing)
        assert colours
        assert all(re.fullmatch(r"none|currentColor|var\(--[\w-]+, #\w{6}\)", colour) for colour in colours)
        assert "<style" not in drawing
        assert "<text" in drawing


def test_the_same_chart_gives_the_same_bytes(charts: tuple[Chart, ...], drawings: tuple[str, ...]) -> None:
    assert tuple(draw(chart) for chart in charts) == drawings


def test_hostile_labels_are_inert_in_a_chart() -> None:
    drawing = draw(hostile_chart(HOSTILE))
    tags = {element.tag for element in ET.fromstring(drawing).iter()}  # noqa: S314 our own
    assert f"{SVG}script" not in tags
    assert "\x00" not in drawing
    assert "&lt;script&gt;" in drawing


def test_a_dollar_sign_in_a_label_is_no_formula() -> None:
    assert ">a$x_1$b</text>" in draw(hostile_chart("a$x_1$b"))


def test_results_without_comparisons_still_have_charts(results: Results, rows: tuple[ClipRow, ...]) -> None:
    alone = results.model_copy(update={"variants": results.variants[:1], "comparisons": ()})
    assert build_charts(alone, rows)[0].text.name == "wer"


def test_text_is_readable_in_light_and_dark() -> None:
    css = _css()
    light, dark = css.split("@media screen and (prefers-color-scheme: dark)")
    for scheme in (light.split("}", 1)[0], dark.split("}", 1)[0]):
        colours = dict(re.findall(r"--(surface|ink|quiet|good|bad|open): (#\w{6})", scheme))
        surface = relative_luminance(colours.pop("surface"))
        assert len(colours) == 5
        for colour in colours.values():
            low, high = sorted((surface, relative_luminance(colour)))
            assert (high + 0.05) / (low + 0.05) >= 4.5


def _css() -> str:
    from importlib.resources import files

    return files("sottovoce.reports").joinpath("templates", "report.css").read_text(encoding="utf-8")


def test_a_part_that_was_not_timed_is_not_among_the_speeds_by_length() -> None:
    sample = build_detailed_sample()
    timed = drawn(sample.results, sample.rows)
    untimed = tuple(
        found.model_copy(
            update={"strata": tuple(part.model_copy(update={"speedup": None}) for part in found.strata)}
        )
        for found in sample.results.comparisons
    )
    bare = drawn(sample.results.model_copy(update={"comparisons": untimed}), sample.rows)
    assert len(timed.points) == 4
    assert bare.points == ()
    assert bare.clouds == timed.clouds


def drawn(results: Results, rows: tuple[ClipRow, ...]) -> ScatterChart:
    chart = next(chart for chart in build_charts(results, rows) if chart.text.name == "by-length")
    assert isinstance(chart, ScatterChart)
    return chart
