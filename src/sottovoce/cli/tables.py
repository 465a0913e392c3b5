"""Tables and lines of the commands, drawn for the terminal; those of results are the report's own."""

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group

from sottovoce.benchmark.compare_results import ResultsComparison
from sottovoce.benchmark.history import HistoryEntry
from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.results import Results
from sottovoce.calibrate.audit import DoctorReport
from sottovoce.calibrate.coverage import describe_transcribed
from sottovoce.calibrate.store import TRANSCRIBED_KEY
from sottovoce.cli import measurements
from sottovoce.cli.inspection import RunSummary, VariantSummary
from sottovoce.optimize.live.report import LiveTuning
from sottovoce.optimize.search.report import SearchReport
from sottovoce.optimize.sensitivity.report import Implication, SensitivityReport
from sottovoce.reports.formats.terminal import draw_all, draw_table, plain_text
from sottovoce.reports.sections.accuracy import describe_robustness, languages_table, robustness_table
from sottovoce.reports.sections.calibration import audit_tables, describe_audit
from sottovoce.reports.sections.comparison import describe_skipped, entries_table
from sottovoce.reports.sections.facts import describe_setting
from sottovoce.reports.sections.live import describe_load, live_table
from sottovoce.reports.sections.search import describe_search, trials_table
from sottovoce.reports.sections.sensitivity import advice_listings, blocks_table
from sottovoce.reports.sections.verdicts import find_notices
from sottovoce.reports.summary.recommend import describe_peer, describe_proof, headline, recommend
from sottovoce.reports.text.tables import (
    Column,
    Row,
    RowGroup,
    Table,
    flat_table,
    make_row,
    optional,
    text_columns,
)
from sottovoce.reports.text.units import BYTES_PER_MB, NOT_MEASURED, fixed
from sottovoce.runtime.live.options import CommitPolicy
from sottovoce.terms import Format
from sottovoce.train.distil.report import DistilReport
from sottovoce.train.finetune.report import FinetuneReport
from sottovoce.train.variant.report import VariantReport

N_TRIALS_SHOWN = 12


def results_table(results: Results, rows: Sequence[ClipRow]) -> Group:
    """Show a benchmark: the verdict, a table, the best other engine, warnings; the report has the rest."""
    found = recommend(results)
    notices = find_notices(results, rows)
    return Group(
        plain_text(headline(results), "bold"),
        *(
            plain_text(f"{notice.title.upper()}. {notice.text}", "bold red")
            for notice in notices
            if notice.is_loud
        ),
        *map(plain_text, (*describe_proof(results), f"{results.model}: {describe_setting(results)}")),
        draw_table(entries_table(results)),
        draw_all(
            languages_table(results),
            robustness_table(results),
            *describe_robustness(results),
            live_table(results),
            None if results.live is None else describe_load(results.live),
            None if found is None or found.peer is None else f"{describe_peer(found.peer)}.",
            *(f"warning: {notice.text}" for notice in notices if not notice.is_loud),
            *map(describe_skipped, results.absent),
        ),
    )


def results_comparison_table(comparison: ResultsComparison) -> Group:
    """Show the entries of several results against the first."""
    return draw_all(measurements.results_comparison_table(comparison))


def history_table(past: Sequence[HistoryEntry]) -> Group:
    """Show the history of measurements."""
    return draw_all(measurements.history_table(past))


def doctor_table(report: DoctorReport) -> Group:
    """Show what the doctor found in a calibration record."""
    warnings = (f"warning: {finding.text}" for finding in report.findings)
    return draw_all(describe_audit(report), *audit_tables(report), *warnings)


def search_table(report: SearchReport) -> Group:
    """Show a search: its choice, then the best trials."""
    return draw_all(describe_search(report), trials_table(report, n_shown=N_TRIALS_SHOWN))


def sensitivity_table(report: SensitivityReport) -> Group:
    """Show the harm and the saving of each block, then of the whole model."""
    return draw_all(blocks_table(report))


def sensitivity_lines(report: SensitivityReport) -> list[str]:
    """List the nodes to keep float, as YAML and for `--set`."""
    lines = []
    for advice in advice_listings(report):
        recipe, option = advice.blocks
        lines += [f"{advice.title}; put into the recipe"]
        lines += [f"  {line}" for line in recipe.splitlines()]
        lines += [f"or: {option}"]
    return [*lines, *report.notes] or ["no block costs more than it saves"]


def live_rules_table(tuning: LiveTuning) -> Group:
    """Show what each rule of live words does, and which one is stored."""
    rows = (
        make_row(
            f"{rule.policy}, guard {rule.guard_s:g} s"
            if rule.policy == CommitPolicy.ALIGNMENT
            else rule.policy,
            fixed(100 * rule.error_rate, 2),
            *(
                NOT_MEASURED if delay is None else fixed(delay)
                for delay in (rule.mean_delay_s, rule.p95_delay_s)
            ),
            "stored" if rule.is_chosen else "",
        )
        for rule in tuning.rules
    )
    title = (
        f"{tuning.variant}: words of {tuning.n_clips} clips ({tuning.audio_s:.0f} s), live against as files"
    )
    columns = ("words that differ, %", "mean delay, s", "95th percentile, s", "")
    return draw_all(flat_table(title, "rule", map(Column, columns), rows))


def variant_table(report: VariantReport) -> Group:
    """Show a variant before and after training, on the held-out clips."""
    from sottovoce.reports.training import variant  # needs the extra `benchmark`, which `inspect` does not

    return draw_all(variant.variant_table(report))


def finetune_table(report: FinetuneReport) -> Group:
    """Show the word errors before and after a fine-tuning."""
    from sottovoce.reports.training import finetune  # needs the extra `benchmark`, which `inspect` does not

    return draw_all(finetune.accuracy_table(report))


def distil_table(report: DistilReport) -> Group:
    """Show the word errors of teacher and student."""
    from sottovoce.reports.training import distil  # needs the extra `benchmark`, which `inspect` does not

    return draw_all(distil.comparison_table(report))


def run_table(summary: RunSummary) -> Group:
    """Show a run: a row for each component of each variant."""
    table = Table(
        caption=f"{summary.name}, recipe {summary.recipe['name']}",
        corner="variant",
        columns=(
            *text_columns("kind", "component", "scheme"),
            *map(Column, ("MB", "of baseline", "INT8 weights", "INT8 activations")),
        ),
        groups=tuple(RowGroup(label=None, rows=tuple(_run_rows(variant))) for variant in summary.variants),
    )
    return draw_all(table)


def _run_rows(variant: VariantSummary) -> Iterator[Row]:
    """Yield a row for each component; the first one names the variant."""
    name = f"{variant.name} (stale: its record was replaced)" if variant.is_stale else variant.name
    for index, component in enumerate(variant.components):
        int4 = f", INT4 {component.int4_weights}" if component.int4_weights else ""
        yield make_row(
            "" if index else name,
            "" if index else _kind_label(variant),
            component.name,
            component.scheme,
            fixed(component.size_bytes / BYTES_PER_MB, 1),
            optional(component.size_ratio, lambda ratio: f"{fixed(100 * ratio, 1)} %"),
            f"{component.int8_weights} of {component.weighted_nodes}{int4}",
            f"{component.int8_activations}",
        )


def _kind_label(variant: VariantSummary) -> str:
    match variant.format:
        case Format.OPENVINO:
            return f"{variant.layout}, {variant.weights}"
        case Format.ONNX:
            return f"ONNX, {variant.layout}, {variant.weights}"
        case Format.CTRANSLATE2:
            return f"CTranslate2, {variant.ctranslate2_type}"


def run_lines(summary: RunSummary) -> list[str]:
    """List lineage, parity, calibration, sensitivity and recipe."""
    origin = summary.checkpoint
    lines = [f"checkpoint: {origin.name}" + (f" @ {origin.revision}" if origin.revision else "")]
    for variant in summary.variants:
        parents = " and ".join(f"{parent.role} {parent.name}" for parent in variant.parents)
        lines.append(
            f"{variant.name}: made by {variant.made_by} from {parents}; computes in {variant.inference_precision}"
        )
        if variant.parity is not None:
            lines.append(
                f"  parity with PyTorch on {variant.parity.n_clips} clips: encoder within "
                f"{variant.parity.encoder_max_difference:.1e}, greedy tokens identical"
            )
    if summary.calibration is not None:
        lines.append(f"calibration: {describe_recording(summary.calibration)}")
    if summary.sensitivity is not None:
        lines.append(_sensitivity_line(summary.sensitivity, is_stale=summary.sensitivity_is_stale))
    lines.append(f"recipe: {summary.recipe['name']}, sha256 {summary.recipe_sha256[:16]}")
    return lines


def describe_recording(facts: Mapping[str, object]) -> str:
    """Describe a calibration record by the facts of its manifest."""
    n_clips = facts["n_clips"]
    transcribed = describe_transcribed(facts.get(TRANSCRIBED_KEY, n_clips), n_clips)
    return f"{n_clips} clips{transcribed}, {facts['n_steps']} decoder steps, {facts['audio_s']} s of audio"


def _sensitivity_line(report: SensitivityReport, *, is_stale: bool) -> str:
    kept = [
        f"{block.component} {block.label} ({100 * block.divergence_share:.0f} % of the divergence)"
        for block in report.by_harm
        if block.implies is Implication.KEEP_FLOAT
    ]
    advice = f"to keep float: {', '.join(kept)}" if kept else "none costs more than it saves"
    stale = " (stale: the run has changed since)" if is_stale else ""
    return f"sensitivity of {report.variant}: {len(report.blocks)} blocks on {report.n_clips} clips, {advice}{stale}"
