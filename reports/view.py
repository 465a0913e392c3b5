"""The report as data: everything formatted for people, without markup."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import yaml

from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.results import Results, VariantResult
from sottovoce.reports.sections import Section, present
from sottovoce.reports.sections.accuracy import (
    describe_disagreement,
    failures_table,
    languages_table,
    left_out_table,
    panel_table,
    robustness_section,
    speakers_table,
    strata_table,
)
from sottovoce.reports.sections.calibration import calibration_section
from sottovoce.reports.sections.comparison import comparison_table, peers_table, skipped_table
from sottovoce.reports.sections.compute import precision_table, roofline_table, stage_table
from sottovoce.reports.sections.facts import Fact, FactSheet, describe_setting, fact_sheets, glossary
from sottovoce.reports.sections.figures import build_charts
from sottovoce.reports.sections.live import live_section
from sottovoce.reports.sections.noise import noise_section
from sottovoce.reports.sections.output_drift import output_drift_section
from sottovoce.reports.sections.scaling import scaling_section
from sottovoce.reports.sections.search import search_section
from sottovoce.reports.sections.sensitivity import sensitivity_section
from sottovoce.reports.sections.verdicts import Badge, Notice, describe_verdict, find_notices, verdict_badges
from sottovoce.reports.summary.findings import Finding, find_findings
from sottovoce.reports.summary.recommend import (
    Advice,
    Recommendation,
    describe_proof,
    headline,
    recommend,
)
from sottovoce.reports.text.tables import Table
from sottovoce.reports.text.units import megabytes, percent, two_figures
from sottovoce.reports.transcripts.explorer import Explorer, ReadAudio, build_explorer, without_audio

_TONES = {
    Advice.SHIP: "good",
    Advice.MEASURE_MORE: "open",
    Advice.MEASURE_AGAIN: "bad",
    Advice.REJECT: "bad",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFigure:
    """A figure of the recommended variant in large type; `others` are those of the baseline and the best peer."""

    label: str
    value: str
    unit: str
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictView:
    """The verdict on one variant, in full."""

    variant: str
    sentence: str
    badges: tuple[Badge, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """A part of the page that opens on demand; the parts that are not a section have their data in the view."""

    heading: str
    content: Section | str

    @property
    def anchor(self) -> str:
        """Its id on the page."""
        return re.sub(r"[^a-z]+", "-", self.heading.lower())


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldGroup:
    """Folds under one title of the table of contents."""

    title: str
    folds: tuple[Fold, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportView:
    """A whole report, in reading order.

    Attributes:
        headline: the verdict in at most 15 words.
        tone: of the verdict: good, open or bad.
        proof: sentences that support it.
        languages: word errors by language; None with fewer than two.
    """

    model: str
    setting: str
    headline: str
    tone: str
    proof: tuple[str, ...]
    notices: tuple[Notice, ...]
    figures: tuple[KeyFigure, ...]
    languages: Table | None
    findings: tuple[Finding, ...]
    groups: tuple[FoldGroup, ...]
    verdicts: tuple[VerdictView, ...]
    explorer: Explorer
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
    found = recommend(results)
    explorer = build_explorer(results, rows, read_audio)
    return ReportView(
        model=results.model,
        setting=describe_setting(results),
        headline=headline(results),
        tone="open" if found is None else _TONES[found.advice],
        proof=describe_proof(results),
        notices=find_notices(results, rows),
        figures=() if found is None else _key_figures(results, found),
        languages=languages_table(results),
        findings=find_findings(results, found),
        groups=_fold_groups(results, rows, explorer),
        verdicts=_verdicts(results),
        explorer=explorer,
        facts=fact_sheets(results),
        recipe=yaml.safe_dump(results.recipe, sort_keys=False, allow_unicode=True),
        recipe_sha256=results.recipe_sha256,
        glossary=glossary(results),
        created=results.created.isoformat(sep=" ", timespec="minutes"),
        made_by=f"sottovoce {results.versions.get('sottovoce', '(version not recorded)')}",
    )


def _fold_groups(results: Results, rows: Sequence[ClipRow], explorer: Explorer) -> tuple[FoldGroup, ...]:
    groups = (
        _group(
            "Variants",
            Section(heading="Every variant", tables=(comparison_table(results),)),
            _tables_section("Against other engines", peers_table(results), skipped_table(results)),
            Section(heading="More charts", charts=build_charts(results, rows)),
        ),
        _group(
            "Speed",
            Section(heading="Stages", tables=(stage_table(results),)),
            _tables_section("Roofline", roofline_table(results)),
            scaling_section(results),
            noise_section(results, rows),
        ),
        _group(
            "Accuracy",
            "Changed transcripts" if explorer.summaries else None,
            _tables_section("Parts of the clips", strata_table(results), folded=speakers_table(results)),
            robustness_section(results),
            _tables_section("Normalizers", panel_table(results), sentence=describe_disagreement(results)),
            output_drift_section(results),
            _tables_section("Clips without a score", failures_table(rows), left_out_table(results)),
        ),
        _group("Live", live_section(results)),
        _group(
            "Model",
            Section(heading="Precision", tables=(precision_table(results),)),
            calibration_section(results),
            search_section(results),
            sensitivity_section(results),
            "Recipe",
        ),
        _group("Method", "How it was measured", "Terms"),
    )
    return tuple(group for group in groups if group.folds)


def _group(title: str, *contents: Section | str | None) -> FoldGroup:
    return FoldGroup(
        title=title,
        folds=tuple(
            Fold(heading=content if isinstance(content, str) else content.heading, content=content)
            for content in contents
            if content is not None
        ),
    )


def _tables_section(
    heading: str, *tables: Table | None, sentence: str | None = None, folded: Table | None = None
) -> Section | None:
    found = present(*tables)
    if not found:
        return None
    return Section(heading=heading, sentences=present(sentence), tables=found, folded=folded)


def _verdicts(results: Results) -> tuple[VerdictView, ...]:
    return tuple(
        VerdictView(
            variant=comparison.variant,
            sentence=describe_verdict(comparison, results),
            badges=verdict_badges(comparison.verdict),
        )
        for comparison in results.comparisons
    )


def _key_figures(results: Results, found: Recommendation) -> tuple[KeyFigure, ...]:
    names = (found.comparison.variant, results.baseline, *(() if found.peer is None else (found.peer.peer,)))
    entries = [results.variant(name) for name in names]
    return (
        _key_figure("speed", "real time", [f"{two_figures(entry.rtfx)}x" for entry in entries], entries),
        _key_figure("word errors", "%", [percent(entry.wer) for entry in entries], entries),
        _key_figure("on disk", "MB", [megabytes(entry.size_bytes) for entry in entries], entries),
        _key_figure("memory", "MB", [megabytes(entry.peak_rss_bytes) for entry in entries], entries),
    )


def _key_figure(label: str, unit: str, values: Sequence[str], entries: Sequence[VariantResult]) -> KeyFigure:
    others = zip(entries[1:], values[1:], strict=True)
    return KeyFigure(
        label=label,
        value=values[0],
        unit=unit,
        others=tuple(f"{entry.name} {value}" for entry, value in others),
    )
