"""The page of a training: what `heal` or `finetune` gained and lost, and its curves."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from sottovoce import __version__
from sottovoce.reports.charts.chart import ChartText, Curve, CurveChart
from sottovoce.reports.sections import Section, present
from sottovoce.reports.sections.facts import Fact
from sottovoce.reports.sections.verdicts import Notice
from sottovoce.reports.text.tables import Column, Row, Table, flat_table, interval_cell, make_row
from sottovoce.reports.text.units import MINUS, count, duration, fixed, percent, signed_points
from sottovoce.reports.view import KeyFigure
from sottovoce.statistics.intervals import Interval
from sottovoce.storage.documents import read_document
from sottovoce.train.finetune.report import REPORT_NAME as FINETUNE_REPORT
from sottovoce.train.finetune.report import Accuracy, FinetuneReport
from sottovoce.train.loop import Evaluation
from sottovoce.train.report import REPORT_NAME as HEAL_REPORT
from sottovoce.train.report import HealReport

MNAT_PER_NAT = 1e3

TRAINED, HELD_OUT = 1, 2
"""Series of the curves."""

HELD_OUT_TERM = "Held-out speakers"
COMMON_TERMS = {
    HELD_OUT_TERM: "Speakers whose clips did not train: training is measured on them.",
    "Interval": "The figure lies in it with 95 % confidence, by resampling speakers or clips.",
}
HEAL_TERMS = {
    "Divergence": "KL divergence of the tokens' probabilities from those of the float32 baseline, on its own tokens.",
    "mnat": "A thousandth of a nat, the unit of divergence.",
    "Top-1 disagreement": "Share of the tokens where the variant's likeliest token is not the baseline's.",
}
FINETUNE_TERMS = {
    "WER": "Word error rate: (S + D + I) divided by the number of reference words, under Whisper's normalizer.",
    "Points": "A difference of two percentages: from 5 % to 6 % is one point.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingView:
    """The page of a training, in reading order; the fields of `ReportView` of the same names."""

    model: str
    setting: str
    headline: str
    tone: str
    proof: tuple[str, ...]
    notices: tuple[Notice, ...]
    figures: tuple[KeyFigure, ...]
    sections: tuple[Section, ...]
    facts: tuple[Fact, ...]
    glossary: tuple[Fact, ...]
    source: str
    made_by: str


def read_training(path: Path) -> TrainingView | None:
    """Read what `heal` or `finetune` left in a folder, or one of these files; None where there is nothing of them.

    Raises:
        InputError: the file is damaged.
    """
    heal, finetune = (path if path.name == name else path / name for name in (HEAL_REPORT, FINETUNE_REPORT))
    if heal.is_file():
        return heal_view(read_document(heal, HealReport, advice="repeat `sottovoce heal` with --force"))
    if finetune.is_file():
        advice = "repeat `sottovoce finetune` with --force"
        return finetune_view(read_document(finetune, FinetuneReport, advice=advice))
    return None


def heal_view(report: HealReport) -> TrainingView:
    """Format a training of padding states for people."""
    before, after = report.before, report.after
    old, new = (fixed(MNAT_PER_NAT * each.divergence) for each in (before, after))
    return TrainingView(
        model=report.name,
        setting=f"sottovoce heal of {report.variant}",
        headline=f"{_change(before.divergence, after.divergence)} of the divergence from fp32",
        tone="good" if report.divergence_delta.high < 0 else "open",
        proof=(
            f"{old} to {new} mnat a token on {count(report.n_held_out_clips, 'clip')} of speakers that did not train.",
            f"Difference {_mnat_interval(report.divergence_delta)} mnat.",
        ),
        notices=(),
        figures=(
            _figure("divergence", "mnat a token", new, old),
            _figure(
                "top-1 disagreement", "%", percent(after.top1_disagreement), percent(before.top1_disagreement)
            ),
            _figure(
                "divergence at the start",
                "mnat",
                fixed(MNAT_PER_NAT * after.start_divergence),
                fixed(MNAT_PER_NAT * before.start_divergence),
            ),
        ),
        sections=(_heal_curves(report),),
        facts=_facts(_heal_facts(report)),
        glossary=_facts((COMMON_TERMS | HEAL_TERMS).items()),
        source=HEAL_REPORT,
        made_by=f"sottovoce {__version__}",
    )


def finetune_view(report: FinetuneReport) -> TrainingView:
    """Format a fine-tuning for people."""
    held_out, general, terms = report.held_out, report.general, report.terms
    figures = [
        _wer_figure("word errors, held-out speakers", held_out),
        _wer_figure("word errors, other speech", general),
    ]
    if terms is not None:
        figures.append(
            _figure("terms missed", f"of {terms.n_terms}", str(terms.missed_after), str(terms.missed_before))
        )
    return TrainingView(
        model=f"{report.model}, fine-tuned",
        setting=f"sottovoce finetune, {report.method}",
        headline=f"{_change(held_out.before.wer, held_out.after.wer)} of the domain's word errors; other speech {signed_points(general.delta.value)} points",
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
        facts=_facts(_finetune_facts(report)),
        glossary=_facts((COMMON_TERMS | FINETUNE_TERMS).items()),
        source=FINETUNE_REPORT,
        made_by=f"sottovoce {__version__}",
    )


def heal_table(report: HealReport) -> Table:
    """Show a variant before and after training, on the held-out clips."""
    before, after = report.before, report.after
    return flat_table(
        f"Against the baseline, {count(report.n_held_out_clips, 'clip')} of held-out speakers",
        "",
        (*map(Column, (report.variant, report.name)), Column("Difference")),
        (
            _mnat_row(
                "Divergence", before.divergence, after.divergence, "mnat a token", report.divergence_delta
            ),
            make_row(
                "Top-1 disagreement",
                fixed(100 * before.top1_disagreement),
                fixed(100 * after.top1_disagreement),
                "",
                unit="%",
            ),
            _mnat_row(
                "Divergence at the start (language, no speech)",
                before.start_divergence,
                after.start_divergence,
                "mnat",
                report.start_delta,
            ),
        ),
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


def _mnat_row(label: str, before: float, after: float, unit: str, delta: Interval) -> Row:
    difference = interval_cell(delta, _signed_mnat)
    return make_row(label, fixed(MNAT_PER_NAT * before), fixed(MNAT_PER_NAT * after), difference, unit=unit)


def _signed_mnat(nats: float) -> str:
    return f"{MNAT_PER_NAT * nats:+.2f}".replace("-", MINUS)


def _mnat_interval(delta: Interval) -> str:
    return f"{_signed_mnat(delta.value)} ({_signed_mnat(delta.low)} to {_signed_mnat(delta.high)})"


def _change(before: float, after: float) -> str:
    return f"{signed_points(after / before - 1)} %" if before else fixed(after)


def _figure(label: str, unit: str, after: str, before: str) -> KeyFigure:
    return KeyFigure(label=label, value=after, unit=unit, others=(f"before {before}",))


def _describe(found: Accuracy) -> str:
    before, after = percent(found.before.wer), percent(found.after.wer)
    delta = interval_cell(found.delta, signed_points)
    return f"WER {before} to {after} %, difference {delta.text} points ({delta.note})"


def _wer_figure(label: str, found: Accuracy) -> KeyFigure:
    return _figure(label, "%", percent(found.after.wer), percent(found.before.wer))


def _forgetting(general: Accuracy) -> Notice | None:
    if general.delta.low <= 0:
        return None
    return Notice(
        title="Other speech got worse",
        text=f"WER on {general.speech} rose by {signed_points(general.delta.value)} points; give ordinary speech with --rehearse.",
        is_loud=True,
    )


def _heal_curves(report: HealReport) -> Section:
    history = report.history
    return Section(
        heading="Curves",
        charts=(
            _chart(
                "held-out",
                "Divergence of held-out speakers",
                "mnat a token",
                (_held_out_curve(history, report.best_step, MNAT_PER_NAT),),
            ),
            _chart("loss", "Loss of the clips that train", "loss", (_loss_curve(history, 1.0),)),
        ),
        notes=(
            "The mark is the step that was kept.",
            "Both count the start-of-transcript token as one more; the loss also has the errors of the encoder's states.",
        ),
    )


def _finetune_curves(report: FinetuneReport) -> Section:
    history = report.history
    curves = (_loss_curve(history, 1.0), _held_out_curve(history, report.best_step, 1.0))
    chart = _chart("loss", "Loss over the training", "nats a token", curves)
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


def _chart(name: str, title: str, y_axis: str, curves: Sequence[Curve]) -> CurveChart:
    ends = "; ".join(
        f"{curve.label}: {fixed(curve.points[0][1])} at first, {fixed(curve.points[-1][1])} at the end"
        for curve in curves
    )
    text = ChartText(name=f"training-{name}", title=title, description=f"{ends}.", axis="Steps")
    return CurveChart(text=text, y_axis=y_axis, curves=tuple(curves), y_limit=None, is_whole=True)


def _loss_curve(history: Sequence[Evaluation], scale: float) -> Curve:
    """Put the mean loss since the last evaluation in the middle of its steps."""
    points = tuple(
        ((last.step + each.step) / 2, scale * each.loss)
        for last, each in pairwise(history)
        if each.loss is not None
    )
    return Curve(label="Clips that train", points=points, series=TRAINED)


def _held_out_curve(history: Sequence[Evaluation], best_step: int, scale: float) -> Curve:
    points = tuple((float(each.step), scale * each.held_out) for each in history)
    marks = tuple(point for point in points if point[0] == best_step)
    return Curve(label=HELD_OUT_TERM, points=points, series=HELD_OUT, marks=marks)


def _heal_facts(report: HealReport) -> Iterator[tuple[str, str]]:
    yield (
        "Speech",
        f"{' + '.join(report.speech)}, {count(report.n_clips, 'clip')}, {duration(report.audio_s)}",
    )
    yield "Padding states", str(report.n_padding_states)
    yield from _steps(report)


def _finetune_facts(report: FinetuneReport) -> Iterator[tuple[str, str]]:
    yield (
        "Speech",
        f"{' + '.join(report.speech)}, {count(report.n_clips, 'clip')}, {duration(report.audio_s)}",
    )
    yield "Copies of each clip", str(report.n_copies)
    yield "Weights that changed", f"{report.n_trained_weights:,}"
    yield "Share of the trained weights", f"{100 * report.share:.0f} %"
    yield from _steps(report)


def _steps(report: HealReport | FinetuneReport) -> Iterator[tuple[str, str]]:
    yield "Steps", f"{report.best_step} kept, {report.n_steps} planned"
    yield "Seed", str(report.seed)


def _facts(found: Iterable[tuple[str, str]]) -> tuple[Fact, ...]:
    return tuple(Fact(label=label, value=value) for label, value in found)
