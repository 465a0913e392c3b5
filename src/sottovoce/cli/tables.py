"""Tables for the terminal: values in, Rich tables out."""

import shlex
from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from sottovoce.calibrate.audit import DoctorReport
from sottovoce.calibrate.convergence import Convergence
from sottovoce.calibrate.coverage import Coverage, Distribution
from sottovoce.calibrate.leaks import Leaks
from sottovoce.cli.inspection import ComponentSummary, RunSummary, VariantSummary
from sottovoce.optimize.search.report import SearchReport, Settings, Trial, describe_settings
from sottovoce.optimize.sensitivity.report import (
    IMPLICATION_LABELS,
    Extent,
    Figures,
    Implication,
    SensitivityReport,
)
from sottovoce.statistics.intervals import Interval
from sottovoce.terms import Format

MB = 1_000_000


def times(interval: Interval) -> str:
    """Write a ratio with its interval."""
    return f"{interval.value:.2f}x ({interval.low:.2f} to {interval.high:.2f})"


def points(interval: Interval) -> str:
    """Write a difference of rates in points, with its interval."""
    return f"{100 * interval.value:+.2f} ({100 * interval.low:+.2f} to {100 * interval.high:+.2f})"


def _quantized_weights(component: ComponentSummary) -> str:
    told = f"{component.int8_weights} of {component.weighted_nodes}"
    return f"{told}, INT4 {component.int4_weights}" if component.int4_weights else told


def run_table(summary: RunSummary) -> Table:
    """Show a run: a row for each component of each variant."""
    table = Table(title=f"{summary.name}, recipe {summary.recipe['name']}", title_justify="left")
    for label in ("variant", "kind", "component", "scheme"):
        table.add_column(label)
    for label in ("MB", "of baseline", "INT8 weights", "INT8 activations"):
        table.add_column(label, justify="right")
    for variant in summary.variants:
        for i, component in enumerate(variant.components):
            table.add_row(
                _variant_label(variant.name, is_stale=variant.is_stale) if i == 0 else "",
                _kind_label(variant) if i == 0 else "",
                component.name,
                component.scheme,
                f"{component.size_bytes / MB:.1f}",
                "-" if component.size_ratio is None else f"{100 * component.size_ratio:.1f} %",
                _quantized_weights(component),
                str(component.int8_activations),
            )
        table.add_section()
    return table


def _variant_label(name: str, *, is_stale: bool) -> str:
    return f"{name} (stale: its record was replaced)" if is_stale else name


def _kind_label(variant: VariantSummary) -> str:
    match variant.format:
        case Format.OPENVINO:
            return f"{variant.layout}, {variant.weights}"
        case Format.ONNX:
            return f"ONNX, {variant.layout}, {variant.weights}"
        case Format.CTRANSLATE2:
            return f"CTranslate2, {variant.ctranslate2_type}"


def run_lines(summary: RunSummary) -> list[str]:
    """Tell what does not fit a table: lineage, parity, calibration, recipe."""
    origin = summary.checkpoint
    lines = [f"checkpoint: {origin.name}" + (f" @ {origin.revision}" if origin.revision else "")]
    for variant in summary.variants:
        made_of = " and ".join(f"{parent.role} {parent.name}" for parent in variant.parents)
        lines.append(
            f"{variant.name}: made by {variant.made_by} from {made_of}; computes in {variant.inference_precision}"
        )
        if variant.parity is not None:
            lines.append(
                f"  parity with PyTorch on {variant.parity.n_clips} clips: encoder within "
                f"{variant.parity.encoder_max_difference:.1e}, greedy tokens identical"
            )
    if summary.calibration is not None:
        facts = summary.calibration
        lines.append(
            f"calibration: {facts['n_clips']} clips, {facts['n_steps']} decoder steps, {facts['audio_s']} s of audio"
        )
    if summary.sensitivity is not None:
        lines.append(_sensitivity_line(summary.sensitivity, is_stale=summary.sensitivity_is_stale))
    lines.append(f"recipe: {summary.recipe['name']}, sha256 {summary.recipe_sha256[:16]}")
    return lines


def doctor_table(report: DoctorReport) -> Group:
    """Show what the doctor found in a calibration record: coverage, ranges, leaks, warnings."""
    warnings = [f"warning: {finding.text}" for finding in report.findings]
    lines = (_leak_line(report.leaks), *(warnings or ["no warnings"]))
    return Group(
        coverage_table(report.coverage),
        convergence_table(report.convergence),
        *(Text(line) for line in lines),
    )


def coverage_table(coverage: Coverage) -> Table:
    """Show what the recorded clips are like."""
    languages = ", ".join(f"{name} {number}" for name, number in coverage.languages.items())
    table = Table(
        title=f"calibration: {coverage.n_clips} clips, {coverage.audio_s:.0f} s; {languages}; "
        f"{coverage.n_speakers} known speakers",
        title_justify="left",
    )
    table.add_column("a clip's")
    for label in ("least", "10 %", "median", "90 %", "most"):
        table.add_column(label, justify="right")
    table.add_column("clips by bin")
    for label, found in (
        ("length", coverage.length),
        ("loudness", coverage.loudness),
        ("SNR, estimated", coverage.snr),
        ("decode steps", coverage.steps),
    ):
        table.add_row(f"{label}, {found.unit}", *_quantiles(found), _bins(found))
    return table


def _quantiles(found: Distribution) -> list[str]:
    return [f"{value:.1f}" for value in (found.minimum, found.p10, found.median, found.p90, found.maximum)]


def _bins(found: Distribution) -> str:
    """Tell a histogram in a line: `0: 14, 3: 24, 6: 16` counts from each edge on; empty bins are left out."""
    pairs = zip(found.edges, found.counts, strict=False)
    return ", ".join(f"{edge:g}: {count}" for edge, count in pairs if count)


def convergence_table(components: Sequence[Convergence]) -> Table:
    """Show from how many clips on the ranges of activations did not change."""
    table = Table(title="ranges of activations", title_justify="left")
    for label in ("component", "activations"):
        table.add_column(label)
    for label in ("inputs", "settled after"):
        table.add_column(label, justify="right")
    for label in ("settled last", "more clips"):
        table.add_column(label)
    for found in components:
        last = max(found.ranges, key=lambda one: one.settled_at)
        table.add_row(
            found.component,
            "INT8" if found.is_quantized else "float",
            str(len(found.ranges)),
            f"{found.settled_at} of {found.n_clips} clips",
            last.name,
            "change nothing" if found.converged else "may change ranges",
        )
    return table


def _leak_line(leaks: Leaks | None) -> str:
    if leaks is None:
        return "leaks: the speech set has no split eval to compare with"
    return (
        f"leaks into {leaks.n_clips} clips of split {leaks.split}: {len(leaks.same_audio)} by audio, "
        f"{len(leaks.same_speaker)} by speaker, {len(leaks.same_text)} by text"
    )


N_SHOWN_TRIALS = 12


def search_table(report: SearchReport) -> Table:
    """Show a search: the chosen trial, then the others that no trial beats, then the fastest of the rest."""
    n_left = max(0, len(report.trials) - N_SHOWN_TRIALS)
    table = Table(
        title=f"search: {len(report.trials)} trials, {report.spent_s / 60:.0f} minutes; fp32 has {100 * report.baseline_wer:.2f} % WER",
        title_justify="left",
        caption=f"and {n_left} more, in search.json" if n_left else None,
    )
    for label in ("trial", "settings that differ"):
        table.add_column(label)
    for label in ("speed-up", "flips, %", "divergence, mnat", "WER, points", "MB"):
        table.add_column(label, justify="right")
    own = report.trials[0].settings
    for trial in ranked_trials(report)[:N_SHOWN_TRIALS]:
        table.add_row(*_trial_row(report, trial, own))
    return table


def ranked_trials(report: SearchReport) -> tuple[Trial, ...]:
    """Order the trials of a search: the chosen one, those that no other beats, the others by speed."""
    front = frozenset(report.front)

    def rank(trial: Trial) -> tuple[bool, bool, float]:
        return trial.number != report.chosen, trial.number not in front, -(trial.outcome.speedup or 0.0)

    return tuple(sorted(report.trials, key=rank))


def _trial_row(report: SearchReport, trial: Trial, own: Settings) -> tuple[str, ...]:
    outcome = trial.outcome
    mark = " chosen" if trial.number == report.chosen else " front" if trial.number in report.front else ""
    named = f"{trial.number}{mark}"
    settings = describe_settings(trial.settings, own)
    if outcome.failure is not None or outcome.speedup is None:
        return named, settings, "failed", "-", "-", "-", "-"
    return (
        named,
        settings,
        f"{outcome.speedup:.2f}",
        f"{100 * (outcome.flips or 0.0):.2f}",
        f"{1000 * (outcome.divergence or 0.0):.1f}",
        "given up" if outcome.wer_increase is None else points(outcome.wer_increase),
        f"{(outcome.size_bytes or 0) / MB:.0f}",
    )


EXTENT_LABELS = {
    Extent.NONE: "nothing quantized",
    Extent.ALL: "everything quantized",
    Extent.COMPUTED: "and computed as the recipe says",
}


def sensitivity_table(report: SensitivityReport) -> Table:
    """Show what each block costs when it alone is quantized, the most harmful first, then the whole model."""
    clips = f"{report.n_clips} clips {'not recorded' if report.unheard else 'that were recorded'}"
    table = Table(
        title=f"sensitivity of {report.variant}: {clips}, {report.n_tokens} tokens; encoder {1000 * report.encoder_s:.1f}"
        f" and decoder {1000 * report.decoder_s:.1f} ms a clip in {report.inference_precision}, {report.threads} threads",
        title_justify="left",
    )
    for label in ("component", "quantized alone"):
        table.add_column(label)
    for label in ("divergence, mnat", "of all, %", "flips, %", "output error, %", "saved, ms", "of all, %"):
        table.add_column(label, justify="right")
    table.add_column("implies")
    for block in report.by_harm:
        shares = (f"{100 * block.divergence_share:.1f}", f"{100 * block.saving_share:.1f}")
        implied = IMPLICATION_LABELS[block.implies]
        table.add_row(block.component, block.label, *_figures(block, *shares), implied)
    table.add_section()
    for whole in report.wholes:
        table.add_row("", EXTENT_LABELS[whole.extent], *_figures(whole, "", ""), "")
    return table


def _figures(found: Figures, divergence_share: str, saving_share: str) -> tuple[str, ...]:
    return (
        f"{1000 * found.divergence:.2f} ± {1000 * found.divergence_error:.2f}",
        divergence_share,
        f"{100 * found.flips:.2f}",
        "-" if found.output_error is None else f"{100 * found.output_error:.1f}",
        f"{1000 * found.saved_s:+.1f} ({1000 * found.saved_low_s:+.1f} to {1000 * found.saved_high_s:+.1f})",
        saving_share,
    )


def sensitivity_lines(report: SensitivityReport) -> list[str]:
    """Tell what a recipe would keep float, as YAML and for `--set`."""
    lines = []
    for advice in report.advice:
        lines += [f"{advice.component}: to keep {', '.join(advice.blocks)} float, put into the recipe"]
        lines += [f"  {line}" for line in advice.recipe.splitlines()]
        lines += [f"or: --set {shlex.quote(advice.override)}"]
    return [*lines, *report.notes] or ["no block costs more than it saves"]


def _sensitivity_line(report: SensitivityReport, *, is_stale: bool) -> str:
    kept = [
        f"{block.component} {block.label} ({100 * block.divergence_share:.0f} % of the divergence)"
        for block in report.by_harm
        if block.implies is Implication.KEEP_FLOAT
    ]
    told = f"sensitivity of {report.variant}: {len(report.blocks)} blocks on {report.n_clips} clips, "
    told += f"to keep float: {', '.join(kept)}" if kept else "none costs more than it saves"
    return f"{told} (stale: the run has changed since)" if is_stale else told
