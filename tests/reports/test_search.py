"""The report's section on a search."""

import random
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.results import Results
from sottovoce.optimize.search.choose import choose, pareto_front
from sottovoce.optimize.search.report import SearchReport, Trial, TrialOutcome
from sottovoce.reports.charts.chart import ScatterChart
from sottovoce.reports.charts.svg import draw
from sottovoce.reports.formats.html import render_report
from sottovoce.reports.report import write_report
from sottovoce.reports.sections.search import search_section
from sottovoce.reports.view import build_view
from sottovoce.statistics.intervals import Interval

PAYLOAD = '"><script>alert(1)</script>{{ 7 * 7 }}\x00'
Save = Callable[[Results, tuple[ClipRow, ...], Path], Path]
KEY = "quantize.components.encoder.smooth_quant_alpha"


def build_trial(number: int, chance: random.Random, setting: object) -> Trial:
    speedup = chance.uniform(3.5, 5.0)
    divergence = 0.008 * speedup**2 / 16 * chance.uniform(0.7, 1.6)
    increase = 0.15 * divergence + chance.gauss(0, 0.001)
    is_pruned = number % 7 == 6
    outcome = TrialOutcome(
        speedup=speedup,
        flips=divergence,
        divergence=divergence,
        n_tokens=1000,
        size_bytes=75_000_000 + 100_000 * number,
        wer_increase=None
        if is_pruned
        else Interval(value=increase, low=increase - 0.006, high=increase + 0.006),
        is_pruned=is_pruned,
    )
    return Trial(number=number, settings={KEY: str(setting)}, outcome=outcome)


def build_search(*, max_wer_increase: float = 0.002, setting: object = None) -> SearchReport:
    chance = random.Random(7)  # noqa: S311 - figures to draw
    trials = [build_trial(n, chance, setting or 0.5 + n / 50) for n in range(20)]
    trials.append(
        Trial(
            number=20,
            settings={KEY: "0.99"},
            outcome=TrialOutcome(failure="quantization destroyed the encoder"),
        )
    )
    chosen = choose(trials, max_wer_increase)
    assert chosen is not None
    return SearchReport(
        recipe="search",
        max_wer_increase=max_wer_increase,
        spent_s=1800.0,
        n_recorded_clips=64,
        n_judge_clips=46,
        n_confirm_clips=93,
        baseline_wer=0.055,
        wer_per_nat=0.15,
        trials=tuple(trials),
        front=tuple(trial.number for trial in pareto_front(trials)),
        chosen=chosen.number,
        is_within_budget=max_wer_increase > 0,
    )


@pytest.fixture
def searched(results: Results) -> Results:
    return results.model_copy(update={"search": build_search()})


def test_results_of_no_search_have_no_section(results: Results, rows: tuple[ClipRow, ...]) -> None:
    assert search_section(results) is None
    assert "<h2>Search</h2>" not in render_report(build_view(results, rows))


def test_the_choice_the_trials_and_the_charts_are_on_the_page(
    searched: Results, rows: tuple[ClipRow, ...]
) -> None:
    page = " ".join(render_report(build_view(searched, rows)).split())
    report = searched.search
    assert report is not None
    assert "<h2>Search</h2>" in page
    assert "21 trials in 30 min" in page
    assert f"Trial {report.chosen} was chosen" in page
    assert f"{report.chosen}, chosen" in page
    assert "quantization destroyed the encoder" in page
    assert "Speed against divergence from fp32" in page
    assert "given up after a quarter of the clips" in page


def test_a_missed_budget_is_stated(results: Results) -> None:
    view = search_section(results.model_copy(update={"search": build_search(max_wer_increase=0.0)}))
    assert view is not None
    assert "none is within 0.0 points of WER" in str(view.opening)


def test_the_charts_draw_every_trial_that_was_measured(searched: Results) -> None:
    view = search_section(searched)
    assert view is not None
    for chart, n_points in zip(view.charts, (20, 18), strict=True):
        drawing = draw(chart)
        root = ET.fromstring(drawing)  # noqa: S314 - our own drawing
        assert root.find("{http://www.w3.org/2000/svg}title") is not None
        assert isinstance(chart, ScatterChart)
        assert len(chart.points) == n_points
        assert drawing == draw(chart)


def test_settings_are_inert_on_the_page(
    results: Results, rows: tuple[ClipRow, ...], save: Save, tmp_path: Path
) -> None:
    hostile = results.model_copy(update={"search": build_search(setting=PAYLOAD)})
    report = tmp_path / "report.html"
    write_report(save(hostile, rows, tmp_path / "results"), report, force=False)
    page = report.read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page
    assert "{{ 7 * 7 }}" in page or "{{" not in page
