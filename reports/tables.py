"""The report's tables: rows of formatted cells, units in the headings."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sottovoce.accuracy import WordErrors
from sottovoce.benchmark.matched_pairs import MatchedPairs
from sottovoce.benchmark.results import (
    CeilingPart,
    ClipRow,
    ColdStart,
    Comparison,
    ComponentPrecision,
    Results,
    Stage,
    VariantResult,
)
from sottovoce.intervals import Interval
from sottovoce.reports.units import (
    NOT_MEASURED,
    fixed,
    megabytes,
    milliseconds,
    percent,
    signed_points,
    three_figures,
)

T = TypeVar("T")

STAGE_LABELS = {
    Stage.FEATURES: "Features",
    Stage.ENCODER: "Encoder",
    Stage.DECODER: "Decoder, first pass",
    Stage.DECODER_WITH_PAST: "Decoder with past, per token",
    Stage.OTHER: "Other",
}
"""The stages in the order in which they run, with what one call of each is."""
CEILING_LABELS = {
    CeilingPart.ENCODER_WINDOW: "Encoder, a window of 30 s",
    CeilingPart.DECODE_STEP: "Decode step",
}
_PRECISION_HEADINGS = ("Inference", "KV cache", "Execution mode", "Dynamic quantization", "Run-time nodes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A figure or a few words, with what qualifies it (an interval, counts) in a smaller line."""

    text: str
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row: what it is about, its unit where the columns have none, its cells."""

    label: str
    cells: tuple[Cell, ...]
    unit: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column's heading; figures are set to the right, text to the left."""

    label: str
    unit: str | None = None
    is_numeric: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rows under one heading; None for a table of a single group."""

    label: str | None
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table. `corner` heads the column of the row labels."""

    caption: str
    corner: str
    columns: tuple[Column, ...]
    groups: tuple[Group, ...]


def comparison_table(results: Results) -> Table:
    """Put every variant in a column, and what was measured of it in rows."""
    columns = tuple(
        Column(label=variant.name, unit="baseline" if variant.name == results.baseline else None)
        for variant in results.variants
    )
    return Table(
        caption="The variants side by side",
        corner="Measured",
        columns=columns,
        groups=(
            Group(label="Speed", rows=_speed_rows(results)),
            Group(label="Accuracy", rows=_accuracy_rows(results)),
            Group(label="Size and memory", rows=_size_rows(results)),
        ),
    )


def stage_table(results: Results) -> Table:
    """Put the variants under each stage: time of a call, time in a clip, speed-up."""
    return Table(
        caption="Time by stage",
        corner="Stage and variant",
        columns=(
            Column(label="Per call", unit="ms"),
            Column(label="Per clip", unit="ms"),
            Column(label="Share of the clip", unit="%"),
            Column(label="Speed-up", unit="times"),
            Column(label="Interval", unit="times"),
        ),
        groups=tuple(
            Group(
                label=label, rows=tuple(_stage_row(results, variant, stage) for variant in results.variants)
            )
            for stage, label in STAGE_LABELS.items()
            if any(stage in variant.stage_s or stage in variant.call_s for variant in results.variants)
        ),
    )


def precision_table(results: Results) -> Table:
    """Put what each compiled component computes in, as read back from it, in rows."""
    return Table(
        caption="Effective precision, read back from the compiled models",
        corner="Component",
        columns=(*_text_columns(_PRECISION_HEADINGS), Column(label="INT8 in the file", unit="nodes")),
        groups=tuple(
            Group(
                label=f"{variant.name}: {variant.precision.label}",
                rows=tuple(
                    _precision_row(name, component, variant)
                    for name, component in variant.precision.components.items()
                ),
            )
            for variant in results.variants
            if variant.precision.components
        ),
    )


def peers_table(results: Results) -> Table | None:
    """Put the entries of other engines in rows, against our first variant; None without such."""
    if not results.peers:
        return None
    return Table(
        caption=f"{results.peers[0].subject} against other engines, on the same clips",
        corner="Against",
        columns=(Column(label="Speed-up", unit="times"), Column(label="WER difference", unit="points")),
        groups=(
            Group(
                label=None,
                rows=tuple(
                    Row(
                        label=peer.peer,
                        cells=(
                            Cell(text=fixed(peer.speedup.value), note=span(peer.speedup, fixed)),
                            Cell(
                                text=signed_points(peer.wer_delta.value),
                                note=span(peer.wer_delta, signed_points),
                            ),
                        ),
                    )
                    for peer in results.peers
                ),
            ),
        ),
    )


def ceilings_table(results: Results) -> Table | None:
    """Put what this machine can do at most beside what was achieved; None where it was not asked for."""
    if results.machine is None:
        return None
    return Table(
        caption="Against the ceiling of this machine",
        corner="Variant and part",
        columns=(
            Column(label="Ceiling", unit="ms"),
            Column(label="Achieved", unit="ms"),
            Column(label="Share", unit="%"),
        ),
        groups=tuple(
            Group(
                label=variant.name,
                rows=tuple(
                    Row(
                        label=CEILING_LABELS[ceiling.part],
                        cells=(
                            Cell(text=milliseconds(ceiling.ceiling_s)),
                            Cell(text=milliseconds(ceiling.achieved_s)),
                            Cell(text=fixed(100 * ceiling.share, 0)),
                        ),
                    )
                    for ceiling in variant.ceilings
                ),
            )
            for variant in results.variants
            if variant.ceilings
        ),
    )


def left_out_table(results: Results) -> Table | None:
    """List the clips that were not used, with the reason; None if all were."""
    if not results.dataset.left_out:
        return None
    return _list_table(
        "Clips left out before measuring",
        ("Reason",),
        (Row(label=clip.clip_id, cells=(Cell(text=clip.reason),)) for clip in results.dataset.left_out),
    )


def failures_table(rows: Sequence[ClipRow]) -> Table | None:
    """List the clips that failed under a variant, with the error; None if none did."""
    failed = [
        Row(label=row.clip_id, cells=(Cell(text=row.variant), Cell(text=row.error)))
        for row in rows
        if row.error is not None
    ]
    return _list_table("Clips that failed", ("Variant", "Error"), failed) if failed else None


def comparison_of(results: Results, variant: str) -> Comparison | None:
    """Return a variant's comparison; None for the baseline."""
    return next((comparison for comparison in results.comparisons if comparison.variant == variant), None)


def describe_errors(words: WordErrors) -> str:
    """Spell the counts behind a WER: 31 S, 12 D, 9 I of 1,204."""
    return f"{short_errors(words)} of {words.reference_words:,}"


def span(interval: Interval, form: Callable[[float], str]) -> str:
    """Spell the ends of an interval."""
    return f"{form(interval.low)} to {form(interval.high)}"


def _speed_rows(results: Results) -> tuple[Row, ...]:
    return (
        _row(results, "RTFx", lambda v: Cell(text=three_figures(v.rtfx)), unit="s of audio per s"),
        _compared_row(
            results,
            "Speed-up",
            lambda c: Cell(text=fixed(c.speedup.value), note=span(c.speedup, fixed)),
            unit="times",
        ),
        _row(
            results, "Latency, median", lambda v: Cell(text=milliseconds(v.latency_s.p50)), unit="ms per clip"
        ),
        _row(
            results,
            "Latency, 90th percentile",
            lambda v: Cell(text=milliseconds(v.latency_s.p90)),
            unit="ms per clip",
        ),
        _row(
            results, "Latency, mean", lambda v: Cell(text=milliseconds(v.latency_s.mean)), unit="ms per clip"
        ),
        _row(results, "Load time", lambda v: Cell(text=three_figures(v.load_s)), unit="s"),
        _row(results, "First transcription", _first_transcription, unit="ms"),
        *_cold_start_rows(results),
    )


def _accuracy_rows(results: Results) -> tuple[Row, ...]:
    return (
        _row(results, "WER", lambda v: Cell(text=percent(v.wer), note=describe_errors(v.words)), unit="%"),
        _compared_row(
            results,
            "Change in WER",
            lambda c: Cell(text=signed_points(c.wer_delta.value), note=span(c.wer_delta, signed_points)),
            unit="points",
        ),
        _row(results, "Word accuracy", lambda v: Cell(text=percent(v.word_accuracy)), unit="%"),
        _row(
            results,
            "Raw WER",
            lambda v: Cell(text=percent(v.raw_wer), note=describe_errors(v.raw_words)),
            unit="%",
        ),
        _compared_row(
            results,
            "Transcripts changed",
            lambda c: Cell(text=f"{c.n_changed:,}", note=f"{c.n_worse:,} worse, {c.n_better:,} better"),
            unit="clips",
        ),
        _compared_row(
            results, "Clips with no more errors", lambda c: Cell(text=_share(c.no_regression_rate)), unit="%"
        ),
        _compared_row(
            results,
            "Matched pairs",
            lambda c: Cell(text=_p_value(c.matched_pairs), note=_segments(c.matched_pairs)),
            unit="p",
        ),
        _row(results, "Tokens generated", lambda v: Cell(text=f"{v.tokens:,}")),
    )


def _size_rows(results: Results) -> tuple[Row, ...]:
    return (
        _row(results, "Size on disk", lambda v: Cell(text=megabytes(v.size_bytes)), unit="MB"),
        _compared_row(results, "Size by baseline", lambda c: Cell(text=fixed(c.size_ratio)), unit="times"),
        _row(results, "Peak memory", lambda v: Cell(text=megabytes(v.peak_rss_bytes)), unit="MB"),
        _row(results, "Effective precision", lambda v: Cell(text=v.precision.label)),
        _row(results, "Engine", lambda v: Cell(text=v.engine)),
    )


def _row(
    results: Results, label: str, read: Callable[[VariantResult], Cell], *, unit: str | None = None
) -> Row:
    return Row(label=label, unit=unit, cells=tuple(read(variant) for variant in results.variants))


def _compared_row(results: Results, label: str, read: Callable[[Comparison], Cell], *, unit: str) -> Row:
    """Read a figure that the baseline has none of."""

    def read_variant(variant: VariantResult) -> Cell:
        comparison = comparison_of(results, variant.name)
        return Cell(text=NOT_MEASURED) if comparison is None else read(comparison)

    return _row(results, label, read_variant, unit=unit)


def _cold_start_rows(results: Results) -> tuple[Row, ...]:
    if all(variant.cold_start is None for variant in results.variants):
        return ()
    return (
        _row(results, "Cold start", lambda v: _of_cold_start(v, _cold_seconds), unit="s"),
        _row(results, "Cold start, peak memory", lambda v: _of_cold_start(v, _cold_memory), unit="MB"),
    )


def _of_cold_start(variant: VariantResult, read: Callable[[ColdStart], Cell]) -> Cell:
    return Cell(text=NOT_MEASURED) if variant.cold_start is None else read(variant.cold_start)


def _cold_seconds(start: ColdStart) -> Cell:
    return Cell(
        text=fixed(start.median_s), note=f"{fixed(min(start.seconds))} to {fixed(max(start.seconds))}"
    )


def _cold_memory(start: ColdStart) -> Cell:
    return Cell(text=megabytes(start.peak_rss_bytes))


def _first_transcription(variant: VariantResult) -> Cell:
    return Cell(text=milliseconds(variant.warm_up_s[0]) if variant.warm_up_s else NOT_MEASURED)


def _stage_row(results: Results, variant: VariantResult, stage: Stage) -> Row:
    comparison = comparison_of(results, variant.name)
    speedup = None if comparison is None else comparison.stage_speedup.get(stage)
    call_s, stage_s = variant.call_s.get(stage), variant.stage_s.get(stage)
    total_s = sum(variant.stage_s.values())
    return Row(
        label=variant.name,
        cells=(
            _optional(call_s, milliseconds),
            _optional(stage_s, milliseconds),
            _optional(stage_s if total_s else None, lambda s: fixed(100 * s / total_s, 1)),
            Cell(text=NOT_MEASURED if speedup is None else fixed(speedup.value)),
            Cell(text=NOT_MEASURED if speedup is None else span(speedup, fixed)),
        ),
    )


def _optional(value: float | None, form: Callable[[float], str]) -> Cell:
    return Cell(text=NOT_MEASURED if value is None else form(value))


def short_errors(words: WordErrors) -> str:
    """Tell substitutions, deletions and insertions."""
    return f"{words.substitutions:,} S, {words.deletions:,} D, {words.insertions:,} I"


def _precision_row(name: str, component: ComponentPrecision, variant: VariantResult) -> Row:
    group_size = component.dynamic_quantization_group_size
    return Row(
        label=name,
        cells=(
            Cell(text=component.inference),
            Cell(text=component.kv_cache),
            Cell(text=component.execution_mode),
            Cell(text=_describe_groups(group_size)),
            Cell(text=", ".join(f"{number:,} {precision}" for precision, number in component.nodes.items())),
            Cell(text=f"{variant.int8_nodes.get(name, 0):,}"),
        ),
    )


def _share(fraction: float | None) -> str:
    return NOT_MEASURED if fraction is None else percent(fraction)


def _p_value(test: MatchedPairs | None) -> str:
    return NOT_MEASURED if test is None or test.p_value is None else fixed(test.p_value, 3)


def _segments(test: MatchedPairs | None) -> str | None:
    return None if test is None else f"{test.n_segments:,} segments with errors"


def _describe_groups(group_size: int) -> str:
    """Tell how many activations share a scale on the fly; torch gives the whole tensor one."""
    if group_size < 0:
        return "whole tensors"
    return f"groups of {group_size}" if group_size else "off"


def _list_table(caption: str, columns: Sequence[str], rows: Iterable[Row]) -> Table:
    return Table(
        caption=caption,
        corner="Clip",
        columns=_text_columns(columns),
        groups=(Group(label=None, rows=tuple(rows)),),
    )


def _text_columns(labels: Iterable[str]) -> tuple[Column, ...]:
    return tuple(Column(label=label, is_numeric=False) for label in labels)


def _unique(values: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(values))
