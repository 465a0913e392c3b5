"""The report on calibration: what was recorded, whether more would change it, what leaks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sottovoce.benchmark.schema.results import Results
from sottovoce.calibrate.audit import DoctorReport
from sottovoce.calibrate.convergence import INT8_LEVELS, TOLERANCE, Convergence
from sottovoce.calibrate.coverage import Coverage, Distribution
from sottovoce.calibrate.leaks import Leaks, Pair
from sottovoce.reports.charts.chart import Bar, BarGroup, Chart, ChartText, Curve, CurveChart, GroupChart
from sottovoce.reports.text.tables import Cell, Column, Group, Row, Table
from sottovoce.reports.text.units import count, duration, fixed
from sottovoce.terms import Component

COMPONENT_LABELS = {
    Component.ENCODER: "Encoder",
    Component.DECODER: "Decoder, first pass",
    Component.DECODER_WITH_PAST: "Decoder with past",
}
N_LANGUAGES_SHOWN = 8
N_RANGES_SHOWN = 5
"""Inputs that settled last, of each component."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationView:
    """The section on calibration, in the order in which it is read."""

    opening: str
    warnings: tuple[str, ...]
    coverage: Table
    ranges: Table
    leaks: Table | None
    charts: tuple[Chart, ...]
    notes: tuple[str, ...]


def calibration_view(results: Results) -> CalibrationView | None:
    """Format what the doctor found; None where the record has no report."""
    report = results.doctor
    if report is None:
        return None
    return CalibrationView(
        opening=_describe(report),
        warnings=tuple(f"{finding.text[:1].upper()}{finding.text[1:]}." for finding in report.findings),
        coverage=_coverage_table(report.coverage),
        ranges=_ranges_table(report.convergence),
        leaks=None if report.leaks is None else _leaks_table(report.leaks),
        charts=(_coverage_chart(report.coverage), _convergence_chart(report.convergence)),
        notes=(
            "SNR is an estimate from the levels of a clip's frames.",
            "A range is the mean over clips, SmoothQuant applied, of the smallest and of the largest value.",
            f"It has settled when neither end changes by more than {100 * TOLERANCE:g} % of its size any more.",
        ),
    )


def _describe(report: DoctorReport) -> str:
    coverage = report.coverage
    recorded = f"{count(coverage.n_clips, 'clip')}, {duration(coverage.audio_s)}, recorded"
    if not report.findings:
        return f"{recorded}; the doctor found nothing to warn of."
    return f"{recorded}; {count(len(report.findings), 'warning')}."


def _coverage_table(coverage: Coverage) -> Table:
    return Table(
        caption="The recorded clips",
        corner="Of a clip",
        columns=tuple(Column(label=label) for label in ("Least", "10 %", "Median", "90 %", "Most")),
        groups=(
            Group(
                label=None,
                rows=tuple(
                    Row(
                        label=label,
                        unit=found.unit,
                        cells=tuple(
                            Cell(text=fixed(value, 1))
                            for value in (found.minimum, found.p10, found.median, found.p90, found.maximum)
                        ),
                    )
                    for label, found in _quantities(coverage)
                ),
            ),
        ),
    )


def _quantities(coverage: Coverage) -> tuple[tuple[str, Distribution], ...]:
    return (
        ("Length", coverage.length),
        ("Loudness", coverage.loudness),
        ("SNR", coverage.snr),
        ("Decode steps", coverage.steps),
    )


def _ranges_table(components: Sequence[Convergence]) -> Table:
    """Put the inputs that settled last under each component."""
    return Table(
        caption="Ranges of activations that settled last",
        corner="Input of",
        columns=(
            Column(label="Low"),
            Column(label="High"),
            Column(label="Zero point", unit=f"of {INT8_LEVELS} levels"),
            Column(label="Settled after", unit="clips"),
        ),
        groups=tuple(
            Group(
                label=f"{COMPONENT_LABELS[found.component]}: {_verdict(found)}",
                rows=tuple(
                    Row(
                        label=one.name,
                        cells=(
                            Cell(text=fixed(one.low, 3)),
                            Cell(text=fixed(one.high, 3)),
                            Cell(text=fixed(one.zero_point, 1)),
                            Cell(text=f"{one.settled_at:,}"),
                        ),
                    )
                    for one in sorted(found.ranges, key=lambda one: -one.settled_at)[:N_RANGES_SHOWN]
                ),
            )
            for found in components
        ),
    )


def _verdict(found: Convergence) -> str:
    settled = f"settled after {found.settled_at:,} of {count(found.n_clips, 'clip')}"
    kind = "INT8 activations" if found.is_quantized else "activations stay float"
    return f"{kind}, {settled}, more clips {'change nothing' if found.converged else 'may change them'}"


def _leaks_table(leaks: Leaks) -> Table:
    kinds = (("Audio", leaks.same_audio), ("Text", leaks.same_text), ("Speaker", leaks.same_speaker))
    return Table(
        caption=f"What {count(leaks.n_clips, 'clip')} of split {leaks.split} share with calibration",
        corner="The same",
        columns=(Column(label="Clips"), Column(label="First pair", is_numeric=False)),
        groups=(
            Group(
                label=None,
                rows=tuple(
                    Row(label=label, cells=(Cell(text=f"{len(pairs):,}"), Cell(text=_first(pairs))))
                    for label, pairs in kinds
                ),
            ),
        ),
    )


def _first(pairs: Sequence[Pair]) -> str:
    return f"{pairs[0].evaluation} and {pairs[0].calibration}" if pairs else "none"


def _coverage_chart(coverage: Coverage) -> Chart:
    languages = list(coverage.languages.items())[:N_LANGUAGES_SHOWN]
    groups = (
        _bar_group("Language", languages),
        *(_bar_group(f"{label}, {found.unit}", _bins(found)) for label, found in _quantities(coverage)),
    )
    said = "; ".join(
        f"{group.label}: {', '.join(f'{bar.label} {bar.text}' for bar in group.bars)}" for group in groups
    )
    return GroupChart(
        text=ChartText(
            name="calibration-coverage",
            title="What was recorded",
            description=f"Number of recorded clips by language, length, loudness, SNR and decode steps. {said}.",
            axis="recorded clips",
        ),
        groups=groups,
    )


def _bar_group(label: str, counts: Iterable[tuple[str, int]]) -> BarGroup:
    bars = tuple(
        Bar(label=name, value=float(number), text=f"{number:,}", series=1) for name, number in counts
    )
    return BarGroup(label=label, bars=bars)


def _bins(found: Distribution) -> list[tuple[str, int]]:
    """Name each bin by its edges; the first and last hold what lies beyond."""
    ends = zip(found.edges, found.edges[1:], strict=False)
    names = [f"{fixed(low, 0)} to {fixed(high, 0)}" for low, high in ends]
    return list(zip(names, found.counts, strict=True))


def _convergence_chart(components: Sequence[Convergence]) -> Chart:
    curves = tuple(
        Curve(
            label=COMPONENT_LABELS[found.component],
            points=tuple((float(point.n_clips), 100 * point.settled_share) for point in found.curve),
            series=place,
        )
        for place, found in enumerate(components, start=1)
    )
    said = "; ".join(
        f"{COMPONENT_LABELS[found.component]}: all after {found.settled_at:,} of {count(found.n_clips, 'clip')}"
        for found in components
    )
    return CurveChart(
        text=ChartText(
            name="calibration-convergence",
            title="Ranges that have settled",
            description=f"Share of the ranges of activations that more clips did not change. {said}.",
            axis="recorded clips",
        ),
        y_axis="% of ranges settled",
        curves=curves,
    )
