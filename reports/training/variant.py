"""The page of a variant that `heal` or `qat` trained: what it gained, and its curves."""

from collections.abc import Iterator

from sottovoce import __version__
from sottovoce.reports.sections import Section
from sottovoce.reports.text.tables import Column, Row, Table, flat_table, interval_cell, make_row, span
from sottovoce.reports.text.units import MINUS, count, duration, fixed, percent, signed_points
from sottovoce.reports.training.view import (
    COMMON_TERMS,
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
from sottovoce.statistics.intervals import Interval
from sottovoce.train.variant.report import (
    HEAL_REPORT,
    QAT_REPORT,
    HealReport,
    QatReport,
    Trained,
    VariantReport,
)

MNAT_PER_NAT = 1e3

Facts = tuple[tuple[str, str], ...]

TRAINED = {
    Trained.ALL: "weights, ranges, biases, LayerNorms, and padding states if there are any",
    Trained.RANGES: "ranges, biases, LayerNorms, and padding states if there are any",
}

VARIANT_TERMS = {
    "Divergence": "KL divergence of the tokens' probabilities from those of the float32 baseline, on its own tokens.",
    "mnat": "A thousandth of a nat, the unit of divergence.",
    "Top-1 disagreement": "Share of the tokens where the variant's likeliest token is not the baseline's.",
}


def heal_view(report: HealReport) -> TrainingView:
    """Format a training of padding states for people."""
    return _view(report, "heal", (("Padding states", str(report.n_padding_states)),), HEAL_REPORT)


def qat_view(report: QatReport) -> TrainingView:
    """Format a training of quantized graphs for people."""
    facts = (
        ("Trained", TRAINED[report.trained]),
        ("Numbers", f"{report.n_parameters / 1e6:.2f} million"),
        ("Highest learning rate", f"{report.learning_rate:g} steps of a weight's quantizer"),
    )
    return _view(report, "qat", facts, QAT_REPORT)


def _view(report: VariantReport, command: str, facts: Facts, source: str) -> TrainingView:
    before, after = report.before, report.after
    old, new = (fixed(MNAT_PER_NAT * each.divergence) for each in (before, after))
    return TrainingView(
        model=report.name,
        setting=f"sottovoce {command} of {report.variant}",
        headline=f"{change(before.divergence, after.divergence)} of the divergence from fp32",
        tone="good" if report.divergence_delta.high < 0 else "open",
        proof=(
            f"{old} to {new} mnat a token on {count(report.n_held_out_clips, 'clip')} of speakers that did not train.",
            f"Difference {_mnat_interval(report.divergence_delta)} mnat.",
            *_words_of(report),
        ),
        notices=(),
        figures=(
            before_after("divergence", "mnat a token", new, old),
            *_word_figures(report),
            before_after(
                "top-1 disagreement", "%", percent(after.top1_disagreement), percent(before.top1_disagreement)
            ),
            before_after(
                "divergence at the start",
                "mnat",
                fixed(MNAT_PER_NAT * after.start_divergence),
                fixed(MNAT_PER_NAT * before.start_divergence),
            ),
        ),
        sections=(_curves(report),),
        facts=facts_of((*_speech_facts(report), *facts, *step_facts(report))),
        glossary=facts_of((COMMON_TERMS | VARIANT_TERMS | WORD_TERMS).items()),
        source=source,
        made_by=f"sottovoce {__version__}",
    )


def _word_figures(report: VariantReport) -> Iterator[KeyFigure]:
    words = report.words
    if words is not None:
        before, after = (percent(each.wer) for each in (words.before, words.after))
        yield before_after("WER of held-out speakers", "%", after, before)


def _words_of(report: VariantReport) -> tuple[str, ...]:
    """Describe the word errors of the held-out clips."""
    words = report.words
    if words is None:
        return ("No held-out clip has a transcript, so word errors were not counted.",)
    baseline, before, after = (percent(each.wer) for each in (words.baseline, words.before, words.after))
    delta = f"{signed_points(words.delta.value)} points ({span(words.delta, signed_points)})"
    return (
        f"WER on {count(words.n_clips, 'clip')} of them: fp32 {baseline} %, before {before} %, after {after} %.",
        f"Difference {delta}.",
    )


def variant_table(report: VariantReport) -> Table:
    """Show a variant before and after training, on the held-out clips."""
    before, after = report.before, report.after
    return flat_table(
        f"Against the baseline, {count(report.n_held_out_clips, 'clip')} of held-out speakers",
        "",
        (*map(Column, (report.variant, report.name)), Column("Difference")),
        (
            *_word_rows(report),
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


def _word_rows(report: VariantReport) -> Iterator[Row]:
    words = report.words
    if words is not None:
        yield make_row(
            f"WER (fp32: {fixed(100 * words.baseline.wer)} %)",
            fixed(100 * words.before.wer),
            fixed(100 * words.after.wer),
            interval_cell(words.delta, signed_points),
            unit="%",
        )


def _mnat_row(label: str, before: float, after: float, unit: str, delta: Interval) -> Row:
    difference = interval_cell(delta, _signed_mnat)
    return make_row(label, fixed(MNAT_PER_NAT * before), fixed(MNAT_PER_NAT * after), difference, unit=unit)


def _signed_mnat(nats: float) -> str:
    return f"{MNAT_PER_NAT * nats:+.2f}".replace("-", MINUS)


def _mnat_interval(delta: Interval) -> str:
    return f"{_signed_mnat(delta.value)} ({_signed_mnat(delta.low)} to {_signed_mnat(delta.high)})"


def _curves(report: VariantReport) -> Section:
    history = report.history
    return Section(
        heading="Curves",
        charts=(
            curve_chart(
                "held-out",
                "Divergence of held-out speakers",
                "mnat a token",
                (held_out_curve(history, report.best_step, MNAT_PER_NAT),),
            ),
            curve_chart("loss", "Loss of the clips that train", "loss", (loss_curve(history, 1.0),)),
        ),
        notes=(
            "The mark is the step that was kept.",
            "Both count the start-of-transcript token as one more; the loss also has the errors of the encoder's states.",
        ),
    )


def _speech_facts(report: VariantReport) -> Facts:
    clips = count(report.n_clips, "clip")
    return (("Speech", f"{' + '.join(report.speech)}, {clips}, {duration(report.audio_s)}"),)
