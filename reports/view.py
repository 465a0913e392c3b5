"""The report as data: everything formatted for people, nothing marked up."""

from collections.abc import Sequence
from dataclasses import dataclass

import yaml

from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.comparisons import Comparison
from sottovoce.benchmark.schema.results import Results
from sottovoce.reports.charts.chart import Chart
from sottovoce.reports.sections.accuracy import (
    describe_disagreement,
    panel_table,
    speakers_table,
    strata_table,
)
from sottovoce.reports.sections.calibration import CalibrationView, calibration_view
from sottovoce.reports.sections.comparison import absent_table, comparison_table, describe_errors, peers_table
from sottovoce.reports.sections.compute import ceilings_table, precision_table, stage_table
from sottovoce.reports.sections.facts import Fact, FactSheet, fact_sheets, glossary
from sottovoce.reports.sections.figures import build_charts
from sottovoce.reports.sections.noise import NoiseView, noise_view
from sottovoce.reports.sections.notices import Notice, find_notices
from sottovoce.reports.sections.output_drift import SideEffectsView, side_effects_view
from sottovoce.reports.sections.scaling import ScalingView, scaling_view
from sottovoce.reports.sections.search import SearchView, search_view
from sottovoce.reports.sections.sensitivity import SensitivityView, sensitivity_view
from sottovoce.reports.sections.verdicts import Badge, describe_verdict, verdict_badges
from sottovoce.reports.text.tables import Table, failures_table, left_out_table, span
from sottovoce.reports.text.units import count, duration, fixed, megabytes, percent, signed_points
from sottovoce.reports.transcripts.audio import Audio
from sottovoce.reports.transcripts.explorer import Explorer, build_explorer

GIGA = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFigure:
    """A figure large enough to be seen first, what it is, and what qualifies it."""

    value: str
    unit: str
    label: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictView:
    """The answer about one variant."""

    variant: str
    sentence: str
    badges: tuple[Badge, ...]
    figures: tuple[KeyFigure, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportView:
    """A whole report, in the order in which it is read."""

    model: str
    setting: str
    opening: str | None
    notices: tuple[Notice, ...]
    verdicts: tuple[VerdictView, ...]
    comparison: Table
    peers: Table | None
    absent: Table | None
    charts: tuple[Chart, ...]
    stages: Table
    ceilings: Table | None
    ceiling_notes: tuple[str, ...]
    scaling: ScalingView | None
    strata: Table | None
    speakers: Table | None
    panel: Table | None
    disagreement: str | None
    explorer: Explorer
    side_effects: SideEffectsView | None
    left_out: Table | None
    failures: Table | None
    calibration: CalibrationView | None
    search: SearchView | None
    sensitivity: SensitivityView | None
    precision: Table
    precision_notes: tuple[str, ...]
    noise: NoiseView | None
    facts: tuple[FactSheet, ...]
    recipe: str
    recipe_sha256: str
    glossary: tuple[Fact, ...]
    created: str
    made_by: str


def build_view(results: Results, rows: Sequence[ClipRow], audio: Audio | None = None) -> ReportView:
    """Format the results for people.

    Args:
        results: of any version that can be read.
        rows: the clips behind them.
        audio: of clips whose transcripts changed, if there is any.
    """
    return ReportView(
        model=results.model,
        setting=_describe_setting(results),
        opening=None if results.comparisons else f"Only {results.baseline} was measured: nothing to compare.",
        notices=find_notices(results, rows),
        verdicts=tuple(_verdict_view(comparison, results) for comparison in results.comparisons),
        comparison=comparison_table(results),
        peers=peers_table(results),
        absent=absent_table(results),
        charts=build_charts(results, rows),
        stages=stage_table(results),
        ceilings=ceilings_table(results),
        ceiling_notes=_describe_rates(results),
        scaling=scaling_view(results),
        strata=strata_table(results),
        speakers=speakers_table(results),
        panel=panel_table(results),
        disagreement=describe_disagreement(results),
        explorer=build_explorer(results, rows, audio or Audio()),
        side_effects=side_effects_view(results),
        left_out=left_out_table(results),
        failures=failures_table(rows),
        calibration=calibration_view(results),
        search=search_view(results),
        sensitivity=sensitivity_view(results),
        precision=precision_table(results),
        precision_notes=_describe_precision(results),
        noise=noise_view(results, rows),
        facts=fact_sheets(results),
        recipe=yaml.safe_dump(results.recipe, sort_keys=False, allow_unicode=True),
        recipe_sha256=results.recipe_sha256,
        glossary=glossary(results),
        created=results.created.isoformat(sep=" ", timespec="minutes"),
        made_by=f"sottovoce {results.versions.get('sottovoce', '(version not recorded)')}",
    )


def _describe_setting(results: Results) -> str:
    dataset = results.dataset
    return (
        f"{count(dataset.n_clips, 'clip')}, {duration(dataset.audio_s)} of {dataset.name}, "
        f"on {results.host.cpu} with {count(results.method.threads, 'thread')}"
    )


def _verdict_view(comparison: Comparison, results: Results) -> VerdictView:
    return VerdictView(
        variant=comparison.variant,
        sentence=describe_verdict(comparison, results),
        badges=verdict_badges(comparison.verdict),
        figures=_key_figures(comparison, results),
    )


def _key_figures(comparison: Comparison, results: Results) -> tuple[KeyFigure, ...]:
    variant, baseline = results.variant(comparison.variant), results.variant(results.baseline)
    return (
        KeyFigure(
            value=fixed(comparison.speedup.value),
            unit="times",
            label="as fast",
            note=span(comparison.speedup, fixed),
        ),
        KeyFigure(
            value=signed_points(comparison.wer_delta.value),
            unit="points",
            label="change in WER",
            note=span(comparison.wer_delta, signed_points),
        ),
        KeyFigure(
            value=percent(variant.word_accuracy),
            unit="%",
            label="word accuracy",
            note=f"{describe_errors(variant.words)} words",
        ),
        KeyFigure(
            value=megabytes(variant.size_bytes),
            unit="MB",
            label="on disk",
            note=f"{fixed(comparison.size_ratio)} times {megabytes(baseline.size_bytes)} MB",
        ),
    )


def _describe_precision(results: Results) -> tuple[str, ...]:
    """Say in how many threads and streams the variants run, once for those that agree."""
    names: dict[str, list[str]] = {}
    for variant in results.variants:
        precision = variant.precision
        way = f"{count(precision.threads, 'thread')} in {count(precision.streams, 'stream')}"
        names.setdefault(way, []).append(variant.name)
    return tuple(f"On {way}: {', '.join(variants)}." for way, variants in names.items())


def _describe_rates(results: Results) -> tuple[str, ...]:
    """Say what the ceilings follow from."""
    machine = results.machine
    if machine is None:
        return ()
    rates = ", ".join(f"{kind} {fixed(rate / GIGA, 0)}" for kind, rate in machine.macs_per_s.items())
    return (
        f"Measured in a large matrix product: {rates} billion multiply-accumulates a second.",
        f"Read from memory: {fixed(machine.bytes_per_s / GIGA, 1)} GB a second.",
        "A share of 100 % leaves nothing to gain; weights that stay in the cache can pass it.",
    )
