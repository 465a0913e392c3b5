"""The page of a distillation: what a student has of its teacher, and its curves."""

from collections.abc import Iterator

from sottovoce import __version__
from sottovoce.reports.sections import Section
from sottovoce.reports.sections.verdicts import Notice
from sottovoce.reports.text.tables import Column, Row, Table, flat_table, interval_cell, make_row
from sottovoce.reports.text.units import count, duration, fixed, percent, signed_points
from sottovoce.reports.training.view import (
    COMMON_TERMS,
    WORD_TERMS,
    TrainingView,
    curve_chart,
    facts_of,
    held_out_curve,
    loss_curve,
    step_facts,
)
from sottovoce.reports.view import KeyFigure
from sottovoce.train.distil.report import ENOUGH_HOURS, REPORT_NAME, Comparison, DistilReport

HOUR_S = 3600.0


def distil_view(report: DistilReport) -> TrainingView:
    """Format a distillation for people."""
    held_out, general = report.held_out, report.general
    return TrainingView(
        model=f"student of {report.model}",
        setting=f"sottovoce distil, {len(report.layers)} of {report.n_layers} decoder layers",
        headline=f"{signed_points(held_out.delta.value)} points of word errors on held-out speakers, other speech "
        f"{signed_points(general.delta.value)}",
        tone="bad" if held_out.delta.low > 0 else "good",
        proof=(
            f"Held-out speakers, {count(held_out.n_clips, 'clip')}: {_describe(held_out)}.",
            f"Other speech, {count(general.n_clips, 'clip')}: {_describe(general)}.",
        ),
        notices=_little_speech(report),
        figures=(
            _wer_figure("word errors, held-out speakers", held_out),
            _wer_figure("word errors, other speech", general),
            KeyFigure(
                label="weights",
                value=f"{report.n_weights / 1e6:.0f}",
                unit="million",
                others=(f"teacher {report.n_teacher_weights / 1e6:.0f}",),
            ),
        ),
        sections=(
            Section(heading="Teacher and student", tables=(comparison_table(report),)),
            _curves(report),
        ),
        facts=facts_of(_facts(report)),
        glossary=facts_of((COMMON_TERMS | WORD_TERMS).items()),
        source=REPORT_NAME,
        made_by=f"sottovoce {__version__}",
    )


def comparison_table(report: DistilReport) -> Table:
    """Show the word errors of teacher and student."""
    return flat_table(
        f"{report.model} and its student of {len(report.layers)} decoder layers",
        "",
        (Column("Clips"), Column("Teacher"), Column("Student"), Column("Difference, points")),
        (
            _row("WER, held-out speakers", report.held_out),
            _row(f"WER, other speech ({report.general.speech})", report.general),
        ),
    )


def _row(label: str, found: Comparison) -> Row:
    return make_row(
        label,
        str(found.n_clips),
        fixed(100 * found.teacher.wer),
        fixed(100 * found.student.wer),
        interval_cell(found.delta, signed_points),
        unit="%",
    )


def _describe(found: Comparison) -> str:
    delta = interval_cell(found.delta, signed_points)
    return (
        f"WER {percent(found.teacher.wer)} (teacher) and {percent(found.student.wer)} % (student), difference {delta.text} points "
        f"({delta.note})"
    )


def _wer_figure(label: str, found: Comparison) -> KeyFigure:
    return KeyFigure(
        label=label,
        value=percent(found.student.wer),
        unit="%",
        others=(f"teacher {percent(found.teacher.wer)}",),
    )


def _little_speech(report: DistilReport) -> tuple[Notice, ...]:
    if report.audio_s >= ENOUGH_HOURS * HOUR_S:
        return ()
    text = (
        f"This student learnt from {duration(report.audio_s)}. With few of many layers, one of general use needs {ENOUGH_HOURS} hours and more: "
        "distil-whisper's, with 2 of 32, learnt from 21,000; one that learnt from an hour and a half had 76 % word errors, its teacher 17 %."
    )
    return (Notice(title="Little speech", text=text, is_loud=True),)


def _curves(report: DistilReport) -> Section:
    curves = (loss_curve(report.history, 1.0), held_out_curve(report.history, report.best_step, 1.0))
    return Section(
        heading="Curves",
        charts=(curve_chart("loss", "Loss over the training", "nats a token", curves),),
        notes=(
            "The mark is the step that was kept. The loss is 0.8 of the cross-entropy and the divergence from the teacher.",
        ),
    )


def _facts(report: DistilReport) -> Iterator[tuple[str, str]]:
    yield (
        "Speech",
        f"{' + '.join(report.speech)}, {count(report.n_clips, 'clip')}, {duration(report.audio_s)}",
    )
    yield "Clips left out", str(report.n_left_out)
    yield "Decoder layers", f"{', '.join(map(str, report.layers))} of {report.n_layers}"
    yield "Copies of each clip", str(report.n_copies)
    yield "Weights that changed", f"{report.n_trained_weights:,}"
    yield from step_facts(report)
