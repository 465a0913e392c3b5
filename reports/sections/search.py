"""The report on a search: what was tried, what nothing beat, and why the variant is the one that it is."""

from collections.abc import Iterator
from dataclasses import dataclass

from sottovoce.benchmark.schema.results import Results
from sottovoce.optimize.search.report import SearchReport, Trial, describe_settings
from sottovoce.reports.charts.chart import Chart, ChartText, Point, ScatterChart
from sottovoce.reports.text.tables import Cell, Column, Group, Row, Table
from sottovoce.reports.text.units import NOT_MEASURED, count, duration, fixed, megabytes, signed_points
from sottovoce.statistics.intervals import Interval

MNAT_PER_NAT = 1e3
N_TRIALS_SHOWN = 40

OTHERS, FRONT, CHOSEN = 0, 1, 2
KINDS = ((CHOSEN, "Chosen"), (FRONT, "No trial beats it"), (OTHERS, "Others"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchView:
    """The section on a search, in the order in which it is read."""

    opening: str
    charts: tuple[Chart, ...]
    trials: Table
    notes: tuple[str, ...]


def search_view(results: Results) -> SearchView | None:
    """Format what a search found; None where the run comes from none."""
    report = results.search
    if report is None:
        return None
    return SearchView(
        opening=_describe(report),
        charts=(_divergence_chart(report), _wer_chart(report)),
        trials=_table(report),
        notes=tuple(_notes(report)),
    )


def _describe(report: SearchReport) -> str:
    best = report.best
    budget = f"{fixed(100 * report.max_wer_increase, 1)} points of WER"
    verdict = f"within {budget}" if report.is_within_budget else f"none is within {budget}"
    changed = describe_settings(best.settings, report.trials[0].settings)
    return (
        f"{count(len(report.trials), 'trial')} in {duration(report.spent_s)}; {verdict}. "
        f"Trial {best.number} was chosen ({changed}): {fixed(best.outcome.speedup or 0.0, 2)} times the baseline."
    )


def _kind(report: SearchReport, trial: Trial) -> int:
    if trial.number == report.chosen:
        return CHOSEN
    return FRONT if trial.number in report.front else OTHERS


def _label(report: SearchReport, trial: Trial) -> str:
    return "" if _kind(report, trial) == OTHERS else str(trial.number)


def _divergence_chart(report: SearchReport) -> ScatterChart:
    measured = [trial for trial in report.trials if trial.outcome.divergence is not None]
    points = [(trial, MNAT_PER_NAT * (trial.outcome.divergence or 0.0)) for trial in measured]
    front = [(trial.outcome.speedup or 0.0, y) for trial, y in points if trial.number in report.front]
    return ScatterChart(
        text=ChartText(
            name="search-divergence",
            title="Speed against divergence from fp32",
            description=(
                f"{count(len(points), 'trial')}; of {len(front)} no other is both faster and nearer to fp32. "
                f"Trial {report.chosen} was chosen."
            ),
            axis="Speed-up over fp32 (right is better)",
        ),
        y_axis="Divergence, mnat a token",
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
            for trial, y in points
        ),
        line=tuple(sorted(front)),
        kinds=KINDS,
    )


def _wer_chart(report: SearchReport) -> ScatterChart:
    counted = [trial for trial in report.trials if trial.outcome.wer_increase is not None]
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
        points=tuple(_wer_points(report, counted)),
        line=(),
        kinds=KINDS,
        limit=100 * report.max_wer_increase,
    )


def _wer_points(report: SearchReport, counted: list[Trial]) -> Iterator[Point]:
    for trial in counted:
        increase = trial.outcome.wer_increase or Interval(value=0.0, low=0.0, high=0.0)
        is_other = _kind(report, trial) == OTHERS
        yield Point(
            x=trial.outcome.speedup or 0.0,
            y=100 * increase.value,
            low=100 * (increase.value if is_other else increase.low),
            high=100 * (increase.value if is_other else increase.high),
            label=_label(report, trial),
            series=_kind(report, trial),
        )


def _table(report: SearchReport) -> Table:
    front = frozenset(report.front)
    ranked = sorted(
        report.trials,
        key=lambda t: (t.number != report.chosen, t.number not in front, -(t.outcome.speedup or 0.0)),
    )
    return Table(
        caption="Trials",
        corner="Trial",
        columns=COLUMNS,
        groups=(Group(label=None, rows=tuple(_row(report, trial) for trial in ranked[:N_TRIALS_SHOWN])),),
    )


COLUMNS = (
    Column(label="Speed-up"),
    Column(label="Flips", unit="%"),
    Column(label="Divergence", unit="mnat"),
    Column(label="WER increase", unit="points"),
    Column(label="Size"),
    Column(label="Settings that differ", is_numeric=False),
)


def _row(report: SearchReport, trial: Trial) -> Row:
    outcome = trial.outcome
    kind = {CHOSEN: f"{trial.number}, chosen", FRONT: f"{trial.number}, not beaten"}
    settings = describe_settings(trial.settings, report.trials[0].settings)
    return Row(
        label=kind.get(_kind(report, trial), str(trial.number)),
        cells=(
            _figure(outcome.speedup, 1, 2),
            _figure(outcome.flips, 100, 2),
            _figure(outcome.divergence, MNAT_PER_NAT, 1),
            _points(outcome.wer_increase),
            Cell(text=NOT_MEASURED if outcome.size_bytes is None else megabytes(outcome.size_bytes)),
            Cell(text=settings, note=outcome.failure),
        ),
    )


def _figure(value: float | None, scale: float, digits: int) -> Cell:
    return Cell(text=NOT_MEASURED if value is None else fixed(scale * value, digits))


def _points(interval: Interval | None) -> Cell:
    if interval is None:
        return Cell(text=NOT_MEASURED)
    ends = f"{signed_points(interval.low)} to {signed_points(interval.high)}"
    return Cell(text=signed_points(interval.value), note=ends)


def _notes(report: SearchReport) -> Iterator[str]:
    yield (
        f"Tokens were compared on {count(report.n_judge_clips, 'clip')} and word errors counted on "
        f"{report.n_confirm_clips}, none of them of the evaluation split; fp32 has {fixed(100 * report.baseline_wer, 2)} % WER there."
    )
    yield "A trial in a hollow circle was given up after a quarter of the clips."
    if report.wer_per_nat is not None:
        yield (
            f"Over all trials a thousandth of a nat costs {fixed(100 * report.wer_per_nat / MNAT_PER_NAT, 3)} points of WER; a trial is "
            "within the budget where both this estimate and its own count are."
        )
    yield "Of trials within 5 % of the fastest, the one that diverges least is chosen."
