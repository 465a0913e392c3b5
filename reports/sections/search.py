"""The search: its trials, those that no other beats, and the reason of the choice."""

from collections.abc import Iterator

from sottovoce.benchmark.schema.results import Results
from sottovoce.optimize.search.report import SearchReport, Trial, describe_settings
from sottovoce.reports.charts.chart import ChartText, Point, ScatterChart
from sottovoce.reports.sections import Section
from sottovoce.reports.text.tables import (
    Cell,
    Column,
    Row,
    Table,
    flat_table,
    interval_cell,
    make_row,
    optional,
)
from sottovoce.reports.text.units import NOT_MEASURED, count, duration, fixed, megabytes, signed_points
from sottovoce.statistics.intervals import Interval

MNAT_PER_NAT = 1e3
N_TRIALS_SHOWN = 40

OTHERS, FRONT, CHOSEN = 0, 1, 2
KINDS = ((CHOSEN, "Chosen"), (FRONT, "No trial beats it"), (OTHERS, "Others"))


def search_section(results: Results) -> Section | None:
    """Format a search; None if the run comes from none."""
    report = results.search
    if report is None:
        return None
    return Section(
        heading="Search",
        opening=describe_search(report),
        charts=(_divergence_chart(report), _wer_chart(report)),
        tables=(trials_table(report, n_shown=N_TRIALS_SHOWN),),
    )


def describe_search(report: SearchReport) -> str:
    """Describe the search and its choice in two sentences."""
    best = report.best
    budget = f"{fixed(100 * report.max_wer_increase, 1)} points of WER"
    verdict = f"within {budget}" if report.is_within_budget else f"none is within {budget}"
    changed = describe_settings(best.settings, report.trials[0].settings)
    return (
        f"{count(len(report.trials), 'trial')} in {duration(report.spent_s)}; {verdict}. "
        f"Trial {best.number} was chosen ({changed}): {fixed(best.outcome.speedup or 0.0, 2)} times the baseline."
    )


def trials_table(report: SearchReport, *, n_shown: int) -> Table:
    """List the chosen trial, those that no other beats, then the fastest of the others."""
    ranked = sorted(report.trials, key=lambda trial: (-_kind(report, trial), -(trial.outcome.speedup or 0.0)))
    n_left = len(ranked) - n_shown
    return flat_table(
        "Trials",
        "Trial",
        (
            Column("Speed-up"),
            Column("Top-1 disagreement", "%"),
            Column("KL divergence", "mnat"),
            Column("WER increase", "points"),
            Column("Size", "MB"),
            Column("Settings that differ", is_numeric=False),
        ),
        (_row(report, trial) for trial in ranked[:n_shown]),
        notes=(*([f"{n_left} more in search.json."] if n_left > 0 else []), *_notes(report)),
    )


def _kind(report: SearchReport, trial: Trial) -> int:
    if trial.number == report.chosen:
        return CHOSEN
    return FRONT if trial.number in report.front else OTHERS


def _row(report: SearchReport, trial: Trial) -> Row:
    outcome = trial.outcome
    kind = {CHOSEN: f"{trial.number}, chosen", FRONT: f"{trial.number}, not beaten"}
    settings = describe_settings(trial.settings, report.trials[0].settings)
    return make_row(
        kind.get(_kind(report, trial), str(trial.number)),
        "failed" if outcome.failure is not None else _figure(outcome.speedup, 1, 2),
        _figure(outcome.flips, 100, 2),
        _figure(outcome.divergence, MNAT_PER_NAT, 1),
        "given up" if outcome.is_pruned else interval_cell(outcome.wer_increase, signed_points),
        optional(outcome.size_bytes, megabytes),
        Cell(settings, outcome.failure),
    )


def _figure(value: float | None, scale: float, digits: int) -> str:
    return NOT_MEASURED if value is None else fixed(scale * value, digits)


def _notes(report: SearchReport) -> Iterator[str]:
    yield (
        f"Tokens were compared on {count(report.n_judge_clips, 'clip')} and word errors counted on "
        f"{report.n_confirm_clips}, none of them of the evaluation split; fp32 has {fixed(100 * report.baseline_wer, 2)} % WER there."
    )
    yield "Hollow circles in the chart: trials given up after a quarter of the clips."
    if report.wer_per_nat is not None:
        yield (
            f"Over all trials a thousandth of a nat costs {fixed(100 * report.wer_per_nat / MNAT_PER_NAT, 3)} points of WER; a trial is "
            "within the budget where both this estimate and its own count are."
        )
    yield "Of trials within 5 % of the fastest, the one that diverges least is chosen."


def _label(report: SearchReport, trial: Trial) -> str:
    return "" if _kind(report, trial) == OTHERS else str(trial.number)


def _divergence_chart(report: SearchReport) -> ScatterChart:
    measured = [
        (trial, MNAT_PER_NAT * trial.outcome.divergence)
        for trial in report.trials
        if trial.outcome.divergence is not None
    ]
    front = [(trial.outcome.speedup or 0.0, y) for trial, y in measured if trial.number in report.front]
    return ScatterChart(
        text=ChartText(
            name="search-divergence",
            title="Speed against divergence from fp32",
            description=(
                f"{count(len(measured), 'trial')}; of {len(front)} no other is both faster and nearer to fp32. "
                f"Trial {report.chosen} was chosen."
            ),
            axis="Speed-up over fp32 (right is better)",
        ),
        y_axis="KL divergence, mnat a token",
        points=tuple(
            Point(
                x=trial.outcome.speedup or 0.0,
                y=y,
                low=y,
                high=y,
                label=_label(report, trial),
                series=_kind(report, trial),
                is_hollow=trial.outcome.is_pruned,
            )
            for trial, y in measured
        ),
        line=tuple(sorted(front)),
        kinds=KINDS,
    )


def _wer_chart(report: SearchReport) -> ScatterChart:
    counted = [
        (trial, trial.outcome.wer_increase)
        for trial in report.trials
        if trial.outcome.wer_increase is not None
    ]
    return ScatterChart(
        text=ChartText(
            name="search-wer",
            title="Speed against word errors on held-back clips",
            description=(
                f"WER increase of {count(len(counted), 'trial')} over fp32, with 95 % intervals of those that no other "
                f"beats; the dashed line is the budget of {fixed(100 * report.max_wer_increase, 1)} points."
            ),
            axis="Speed-up over fp32 (right is better)",
        ),
        y_axis="WER increase, points",
        points=tuple(_wer_point(report, trial, increase) for trial, increase in counted),
        line=(),
        kinds=KINDS,
        limit=100 * report.max_wer_increase,
    )


def _wer_point(report: SearchReport, trial: Trial, increase: Interval) -> Point:
    is_other = _kind(report, trial) == OTHERS
    return Point(
        x=trial.outcome.speedup or 0.0,
        y=100 * increase.value,
        low=100 * (increase.value if is_other else increase.low),
        high=100 * (increase.value if is_other else increase.high),
        label=_label(report, trial),
        series=_kind(report, trial),
    )
