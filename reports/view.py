"""The report as data: everything formatted for people, without markup."""

from collections.abc import Sequence
from dataclasses import dataclass

import yaml

from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.comparisons import Comparison
from sottovoce.benchmark.schema.results import Results
from sottovoce.reports.sections import Section, present
from sottovoce.reports.sections.accuracy import (
    describe_disagreement,
    failures_table,
    left_out_table,
    panel_table,
    speakers_table,
    strata_table,
)
from sottovoce.reports.sections.calibration import calibration_section
from sottovoce.reports.sections.comparison import (
    comparison_table,
    describe_errors,
    peers_table,
    skipped_table,
)
from sottovoce.reports.sections.compute import precision_table, roofline_table, stage_table
from sottovoce.reports.sections.facts import Fact, FactSheet, describe_setting, fact_sheets, glossary
from sottovoce.reports.sections.figures import build_charts
from sottovoce.reports.sections.noise import noise_section
from sottovoce.reports.sections.output_drift import output_drift_section
from sottovoce.reports.sections.scaling import scaling_section
from sottovoce.reports.sections.search import search_section
from sottovoce.reports.sections.sensitivity import sensitivity_section
from sottovoce.reports.sections.verdicts import Badge, Notice, describe_verdict, find_notices, verdict_badges
from sottovoce.reports.text.tables import Table, span
from sottovoce.reports.text.units import fixed, megabytes, percent, signed_points
from sottovoce.reports.transcripts.explorer import Explorer, ReadAudio, build_explorer, without_audio


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFigure:
    """A figure in large type, its label, and a note that qualifies it."""

    value: str
    unit: str
    label: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictView:
    """The verdict on one variant."""

    variant: str
    sentence: str
    badges: tuple[Badge, ...]
    figures: tuple[KeyFigure, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportView:
    """A whole report, in reading order."""

    model: str
    setting: str
    opening: str | None
    notices: tuple[Notice, ...]
    verdicts: tuple[VerdictView, ...]
    comparison: tuple[Section, ...]
    explorer: Explorer
    background: tuple[Section, ...]
    facts: tuple[FactSheet, ...]
    recipe: str
    recipe_sha256: str
    glossary: tuple[Fact, ...]
    created: str
    made_by: str


def build_view(
    results: Results, rows: Sequence[ClipRow], read_audio: ReadAudio = without_audio
) -> ReportView:
    """Format the results for people.

    Args:
        results: of any version that can be read.
        rows: their clips.
        read_audio: reads the audio of the clips whose transcripts changed.
    """
    return ReportView(
        model=results.model,
        setting=describe_setting(results),
        opening=None if results.comparisons else f"Only {results.baseline} was measured: nothing to compare.",
        notices=find_notices(results, rows),
        verdicts=tuple(_verdict_view(comparison, results) for comparison in results.comparisons),
        comparison=_comparison_sections(results, rows),
        explorer=build_explorer(results, rows, read_audio),
        background=present(
            output_drift_section(results),
            _tables_section("Clips without a score", failures_table(rows), left_out_table(results)),
            calibration_section(results),
            search_section(results),
            sensitivity_section(results),
            Section(heading="Precision", tables=(precision_table(results),)),
            noise_section(results, rows),
        ),
        facts=fact_sheets(results),
        recipe=yaml.safe_dump(results.recipe, sort_keys=False, allow_unicode=True),
        recipe_sha256=results.recipe_sha256,
        glossary=glossary(results),
        created=results.created.isoformat(sep=" ", timespec="minutes"),
        made_by=f"sottovoce {results.versions.get('sottovoce', '(version not recorded)')}",
    )


def _comparison_sections(results: Results, rows: Sequence[ClipRow]) -> tuple[Section, ...]:
    return present(
        Section(heading="Comparison", tables=(comparison_table(results),)),
        _tables_section("Against other engines", peers_table(results), skipped_table(results)),
        Section(heading="Charts", charts=build_charts(results, rows)),
        Section(heading="Stages", tables=(stage_table(results),)),
        _tables_section("Roofline", roofline_table(results)),
        scaling_section(results),
        _tables_section("Parts of the clips", strata_table(results), folded=speakers_table(results)),
        _tables_section("Normalizers", panel_table(results), sentence=describe_disagreement(results)),
    )


def _tables_section(
    heading: str, *tables: Table | None, sentence: str | None = None, folded: Table | None = None
) -> Section | None:
    found = present(*tables)
    if not found:
        return None
    return Section(heading=heading, sentences=present(sentence), tables=found, folded=folded)


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
