"""Live transcription in the report and in the terminal."""

from typing import Any

import pytest
from rich.console import Console

from sottovoce.benchmark.schema.live import (
    Delays,
    Invented,
    LivePass,
    LiveReport,
    LiveSystem,
    Timeline,
    TimelineWord,
)
from sottovoce.benchmark.schema.results import Results
from sottovoce.cli.tables import results_table
from sottovoce.reports.charts.chart import CurveChart, ScatterChart
from sottovoce.reports.formats.html import render_report
from sottovoce.reports.sections.live import live_section
from sottovoce.reports.view import build_view
from sottovoce.statistics.accuracy import WordErrors
from sottovoce.statistics.intervals import Interval
from tests.support.pages import Page
from tests.support.results import build_sample

OFFLINE = WordErrors(substitutions=4, deletions=0, insertions=0, reference_words=100)


def delays(p50: float) -> Delays:
    steps = tuple(p50 * number / 10 for number in range(21))
    return Delays(n=96, p50=p50, p90=1.8 * p50, p95=1.9 * p50, p99=1.98 * p50, quantiles=steps)


def one_pass(*, is_counted: bool, p50: float) -> LivePass:
    words = OFFLINE.model_copy(update={"deletions": 1})
    return LivePass(
        is_counted=is_counted,
        committed=delays(p50),
        shown=delays(p50 / 2),
        first_word=delays(p50 / 4),
        finalization=None,
        stream_laal_s=p50 + 0.3,
        max_backlog_s=0.25 if is_counted else 0.0,
        erasure=0.17,
        n_retracted=0,
        words=words,
        wer=words.wer,
        wer_delta=Interval(value=0.01, low=0.0, high=0.03),
    )


def system(method: str, p50: float) -> LiveSystem:
    return LiveSystem(
        name=f"int8, {method}",
        entry="int8",
        method=method,
        description=f"words are final by {method}",
        offline_words=OFFLINE,
        offline_wer=OFFLINE.wer,
        passes=(one_pass(is_counted=True, p50=p50), one_pass(is_counted=False, p50=p50 - 0.1)),
        cpu_share=0.24,
        peak_rss_bytes=412_000_000,
        memory_slope=2.5e6,
        without_speech=(
            Invented(sound="silence", audio_s=600.0, n_words=0, text="", cpu_share=0.008),
            Invented(sound="kitchen", audio_s=600.0, n_words=3, text="Thank you very", cpu_share=0.1),
        ),
    )


def results_with(**changes: Any) -> Results:
    report = LiveReport(
        frame_s=0.1,
        n_recordings=2,
        audio_s=340.0,
        n_words=100,
        n_timed=97,
        foreign_share=0.01,
        systems=(system("alignment", 0.8), system("window", 2.6)),
        timeline=Timeline(
            system="int8, alignment",
            recording="r0",
            words=(
                TimelineWord(text="good", end_s=1.0, shown_s=1.4, committed_s=1.9),
                TimelineWord(text="day", end_s=1.5, shown_s=1.8, committed_s=2.3),
            ),
        ),
    )
    return build_sample().results.model_copy(update={"live": report.model_copy(update=changes)})


def test_the_page_shows_delays_of_both_clocks_errors_and_cost() -> None:
    words = Page(render_report(build_view(results_with(), build_sample().rows))).words
    assert "Live transcription" in words
    assert "2 recordings (5.7 min) fed in frames of 0.1 s" in words
    assert "Word committed s 0.80 1.52 2.60 4.94" in words  # counted
    assert "Word committed s 0.70 1.33 2.50 4.75" in words  # not counted
    assert "Difference points +1.0 0 to +3.0" in words
    assert "Normalized erasure 0.17 0.17" in words
    assert "CPU in silence % of a core 0.80 0.80" in words
    assert "Peak memory MB 410 410" in words
    assert "Memory growth MB per hour 2.5 2.5" in words
    assert "kitchen 3 in 10 min 3 in 10 min" in words
    assert "97 of 100 words" in words


def test_the_charts_show_the_distribution_and_one_recording() -> None:
    section = live_section(results_with())
    assert section is not None
    curves, line = section.charts
    assert isinstance(curves, CurveChart)
    assert [curve.label for curve in curves.curves] == ["int8, alignment", "int8, window"]
    assert curves.curves[0].points[10] == pytest.approx((0.8, 50.0))
    assert "int8, alignment: half after 0.80 s, 95 % after 1.52 s" in curves.text.description
    assert isinstance(line, ScatterChart)
    shown, committed = line.clouds
    assert [at_s for at_s, _ in shown.points] == [1.0, 1.5]
    assert [delay_s for _, delay_s in shown.points] == pytest.approx([0.4, 0.3])
    assert [delay_s for _, delay_s in committed.points] == pytest.approx([0.9, 0.8])


def test_other_work_on_the_machine_voids_the_counted_delays() -> None:
    section = live_section(results_with(foreign_share=0.31))
    assert section is not None
    (warning,) = section.warnings
    assert warning.startswith("Other work took 31 % of the CPU time while computation was counted")
    quiet = live_section(results_with())
    assert quiet is not None
    assert quiet.warnings == ()


def test_nothing_is_said_without_live() -> None:
    assert live_section(build_sample().results) is None
    assert live_section(results_with(systems=(), timeline=None)) is None


def test_the_terminal_has_the_table() -> None:
    console = Console(width=100, record=True)
    console.print(results_table(results_with(), build_sample().rows))
    text = console.export_text()
    assert "Word committed, s" in text
    assert "0.80 (1.52)" in text
