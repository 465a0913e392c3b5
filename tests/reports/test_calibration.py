"""The report's section on calibration."""

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.results import Results
from sottovoce.calibrate.audit import DoctorReport
from sottovoce.calibrate.convergence import InputExtremes, describe_convergence, measure_convergence
from sottovoce.calibrate.coverage import Finding, RecordedClip, Topic, find_gaps, summarize_coverage
from sottovoce.calibrate.leaks import Leaks, Pair
from sottovoce.reports.charts.chart import CurveChart, GroupedBarChart
from sottovoce.reports.charts.svg import draw
from sottovoce.reports.formats.html import render_report
from sottovoce.reports.report import write_report
from sottovoce.reports.sections.calibration import calibration_section, describe_audit
from sottovoce.reports.view import build_view
from sottovoce.terms import Component

PAYLOAD = '"><script>alert(1)</script>{{ 7 * 7 }}\x00'
Save = Callable[[Results, tuple[ClipRow, ...], Path], Path]


def recorded(name: str = "clip", language: str = "en") -> tuple[RecordedClip, ...]:
    return tuple(
        RecordedClip(
            clip_id=f"{name}-{i}",
            language=language,
            speaker=None,
            source=None,
            audio_s=2.0 + i,
            loudness_dbfs=-40.0 + 2 * i,
            snr_db=10.0 + 4 * i,
            n_steps=6 * i,
            audio_sha256="0" * 64,
            text_sha256=None,
        )
        for i in range(8)
    )


def build_report(name: str = "layers.3.fc2", language: str = "en") -> DoctorReport:
    highs = np.array([[1.0], [1.2], [1.0], [1.1], [1.1], [1.1], [1.0], [4.0]], dtype=np.float32)
    tensor = InputExtremes(
        name=name, operations=((name, "MatMul"),), lows=-highs, highs=highs, weight_maxima=()
    )
    convergence = tuple(
        measure_convergence([tensor], component, alpha=0.8, is_quantized=True)
        for component in (Component.ENCODER, Component.DECODER_WITH_PAST)
    )
    clips = recorded(language=language)
    pair = Pair(evaluation=name, calibration="clip-0")
    return DoctorReport(
        coverage=summarize_coverage(clips),
        convergence=convergence,
        leaks=Leaks(split="eval", n_clips=20, same_audio=(pair,), same_speaker=(), same_text=()),
        findings=(
            *find_gaps(clips, is_multilingual=True),
            *(finding for found in convergence for finding in describe_convergence(found)),
        ),
    )


@pytest.fixture
def examined(results: Results) -> Results:
    return results.model_copy(update={"doctor": build_report()})


def test_results_without_a_doctor_have_no_section(results: Results, rows: tuple[ClipRow, ...]) -> None:
    assert calibration_section(results) is None
    assert "<h2>Calibration</h2>" not in render_report(build_view(results, rows))


def test_a_record_of_few_transcripts_says_so() -> None:
    clips = recorded()
    few = (*clips[:2], *(clip.model_copy(update={"n_steps": None}) for clip in clips[2:]))
    for coverage, part in (
        (summarize_coverage(few), ", 2 of them transcribed;"),
        (summarize_coverage(clips), ";"),
    ):
        report = build_report().model_copy(update={"coverage": coverage})
        assert f"recorded (en 8; 0 known speakers){part}" in describe_audit(report)


def test_warnings_tables_and_charts_are_on_the_page(examined: Results, rows: tuple[ClipRow, ...]) -> None:
    page = render_report(build_view(examined, rows))
    words = " ".join(page.split())
    assert "<summary><h2>Calibration</h2></summary>" in page
    assert "<li>The model is multilingual and all 8 clips are en" in page
    assert (
        "encoder: ranges still changed by more than 5 % after 6 of 8 clips (last layers.3.fc2)"
        in words.replace("Encoder", "encoder")
    )
    for part in (
        "The recorded clips",
        "Ranges of activations that settled last",
        "Leaks of calibration into 20 clips of split eval",
    ):
        assert f"<caption>{part}" in page
    assert page.count("<svg") == 7 + 2


def test_charts_describe_their_figures(examined: Results) -> None:
    view = calibration_section(examined)
    assert view is not None
    coverage, convergence = view.charts
    assert isinstance(coverage, GroupedBarChart)
    assert isinstance(convergence, CurveChart)
    for chart, said in (
        (coverage, "Length, s: 0 to 3 1, 3 to 6 3"),
        (convergence, "Encoder: all after 8 of 8 clips"),
    ):
        root = ET.fromstring(draw(chart))  # noqa: S314 our own
        texts = {element.tag.rpartition("}")[2]: "".join(element.itertext()) for element in root[:2]}
        assert texts["title"] == chart.text.title
        assert said in texts["desc"]


def test_the_curves_are_those_that_were_measured(examined: Results) -> None:
    view = calibration_section(examined)
    assert view is not None
    assert examined.doctor is not None
    chart = view.charts[1]
    assert isinstance(chart, CurveChart)
    for curve, found in zip(chart.curves, examined.doctor.convergence, strict=True):
        assert curve.points[-1] == (8.0, 100.0)
        assert [y for _, y in curve.points] == [100 * point.settled_share for point in found.curve]


def test_bars_count_every_clip_once_in_each_group(examined: Results) -> None:
    view = calibration_section(examined)
    assert view is not None
    chart = view.charts[0]
    assert isinstance(chart, GroupedBarChart)
    assert [sum(bar.value for bar in group.bars) for group in chart.groups] == [8.0] * 5


def test_a_report_with_nothing_to_warn_of_says_so(examined: Results) -> None:
    assert examined.doctor is not None
    healthy = examined.model_copy(
        update={"doctor": examined.doctor.model_copy(update={"findings": (), "leaks": None})}
    )
    view = calibration_section(healthy)
    assert view is not None
    assert "nothing to warn of" in str(view.opening)
    assert len(view.tables) == 2


def test_hostile_names_are_inert(results: Results, rows: tuple[ClipRow, ...]) -> None:
    report = build_report(name=PAYLOAD, language=PAYLOAD)
    finding = Finding(topic=Topic.LEAK, text=PAYLOAD)
    hostile = results.model_copy(update={"doctor": report.model_copy(update={"findings": (finding,)})})
    page = render_report(build_view(hostile, rows))
    assert page.count("<script") == 1  # our own
    assert "\x00" not in page
    assert "&lt;script&gt;" in page
    assert "{{ 7 * 7 }}" in page


def test_results_with_a_doctor_survive_the_disk(
    examined: Results, rows: tuple[ClipRow, ...], save: Save, tmp_path: Path
) -> None:
    folder = save(examined, rows, tmp_path / "results")
    page = write_report(folder, tmp_path / "report.html", force=False).read_text(encoding="utf-8")
    assert page == render_report(build_view(examined, rows))
