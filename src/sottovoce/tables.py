"""Tables for the terminal: values in, Rich tables out."""

from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from sottovoce.benchmark.results import CeilingPart, Results, Stage, VariantResult
from sottovoce.calibrate.convergence import Convergence
from sottovoce.calibrate.coverage import Coverage, Distribution
from sottovoce.calibrate.doctor import DoctorReport
from sottovoce.calibrate.leaks import Leaks
from sottovoce.inspection import ComponentSummary, RunSummary
from sottovoce.intervals import Interval

MB = 1_000_000
GIGA = 1e9

CEILING_LABELS = {
    CeilingPart.ENCODER_WINDOW: "encoder, 30 s",
    CeilingPart.DECODE_STEP: "decode step",
}


def results_table(results: Results) -> Group:
    """Show a benchmark: what was measured, then the comparison with other engines, then the ceilings."""
    tables = (entries_table(results), peers_table(results), ceilings_table(results))
    return Group(*(table for table in tables if table is not None))


def entries_table(results: Results) -> Table:
    """Compare the entries of a benchmark: one column each."""
    table = Table(
        title=f"{results.model}: {results.dataset.n_clips} clips, {results.dataset.audio_s:.0f} s",
        title_justify="left",
    )
    table.add_column("")
    for variant in results.variants:
        table.add_column(_in_two_lines(variant.name), justify="right")
    for label, cells in _result_rows(results):
        table.add_row(label, *cells)
    return table


def _in_two_lines(name: str) -> str:
    """Break the name of an entry, which is long, behind its engine."""
    return name.replace(":", ":\n", 1)


def peers_table(results: Results) -> Table | None:
    """Compare our first variant with each entry of another engine; None without such."""
    if not results.peers:
        return None
    table = Table(title=f"{results.peers[0].subject} against other engines", title_justify="left")
    table.add_column("against")
    table.add_column("speed-up", justify="right")
    table.add_column("WER difference, points", justify="right")
    for peer in results.peers:
        table.add_row(peer.peer, _times(peer.speedup), _points(peer.wer_delta))
    return table


def ceilings_table(results: Results) -> Table | None:
    """Compare times with what this machine can do at most; None where it was not asked for."""
    if results.machine is None:
        return None
    rates = ", ".join(f"{kind} {rate / GIGA:.0f}" for kind, rate in results.machine.macs_per_s.items())
    table = Table(
        title=f"ceilings of this machine: {rates} GMAC/s; memory {results.machine.bytes_per_s / GIGA:.1f} GB/s",
        title_justify="left",
    )
    for label in ("variant", "part"):
        table.add_column(label)
    for label in ("ceiling, ms", "achieved, ms", "share, %"):
        table.add_column(label, justify="right")
    for variant in results.variants:
        for ceiling in variant.ceilings:
            table.add_row(
                variant.name,
                CEILING_LABELS[ceiling.part],
                f"{1000 * ceiling.ceiling_s:.1f}",
                f"{1000 * ceiling.achieved_s:.1f}",
                f"{100 * ceiling.share:.0f}",
            )
    return table


def _result_rows(results: Results) -> list[tuple[str, list[str]]]:
    variants = results.variants
    by_name = {comparison.variant: comparison for comparison in results.comparisons}
    compared = [by_name.get(variant.name) for variant in variants]
    return [
        ("precision", [variant.precision.label for variant in variants]),
        ("RTFx (audio s per s)", [f"{variant.rtfx:.1f}" for variant in variants]),
        ("speed-up", [_times(c.speedup) if c else "baseline" for c in compared]),
        *_stage_rows(results),
        ("latency p50 / p90, s", [f"{v.latency_s.p50:.2f} / {v.latency_s.p90:.2f}" for v in variants]),
        ("WER, %", [f"{100 * variant.wer:.2f}" for variant in variants]),
        ("WER difference, points", [_points(c.wer_delta) if c else "baseline" for c in compared]),
        ("word accuracy, %", [f"{100 * variant.word_accuracy:.2f}" for variant in variants]),
        ("raw WER, %", [f"{100 * variant.raw_wer:.2f}" for variant in variants]),
        ("size on disk, MB", [f"{variant.size_bytes / MB:.0f}" for variant in variants]),
        ("peak memory, MB", [f"{variant.peak_rss_bytes / MB:.0f}" for variant in variants]),
        ("load, s", [f"{variant.load_s:.1f}" for variant in variants]),
        *_cold_start_rows(variants),
    ]


def _cold_start_rows(variants: Sequence[VariantResult]) -> list[tuple[str, list[str]]]:
    if all(variant.cold_start is None for variant in variants):
        return []
    cold = [variant.cold_start for variant in variants]
    return [
        ("cold start, s", ["-" if start is None else f"{start.median_s:.2f}" for start in cold]),
        (
            "cold start, peak MB",
            ["-" if start is None else f"{start.peak_rss_bytes / MB:.0f}" for start in cold],
        ),
    ]


def _stage_rows(results: Results) -> list[tuple[str, list[str]]]:
    labels = {
        Stage.ENCODER: "encoder, ms",
        Stage.DECODER: "decoder, first pass, ms",
        Stage.DECODER_WITH_PAST: "decoder with past, ms/token",
    }
    return [
        (label, [_stage(results, variant, stage) for variant in results.variants])
        for stage, label in labels.items()
    ]


def _stage(results: Results, variant: VariantResult, stage: Stage) -> str:
    if stage not in variant.call_s:
        return "-"
    told = f"{1000 * variant.call_s[stage]:.1f}"
    comparison = next((c for c in results.comparisons if c.variant == variant.name), None)
    if comparison is None or stage not in comparison.stage_speedup:
        return told
    return f"{told} ({comparison.stage_speedup[stage].value:.2f}x)"


def _times(interval: Interval) -> str:
    return f"{interval.value:.2f}x ({interval.low:.2f} to {interval.high:.2f})"


def _points(interval: Interval) -> str:
    return f"{100 * interval.value:+.2f} ({100 * interval.low:+.2f} to {100 * interval.high:+.2f})"


def _quantized_weights(component: ComponentSummary) -> str:
    told = f"{component.int8_weights} of {component.weighted_nodes}"
    return f"{told}, INT4 {component.int4_weights}" if component.int4_weights else told


def run_table(summary: RunSummary) -> Table:
    """Show a run: a row for each component of each variant."""
    table = Table(title=f"{summary.name}, recipe {summary.recipe['name']}", title_justify="left")
    for label in ("variant", "layout", "component", "scheme"):
        table.add_column(label)
    for label in ("MB", "of baseline", "INT8 weights", "INT8 activations"):
        table.add_column(label, justify="right")
    for variant in summary.variants:
        for i, component in enumerate(variant.components):
            table.add_row(
                _variant_label(variant.name, is_stale=variant.is_stale) if i == 0 else "",
                f"{variant.layout}, {variant.weights}" if i == 0 else "",
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
