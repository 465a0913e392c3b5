"""Tables of measured results for the terminal: values in, Rich tables out."""

from collections.abc import Sequence
from itertools import groupby

from rich.console import Group
from rich.table import Table
from rich.text import Text

from sottovoce.benchmark.compare_results import ResultsComparison
from sottovoce.benchmark.history import HistoryEntry, group_series
from sottovoce.benchmark.schema.machine import RooflinePart
from sottovoce.benchmark.schema.results import Results, VariantResult
from sottovoce.cli.tables import MB, points, times
from sottovoce.terms import Stage

GIGA = 1e9

CEILING_LABELS = {
    RooflinePart.ENCODER_WINDOW: "encoder, 30 s",
    RooflinePart.DECODE_STEP: "decode step",
}


def results_table(results: Results) -> Group:
    """Show a benchmark: what was measured, then the comparison with other engines, then the ceilings."""
    tables = (
        entries_table(results),
        peers_table(results),
        side_effects_table(results),
        ceilings_table(results),
        *_remarks(results),
    )
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
    """Compare our variants with each entry of another engine; None without such."""
    if not results.peers:
        return None
    table = Table(title="against other engines", title_justify="left")
    table.add_column("variant")
    table.add_column("against")
    table.add_column("which computes in")
    table.add_column("speed-up", justify="right")
    table.add_column("WER difference, points", justify="right")
    for subject, peers in groupby(results.peers, key=lambda peer: peer.subject):
        for place, peer in enumerate(peers):
            name = "" if place else subject
            precision = results.variant(peer.peer).precision.summary
            table.add_row(name, peer.peer, precision, times(peer.speedup), points(peer.wer_delta))
        table.add_section()
    return table


def side_effects_table(results: Results) -> Table | None:
    """Show what changes besides word errors; None where it was not asked for."""
    if not results.side_effects:
        return None
    table = Table(title=f"side effects, against {results.baseline}", title_justify="left")
    table.add_column("variant")
    for label in (
        "tokens kept, %",
        "languages told otherwise",
        "starts of words moved by, ms: median / p95",
        "length",
        "words for noise",
    ):
        table.add_column(label, justify="right")
    for found in results.side_effects:
        language, drift, length = found.language, found.drift, found.length_ratio
        table.add_row(
            found.variant,
            f"{100 * found.token_agreement:.1f}",
            "-" if language is None else f"{language.n_flips} of {language.n_clips}",
            "-" if drift is None else f"{1000 * drift.median_s:.0f} / {1000 * drift.p95_s:.0f}",
            "-" if length is None else f"{length.total:.3f}",
            f"{sum(heard.variant_words for heard in found.hallucinations)} "
            f"(baseline {sum(heard.baseline_words for heard in found.hallucinations)})",
        )
    return table


def _remarks(results: Results) -> list[Text]:
    """Say what the figures are to be held against."""
    remarks = []
    if results.self_check is not None:
        check = results.self_check
        remarks.append(
            f"{check.entry} against itself (A/A): {check.ratio.value:.3f} ({check.ratio.low:.3f} to "
            f"{check.ratio.high:.3f}) on {check.n_clips} clips"
        )
    if results.noise is not None:
        noise = results.noise
        remarks.append(
            f"machine: {100 * noise.steal_share:.1f} % of the CPU time taken by its host, "
            f"{100 * noise.foreign_share:.1f} % by other processes; of {noise.n_blocks} blocks {noise.n_repeated} repeated, "
            f"{noise.n_marked} still disturbed"
        )
    remarks += [
        f"{'measured in part' if absent.is_partial else 'not measured'}: {absent.name}: {absent.message}"
        for absent in results.absent
    ]
    return [Text(remark) for remark in remarks]


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
        ("precision", [variant.precision.summary for variant in variants]),
        ("RTFx (audio s per s)", [f"{variant.rtfx:.1f}" for variant in variants]),
        ("speed-up", [times(c.speedup) if c else "baseline" for c in compared]),
        *_stage_rows(results),
        ("latency p50 / p90 / p99, s", [_latency(variant) for variant in variants]),
        ("WER, %", [f"{100 * variant.wer:.2f}" for variant in variants]),
        ("WER difference, points", [points(c.wer_delta) if c else "baseline" for c in compared]),
        ("word accuracy, %", [f"{100 * variant.word_accuracy:.2f}" for variant in variants]),
        ("raw WER, %", [f"{100 * variant.raw_wer:.2f}" for variant in variants]),
        ("size on disk, MB", [f"{variant.size_bytes / MB:.0f}" for variant in variants]),
        ("peak memory, MB", [f"{variant.peak_rss_bytes / MB:.0f}" for variant in variants]),
        ("load, s", [f"{variant.load_s:.1f}" for variant in variants]),
        *_cold_start_rows(variants),
        *_throughput_rows(variants),
        *_thread_rows(variants),
    ]


def _latency(variant: VariantResult) -> str:
    told = variant.latency_s
    return " / ".join("-" if one is None else f"{one:.2f}" for one in (told.p50, told.p90, told.p99))


def _throughput_rows(variants: Sequence[VariantResult]) -> list[tuple[str, list[str]]]:
    """Show the speed of each size of batches."""
    by_name = {v.name: {point.batch_size: point.rtfx for point in v.throughput} for v in variants}
    sizes = sorted({size for points in by_name.values() for size in points})
    return [
        (f"RTFx, {size} clips together", [_rate(by_name[v.name].get(size)) for v in variants])
        for size in sizes
    ]


def _thread_rows(variants: Sequence[VariantResult]) -> list[tuple[str, list[str]]]:
    """Show the speed with each number of threads."""
    by_name = {v.name: {point.threads: point.rtfx for point in v.thread_sweep} for v in variants}
    counts = sorted({count for points in by_name.values() for count in points})
    return [
        (
            f"RTFx, {count} thread{'' if count == 1 else 's'}",
            [_rate(by_name[v.name].get(count)) for v in variants],
        )
        for count in counts
    ]


def _rate(rtfx: float | None) -> str:
    return "-" if rtfx is None else f"{rtfx:.1f}"


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


SITTINGS = (
    "Times of different sittings were not taken in turns: a difference of speed includes the drift of the machine "
    "between them, which no interval covers."
)


def results_comparison_table(across: ResultsComparison) -> Table:
    """Show entries of several results, each against the one of the same name in the first."""
    has_times = any(entry.speedup is not None for entry in across.entries)
    table = Table(
        title="across results",
        title_justify="left",
        caption=SITTINGS if has_times else None,
        caption_justify="left",
    )
    table.add_column("results")
    table.add_column("entry")
    for label in (
        "RTFx",
        "against the first",
        "WER, %",
        "difference, points",
        "clips in both",
        "MB",
        "peak MB",
    ):
        table.add_column(label, justify="right")
    for entry in across.entries:
        table.add_row(
            entry.results,
            entry.entry,
            f"{entry.rtfx:.1f}",
            "" if entry.speedup is None else times(entry.speedup),
            f"{100 * entry.wer:.2f}",
            "" if entry.wer_delta is None else points(entry.wer_delta),
            "" if entry.n_clips is None else str(entry.n_clips),
            f"{entry.size_bytes / MB:.0f}",
            f"{entry.peak_rss_bytes / MB:.0f}",
        )
    return table


def history_table(past: Sequence[HistoryEntry]) -> Table:
    """Show what was measured before, a section for each entry under the same conditions, the latest last in it."""
    lines = group_series(past)
    has_hosts = len({line.conditions.host for line in lines}) > 1
    table = Table(title=f"{len(past)} measured entries", title_justify="left")
    for label in ("when", "model", "entry", *(("host",) if has_hosts else ()), "clips", "threads"):
        table.add_column(label)
    for label in ("RTFx", "speed-up", "WER, %", "difference, points", "MB"):
        table.add_column(label, justify="right")
    for line in lines:
        host = (line.conditions.host,) if has_hosts else ()
        for one in line.entries:
            table.add_row(
                f"{one.created:%Y-%m-%d %H:%M}",
                one.model,
                one.entry,
                *host,
                line.clips,
                str(one.threads),
                f"{one.rtfx:.1f}",
                "baseline" if one.speedup is None else times(one.speedup),
                f"{100 * one.wer:.2f}",
                "" if one.wer_delta is None else points(one.wer_delta),
                f"{one.size_bytes / MB:.0f}",
            )
        table.add_section()
    return table
