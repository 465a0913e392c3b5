"""The page of a fine-tuning: what `finetune` gained and lost, and its curves."""

from collections.abc import Iterator

from sottovoce import __version__
from sottovoce.reports.charts.chart import ChartText, Curve, CurveChart
from sottovoce.reports.sections import Section, present
from sottovoce.reports.sections.verdicts import Notice
from sottovoce.reports.text.tables import Column, Row, Table, flat_table, interval_cell, make_row
from sottovoce.reports.text.units import count, duration, fixed, percent, signed_points
from sottovoce.reports.training.view import (
    COMMON_TERMS,
    HELD_OUT,
    HELD_OUT_TERM,
    TRAINED,
    WORD_TERMS,
    TrainingView,
    before_after,
    change,
    curve_chart,
    facts_of,
    held_out_curve,
    loss_curve,
    step_facts,
)
from sottovoce.reports.view import KeyFigure
from sottovoce.train.accuracy import Accuracy
from sottovoce.train.finetune.report import REPORT_NAME, FinetuneReport


def finetune_view(report: FinetuneReport) -> TrainingView:
    """Format a fine-tuning for people."""
    held_out, general, terms = report.held_out, report.general, report.terms
    figures = [
        _wer_figure("word errors, held-out speakers", held_out),
        _wer_figure("word errors, other speech", general),
    ]
    if terms is not None:
        figures.append(
            before_after(
                "terms missed", f"of {terms.n_terms}", str(terms.missed_after), str(terms.missed_before)
            )
        )
    return TrainingView(
        model=f"{report.model}, fine-tuned",
        setting=f"sottovoce finetune, {report.method}",
        headline=f"{change(held_out.before.wer, held_out.after.wer)} of the domain's word errors; other speech {signed_points(general.delta.value)} points",
        tone="bad" if general.delta.low > 0 else "good",
        proof=(
            f"Held-out speakers, {count(held_out.n_clips, 'clip')}: {_describe(held_out)}.",
            f"Other speech, {count(general.n_clips, 'clip')}: {_describe(general)}.",
        ),
        notices=present(_forgetting(general)),
        figures=tuple(figures),
        sections=(
            Section(heading="Before and after", tables=(accuracy_table(report),)),
            _finetune_curves(report),
        ),
        facts=facts_of(_finetune_facts(report)),
        glossary=facts_of((COMMON_TERMS | WORD_TERMS).items()),
        source=REPORT_NAME,
        made_by=f"sottovoce {__version__}",
    )


def accuracy_table(report: FinetuneReport) -> Table:
    """Show the word errors and missed terms before and after a fine-tuning."""
    return flat_table(
        f"{report.model}, {report.method}: before and after",
        "",
        (Column("Clips"), Column("Before"), Column("After"), Column("Difference, points")),
        _accuracy_rows(report),
    )


def _accuracy_rows(report: FinetuneReport) -> Iterator[Row]:
    yield _accuracy_row("WER, held-out speakers", report.held_out)
    yield _accuracy_row(f"WER, other speech ({report.general.speech})", report.general)
    if report.terms is not None:
        terms = report.terms
        yield make_row(
            f"Terms missed, of {terms.n_terms}",
            str(report.held_out.n_clips),
            str(terms.missed_before),
            str(terms.missed_after),
            "",
        )


def _accuracy_row(label: str, found: Accuracy) -> Row:
    return make_row(
        label,
        str(found.n_clips),
        fixed(100 * found.before.wer),
        fixed(100 * found.after.wer),
        interval_cell(found.delta, signed_points),
        unit="%",
    )


def _describe(found: Accuracy) -> str:
    before, after = percent(found.before.wer), percent(found.after.wer)
    delta = interval_cell(found.delta, signed_points)
    return f"WER {before} to {after} %, difference {delta.text} points ({delta.note})"


def _wer_figure(label: str, found: Accuracy) -> KeyFigure:
    return before_after(label, "%", percent(found.after.wer), percent(found.before.wer))


def _forgetting(general: Accuracy) -> Notice | None:
    if general.delta.low <= 0:
        return None
    return Notice(
        title="Other speech got worse",
        text=f"WER on {general.speech} rose by {signed_points(general.delta.value)} points; give ordinary speech with --rehearse.",
        is_loud=True,
    )


def _finetune_curves(report: FinetuneReport) -> Section:
    history = report.history
    curves = (loss_curve(history, 1.0), held_out_curve(history, report.best_step, 1.0))
    chart = curve_chart("loss", "Loss over the training", "nats a token", curves)
    return Section(
        heading="Curves",
        charts=present(chart, _averaging_chart(report)),
        notes=(
            "The marks are at what was kept: the best step and, after averaging, the share of the trained weights.",
        ),
    )


def _averaging_chart(report: FinetuneReport) -> CurveChart | None:
    """Draw the losses of weights between the checkpoint's and the trained ones; None where nothing was averaged."""
    averages = report.averages
    if not averages:
        return None
    percents = [100 * each.share for each in averages]
    curves = tuple(
        Curve(
            label=label,
            points=tuple(zip(percents, values, strict=True)),
            series=series,
            marks=tuple(
                (at, value)
                for at, value, each in zip(percents, values, averages, strict=True)
                if each.share == report.share
            ),
        )
        for label, series, values in (
            ("Rehearsed speech", TRAINED, [each.rehearsed for each in averages]),
            (HELD_OUT_TERM, HELD_OUT, [each.held_out for each in averages]),
        )
    )
    text = ChartText(
        name="training-averaging",
        title="Loss of averaged weights",
        description=f"The model has {100 * report.share:.0f} % of the trained weights, and the checkpoint's for the rest.",
        axis="Share of the trained weights, %",
    )
    return CurveChart(text=text, y_axis="nats a token", curves=curves, y_limit=None)


def _finetune_facts(report: FinetuneReport) -> Iterator[tuple[str, str]]:
    yield (
        "Speech",
        f"{' + '.join(report.speech)}, {count(report.n_clips, 'clip')}, {duration(report.audio_s)}",
    )
    yield "Copies of each clip", str(report.n_copies)
    yield "Weights that changed", f"{report.n_trained_weights:,}"
    yield "Share of the trained weights", f"{100 * report.share:.0f} %"
    yield from step_facts(report)
