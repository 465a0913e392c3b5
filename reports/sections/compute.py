"""Tables of what the work is made of: stages, ceilings, the precision it runs in."""

from sottovoce.benchmark.schema.machine import RooflinePart
from sottovoce.benchmark.schema.precision import ComponentPrecision
from sottovoce.benchmark.schema.results import Results, VariantResult
from sottovoce.reports.sections.comparison import comparison_of
from sottovoce.reports.text.tables import Cell, Column, Group, Row, Table, optional, span, text_columns
from sottovoce.reports.text.units import NOT_MEASURED, fixed, milliseconds
from sottovoce.terms import Stage

STAGE_LABELS = {
    Stage.FEATURES: "Features",
    Stage.ENCODER: "Encoder",
    Stage.DECODER: "Decoder, first pass",
    Stage.DECODER_WITH_PAST: "Decoder with past, per token",
    Stage.OTHER: "Other",
}
"""The stages in the order in which they run, with what one call of each is."""
CEILING_LABELS = {
    RooflinePart.ENCODER_WINDOW: "Encoder, a window of 30 s",
    RooflinePart.DECODE_STEP: "Decode step",
}
_PRECISION_HEADINGS = ("Inference", "KV cache", "Execution mode", "Dynamic quantization", "Run-time nodes")


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
        columns=(*text_columns(_PRECISION_HEADINGS), Column(label="INT8 in the file", unit="nodes")),
        groups=tuple(
            Group(
                label=f"{variant.name}: {variant.precision.summary}",
                rows=tuple(
                    _precision_row(name, component, variant)
                    for name, component in variant.precision.components.items()
                ),
            )
            for variant in results.variants
            if variant.precision.components
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
            Column(label="RooflinePoint", unit="ms"),
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


def _stage_row(results: Results, variant: VariantResult, stage: Stage) -> Row:
    comparison = comparison_of(results, variant.name)
    speedup = None if comparison is None else comparison.stage_speedup.get(stage)
    call_s, stage_s = variant.call_s.get(stage), variant.stage_s.get(stage)
    total_s = sum(variant.stage_s.values())
    return Row(
        label=variant.name,
        cells=(
            optional(call_s, milliseconds),
            optional(stage_s, milliseconds),
            optional(stage_s if total_s else None, lambda s: fixed(100 * s / total_s, 1)),
            Cell(text=NOT_MEASURED if speedup is None else fixed(speedup.value)),
            Cell(text=NOT_MEASURED if speedup is None else span(speedup, fixed)),
        ),
    )


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


def _describe_groups(group_size: int) -> str:
    """Tell how many activations share a scale on the fly; torch gives the whole tensor one."""
    if group_size < 0:
        return "whole tensors"
    return f"groups of {group_size}" if group_size else "off"
