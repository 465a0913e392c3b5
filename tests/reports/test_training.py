"""The page of a training: what it gained, what it lost, its curves."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from sottovoce.errors import InputError
from sottovoce.reports.charts.chart import CurveChart
from sottovoce.reports.formats import ReportFormat
from sottovoce.reports.formats.html import render_training
from sottovoce.reports.report import make_report
from sottovoce.reports.text.units import MINUS
from sottovoce.reports.training.distil import distil_view
from sottovoce.reports.training.finetune import finetune_view
from sottovoce.reports.training.variant import heal_view, qat_view
from sottovoce.statistics.accuracy import WordErrors
from sottovoce.statistics.intervals import Interval
from sottovoce.train.accuracy import Accuracy
from sottovoce.train.distil.report import Comparison, DistilReport
from sottovoce.train.finetune.averaging import Average
from sottovoce.train.finetune.report import REPORT_NAME as FINETUNE_REPORT
from sottovoce.train.finetune.report import FinetuneReport, TermErrors
from sottovoce.train.loop import Evaluation
from sottovoce.train.variant.report import (
    HEAL_REPORT,
    QAT_REPORT,
    Figures,
    HealReport,
    HeldOutWords,
    QatReport,
    Trained,
)
from tests.support.pages import Page

HISTORY = (
    Evaluation(step=0, loss=None, held_out=2.0),
    Evaluation(step=50, loss=1.5, held_out=0.5),
    Evaluation(step=100, loss=0.4, held_out=0.6),
)


def heal_report() -> HealReport:
    return HealReport(
        variant="int8-fast",
        name="int8-fast-healed",
        kept=True,
        seed=0,
        n_padding_states=48,
        speech=("<b>mine</b>",),
        audio_s=900.0,
        n_clips=118,
        n_held_out_clips=32,
        n_steps=100,
        best_step=50,
        before=Figures(divergence=0.0028, top1_disagreement=0.006, start_divergence=0.0004),
        after=Figures(divergence=0.0014, top1_disagreement=0.004, start_divergence=0.0003),
        divergence_delta=Interval(value=-0.0014, low=-0.002, high=-0.001),
        start_delta=Interval(value=-0.0001, low=-0.0002, high=0.0001),
        words=HeldOutWords(
            n_clips=30,
            baseline=errors(50),
            before=errors(60),
            after=errors(55),
            delta=Interval(value=-0.005, low=-0.012, high=0.002),
        ),
        history=HISTORY,
    )


def errors(number: int) -> WordErrors:
    return WordErrors(substitutions=number, deletions=0, insertions=0, reference_words=1000)


def accuracy(speech: str, before: int, after: int, delta: Interval) -> Accuracy:
    return Accuracy(speech=speech, n_clips=48, before=errors(before), after=errors(after), delta=delta)


def finetune_report(*, forgetting: Interval) -> FinetuneReport:
    return FinetuneReport(
        model="whisper-tiny.en",
        kept=True,
        method="lora",
        n_trained_weights=638_976,
        seed=0,
        speech=("mine",),
        audio_s=1500.0,
        n_clips=337,
        n_copies=2,
        n_steps=100,
        best_step=50,
        share=0.6,
        averages=tuple(
            Average(share=tenth / 10, held_out=2.0 - tenth / 10, rehearsed=tenth / 50) for tenth in range(11)
        ),
        held_out=accuracy("mine", 500, 50, Interval(value=-0.45, low=-0.5, high=-0.4)),
        general=accuracy("others", 27, 83, forgetting),
        terms=TermErrors(n_terms=211, missed_before=201, missed_after=19),
        history=HISTORY,
    )


def distil_report(*, hours: float) -> DistilReport:
    def compared(speech: str, teacher: int, student: int) -> Comparison:
        found = accuracy(speech, teacher, student, WORSE)
        return Comparison(
            speech=speech,
            n_clips=found.n_clips,
            references="transcripts",
            teacher=found.before,
            student=found.after,
            delta=found.delta,
        )

    return DistilReport(
        model="whisper-base",
        layers=(0, 5),
        n_layers=6,
        n_weights=60_000_000,
        n_teacher_weights=72_000_000,
        n_trained_weights=8_000_000,
        seed=0,
        speech=("<b>mine</b>",),
        audio_s=3600 * hours,
        n_clips=300,
        n_left_out=20,
        n_copies=2,
        n_steps=100,
        best_step=50,
        held_out=compared("mine", 50, 106),
        general=compared("others", 27, 83),
        history=HISTORY,
    )


WORSE = Interval(value=0.056, low=0.03, high=0.08)
UNCLEAR = Interval(value=0.001, low=-0.002, high=0.004)


def test_the_page_of_a_healed_variant_says_what_it_gained() -> None:
    view = heal_view(heal_report())
    assert view.headline == f"{MINUS}50 % of the divergence from fp32"
    assert [(each.label, each.value, each.others) for each in view.figures] == [
        ("divergence", "1.40", ("before 2.80",)),
        ("WER of held-out speakers", "5.5", ("before 6.0",)),
        ("top-1 disagreement", "0.40", ("before 0.60",)),
        ("divergence at the start", "0.30", ("before 0.40",)),
    ]
    assert view.proof[1:] == (
        f"Difference {MINUS}1.40 ({MINUS}2.00 to {MINUS}1.00) mnat.",
        "WER on 30 clips of them: fp32 5.0 %, before 6.0 %, after 5.5 %.",
        f"Difference {MINUS}0.50 points ({MINUS}1.2 to +0.20).",
    )


def test_without_transcripts_the_page_of_a_healed_variant_says_so() -> None:
    view = heal_view(heal_report().model_copy(update={"words": None}))
    assert view.proof[2:] == ("No held-out clip has a transcript, so word errors were not counted.",)
    assert "WER of held-out speakers" not in {each.label for each in view.figures}


def test_the_page_of_a_trained_graph_says_what_was_trained() -> None:
    report = QatReport(
        trained=Trained.RANGES,
        n_parameters=51_234,
        learning_rate=0.01,
        **heal_report().model_dump(exclude={"n_padding_states"}),
    )
    view = qat_view(report)
    assert view.setting == "sottovoce qat of int8-fast"
    facts = {fact.label: fact.value for fact in view.facts}
    assert facts["Trained"] == "ranges, biases, LayerNorms, and padding states if there are any"
    assert facts["Numbers"] == "0.05 million"
    assert view.source == QAT_REPORT


def test_forgetting_beyond_chance_is_the_first_thing_on_the_page() -> None:
    assert finetune_view(finetune_report(forgetting=UNCLEAR)).notices == ()
    view = finetune_view(finetune_report(forgetting=WORSE))
    assert view.tone == "bad"
    assert view.headline == f"{MINUS}90 % of the domain's word errors; other speech +5.6 points"
    (notice,) = view.notices
    assert notice.is_loud
    assert notice.text.startswith("WER on others rose by +5.6 points")


def test_a_student_of_little_speech_says_how_much_is_needed() -> None:
    view = distil_view(distil_report(hours=1.0))
    assert view.headline == "+5.6 points of word errors on held-out speakers, other speech +5.6"
    (notice,) = view.notices
    assert notice.is_loud
    assert "learnt from 60 min" in notice.text
    assert "needs 1000 hours and more" in notice.text
    assert distil_view(distil_report(hours=2000.0)).notices == ()


@pytest.mark.parametrize(
    ("text", "n_charts"),
    [
        (render_training(heal_view(heal_report())), 2),
        (render_training(finetune_view(finetune_report(forgetting=WORSE))), 2),
        (render_training(distil_view(distil_report(hours=1.0))), 1),
    ],
    ids=["heal", "finetune", "distil"],
)
def test_pages_are_well_formed_and_load_nothing(text: str, n_charts: int) -> None:
    page = Page(text)
    assert page.open == []
    charts = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    assert len(charts) == n_charts
    for chart in charts:
        ET.fromstring(chart)  # noqa: S314 our own
    assert not any(page.has(tag) for tag in ("script", "link", "img", "iframe"))
    assert "<b>mine</b>" not in text


def test_the_curve_marks_the_step_that_was_kept() -> None:
    chart = heal_view(heal_report()).sections[0].charts[0]
    assert isinstance(chart, CurveChart)
    (curve,) = chart.curves
    assert curve.points == ((0.0, 2000.0), (50.0, 500.0), (100.0, 600.0))
    assert curve.marks == ((50.0, 500.0),)


def test_a_folder_or_its_file_becomes_a_page(tmp_path: Path) -> None:
    (tmp_path / HEAL_REPORT).write_text(heal_report().model_dump_json(), encoding="utf-8")
    page = make_report(tmp_path, ReportFormat.HTML)
    assert "int8-fast-healed" in page
    assert make_report(tmp_path / HEAL_REPORT, ReportFormat.HTML) == page


def test_a_training_has_no_comment(tmp_path: Path) -> None:
    report = finetune_report(forgetting=UNCLEAR)
    (tmp_path / FINETUNE_REPORT).write_text(report.model_dump_json(), encoding="utf-8")
    with pytest.raises(InputError, match="holds a training, which has a page only; use --format html"):
        make_report(tmp_path, ReportFormat.MARKDOWN)


def test_a_damaged_file_names_the_way_out(tmp_path: Path) -> None:
    (tmp_path / HEAL_REPORT).write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="repeat `sottovoce heal` with --force"):
        make_report(tmp_path, ReportFormat.HTML)
