"""Calibration: the recorded clips, whether more of them would change the ranges, and leaks into the evaluation."""

from collections.abc import Iterable, Sequence

from sottovoce.benchmark.schema.results import Results
from sottovoce.calibrate.audit import DoctorReport
from sottovoce.calibrate.convergence import INT8_LEVELS, TOLERANCE, Convergence
from sottovoce.calibrate.coverage import Coverage, Distribution, describe_transcribed
from sottovoce.calibrate.leaks import Leaks, Pair
from sottovoce.reports.charts.chart import Bar, BarGroup, Chart, ChartText, Curve, CurveChart, GroupedBarChart
from sottovoce.reports.sections import Section, present
from sottovoce.reports.text.tables import Column, RowGroup, Table, flat_table, make_row, text_columns
from sottovoce.reports.text.units import count, duration, fixed, two_figures
from sottovoce.terms import Component

COMPONENT_LABELS = {
    Component.ENCODER: "Encoder",
    Component.DECODER: "Decoder, first pass",
    Component.DECODER_WITH_PAST: "Decoder with past",
}
N_LANGUAGES_SHOWN = 8
N_RANGES_SHOWN = 5
"""Inputs of each component whose ranges settled last."""


def calibration_section(results: Results) -> Section | None:
    """Format the report of the calibration doctor; None if the record has none."""
    report = results.doctor
    if report is None:
        return None
    return Section(
        heading="Calibration",
        opening=describe_audit(report),
        warnings=tuple(f"{finding.text[:1].upper()}{finding.text[1:]}." for finding in report.findings),
        charts=(_coverage_chart(report.coverage), _convergence_chart(report.convergence)),
        tables=audit_tables(report),
    )


def audit_tables(report: DoctorReport) -> tuple[Table, ...]:
    """Return the tables of coverage, of ranges and of leaks if there was an evaluation split."""
    return present(
        _coverage_table(report.coverage),
        _ranges_table(report.convergence),
        None if report.leaks is None else _leaks_table(report.leaks),
    )


def describe_audit(report: DoctorReport) -> str:
    """Describe the record and the number of warnings in a sentence."""
    coverage = report.coverage
    languages = ", ".join(f"{name} {number:,}" for name, number in coverage.languages.items())
    recorded = (
        f"{count(coverage.n_clips, 'clip')}, {duration(coverage.audio_s)}, recorded ({languages}; "
        f"{count(coverage.n_speakers, 'known speaker')})"
        f"{describe_transcribed(coverage.n_transcribed_clips, coverage.n_clips)}"
    )
    warnings = (
        count(len(report.findings), "warning") if report.findings else "the doctor found nothing to warn of"
    )
    leaks = "" if report.leaks else " The speech set has no split eval to search for leaks."
    return f"{recorded}; {warnings}.{leaks}"


def _coverage_table(coverage: Coverage) -> Table:
    return flat_table(
        "The recorded clips",
        "Per clip",
        (*map(Column, ("Least", "10 %", "Median", "90 %", "Most")), *text_columns("Clips from each edge on")),
        (
            make_row(
                label,
                *(
                    two_figures(value)
                    for value in (found.minimum, found.p10, found.median, found.p90, found.maximum)
                ),
                _bins_in_words(found),
                unit=found.unit,
            )
            for label, found in _quantities(coverage)
        ),
        notes=("SNR is an estimate from the levels of a clip's frames.",),
    )


def _bins_in_words(found: Distribution) -> str:
    """Write a histogram in a line: `0: 14, 3: 24` are the counts from each edge on; empty bins are left out."""
    pairs = zip(found.edges, found.counts, strict=False)
    return ", ".join(f"{fixed(edge, 0)}: {number:,}" for edge, number in pairs if number)


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
            Column("Low"),
            Column("High"),
            Column("Zero point", f"of {INT8_LEVELS} levels"),
            Column("Settled after", "clips"),
        ),
        groups=tuple(
            RowGroup(
                label=f"{COMPONENT_LABELS[found.component]}: {_describe_convergence(found)}",
                rows=tuple(
                    make_row(
                        one.name,
                        two_figures(one.low),
                        two_figures(one.high),
                        fixed(one.zero_point, 0),
                        f"{one.settled_at:,}",
                    )
                    for one in sorted(found.ranges, key=lambda one: -one.settled_at)[:N_RANGES_SHOWN]
                ),
            )
            for found in components
        ),
        notes=(
            "A range is the mean over clips, SmoothQuant applied, of the smallest and of the largest value.",
            f"It has settled when neither end changes by more than {100 * TOLERANCE:g} % of its size any more.",
        ),
    )


def _describe_convergence(found: Convergence) -> str:
    inputs = count(len(found.ranges), "input")
    settled = f"settled after {found.settled_at:,} of {count(found.n_clips, 'clip')}"
    kind = "INT8 activations" if found.is_quantized else "activations stay float"
    return f"{kind}, {inputs}, {settled}, more clips {'change nothing' if found.converged else 'may change them'}"


def _leaks_table(leaks: Leaks) -> Table:
    kinds = (("Audio", leaks.same_audio), ("Text", leaks.same_text), ("Speaker", leaks.same_speaker))
    return flat_table(
        f"Leaks of calibration into {count(leaks.n_clips, 'clip')} of split {leaks.split}",
        "The same",
        (Column("Clips"), *text_columns("First pair")),
        (make_row(label, f"{len(pairs):,}", _first(pairs)) for label, pairs in kinds),
        is_compact=True,
    )


def _first(pairs: Sequence[Pair]) -> str:
    return f"{pairs[0].evaluation} and {pairs[0].calibration}" if pairs else "none"


def _coverage_chart(coverage: Coverage) -> Chart:
    languages = list(coverage.languages.items())[:N_LANGUAGES_SHOWN]
    groups = (
        _bar_group("Language", languages),
        *(_bar_group(f"{label}, {found.unit}", _bins(found)) for label, found in _quantities(coverage)),
    )
    figures = "; ".join(
        f"{group.label}: {', '.join(f'{bar.label} {bar.text}' for bar in group.bars)}" for group in groups
    )
    return GroupedBarChart(
        text=ChartText(
            name="calibration-coverage",
            title="What was recorded",
            description=f"Number of recorded clips by language, length, loudness, SNR and decode steps. {figures}.",
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
    """Name each bin by its edges; the first and the last also count the clips beyond them."""
    ends = zip(found.edges, found.edges[1:], strict=False)
    names = [f"{fixed(low, 0)} to {fixed(high, 0)}" for low, high in ends]
    return list(zip(names, found.counts, strict=True))


def _convergence_chart(components: Sequence[Convergence]) -> Chart:
    curves = tuple(
        Curve(
            label=COMPONENT_LABELS[found.component],
            points=tuple((float(point.n_clips), 100 * point.settled_share) for point in found.curve),
            series=index,
        )
        for index, found in enumerate(components, start=1)
    )
    figures = "; ".join(
        f"{COMPONENT_LABELS[found.component]}: all after {found.settled_at:,} of {count(found.n_clips, 'clip')}"
        for found in components
    )
    return CurveChart(
        text=ChartText(
            name="calibration-convergence",
            title="Ranges that have settled",
            description=f"Share of the ranges of activations that more clips did not change. {figures}.",
            axis="recorded clips",
        ),
        y_axis="% of ranges settled",
        curves=curves,
    )
