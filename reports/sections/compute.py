"""Parts of the work: stages, the roofline of the machine, the precision that runs."""

from sottovoce.benchmark.schema.machine import RooflinePart
from sottovoce.benchmark.schema.precision import ComponentPrecision
from sottovoce.benchmark.schema.results import Results, VariantResult
from sottovoce.machine.environment import MachineRates
from sottovoce.reports.sections.comparison import comparison_of
from sottovoce.reports.text.tables import Column, Row, RowGroup, Table, make_row, optional, span, text_columns
from sottovoce.reports.text.units import NOT_MEASURED, count, milliseconds, times, two_figures
from sottovoce.terms import Stage

STAGE_LABELS = {
    Stage.FEATURES: "Features",
    Stage.ENCODER: "Encoder",
    Stage.DECODER: "Decoder, first pass",
    Stage.DECODER_WITH_PAST: "Decoder with past, per token",
    Stage.OTHER: "Other",
}
"""The stages in the order in which they run, with what one call of each is."""
PART_LABELS = {
    RooflinePart.ENCODER_WINDOW: "Encoder, a window of 30 s",
    RooflinePart.DECODE_STEP: "Decode step",
}
GIGA = 1e9


def stage_table(results: Results) -> Table:
    """Put the variants under each stage: time of a call, time in a clip, speed-up."""
    return Table(
        caption="Time by stage",
        corner="Stage and variant",
        columns=(
            Column("Per call", "ms"),
            Column("Per clip", "ms"),
            Column("Share of the clip", "%"),
            Column("Speed-up", "times"),
            Column("Interval", "times"),
        ),
        groups=tuple(
            RowGroup(
                label=label, rows=tuple(_stage_row(results, variant, stage) for variant in results.variants)
            )
            for stage, label in STAGE_LABELS.items()
            if any(stage in variant.stage_s or stage in variant.call_s for variant in results.variants)
        ),
    )


def _stage_row(results: Results, variant: VariantResult, stage: Stage) -> Row:
    comparison = comparison_of(results, variant.name)
    speedup = None if comparison is None else comparison.stage_speedup.get(stage)
    stage_s = variant.stage_s.get(stage)
    total_s = sum(variant.stage_s.values())
    return make_row(
        variant.name,
        optional(variant.call_s.get(stage), milliseconds),
        optional(stage_s, milliseconds),
        optional(stage_s if total_s else None, lambda s: two_figures(100 * s / total_s)),
        NOT_MEASURED if speedup is None else times(speedup.value),
        NOT_MEASURED if speedup is None else span(speedup, times),
    )


def roofline_table(results: Results) -> Table | None:
    """Compare times with the fastest that this machine could be; None in results without its rates."""
    if results.machine is None:
        return None
    return Table(
        caption="Against the roofline of this machine",
        corner="Variant and part",
        columns=(Column("Roofline", "ms"), Column("Achieved", "ms"), Column("Efficiency", "%")),
        groups=tuple(
            RowGroup(
                label=variant.name,
                rows=tuple(
                    make_row(
                        PART_LABELS[bound.part],
                        milliseconds(bound.ceiling_s),
                        milliseconds(bound.achieved_s),
                        two_figures(100 * bound.share),
                    )
                    for bound in variant.ceilings
                ),
            )
            for variant in results.variants
            if variant.ceilings
        ),
        notes=_describe_rates(results.machine),
    )


def _describe_rates(machine: MachineRates) -> tuple[str, ...]:
    rates = ", ".join(f"{kind} {two_figures(rate / GIGA)}" for kind, rate in machine.macs_per_s.items())
    return (
        f"Measured in a large matrix product: {rates} billion multiply-accumulates a second.",
        f"Read from memory: {two_figures(machine.bytes_per_s / GIGA)} GB a second.",
        "At an efficiency of 100 % nothing is left to gain; weights that stay in the cache can exceed it.",
    )


def precision_table(results: Results) -> Table:
    """List the precision of each compiled component, as read back from it."""
    return Table(
        caption="Effective precision, read back from the compiled models",
        corner="Component",
        columns=(
            *text_columns(
                "Inference", "KV cache", "Execution mode", "Dynamic quantization", "Run-time nodes"
            ),
            Column("INT8 in the file", "nodes"),
        ),
        groups=tuple(
            RowGroup(
                label=f"{variant.name}: {variant.precision.summary}",
                rows=tuple(
                    _precision_row(name, component, variant)
                    for name, component in variant.precision.components.items()
                ),
            )
            for variant in results.variants
            if variant.precision.components
        ),
        notes=_describe_streams(results),
    )


def _precision_row(name: str, component: ComponentPrecision, variant: VariantResult) -> Row:
    return make_row(
        name,
        component.inference,
        component.kv_cache,
        component.execution_mode,
        _describe_groups(component.dynamic_quantization_group_size),
        ", ".join(f"{number:,} {precision}" for precision, number in component.nodes.items()),
        f"{variant.int8_nodes.get(name, 0):,}",
    )


def _describe_groups(group_size: int) -> str:
    """Name the activations that share a scale when quantized on the fly; torch gives the whole tensor one."""
    if group_size < 0:
        return "whole tensors"
    return f"groups of {group_size}" if group_size else "off"


def _describe_streams(results: Results) -> tuple[str, ...]:
    """Name the threads and streams that the variants run in, once for those that agree."""
    names: dict[str, list[str]] = {}
    for variant in results.variants:
        precision = variant.precision
        setting = f"{count(precision.threads, 'thread')} in {count(precision.streams, 'stream')}"
        names.setdefault(setting, []).append(variant.name)
    return tuple(f"On {setting}: {', '.join(variants)}." for setting, variants in names.items())
