"""Sensitivity: the harm and the time saved of each block quantized alone, and the blocks to keep float."""

import shlex
from collections.abc import Sequence

from sottovoce.benchmark.schema.results import Results
from sottovoce.optimize.sensitivity.report import (
    IMPLICATION_LABELS,
    KIND_LABELS,
    BlockKind,
    BlockResult,
    Extent,
    Figures,
    Implication,
    SensitivityReport,
)
from sottovoce.reports.charts.chart import BarPair, Chart, ChartText, PairedBarChart
from sottovoce.reports.sections import Listing, Section
from sottovoce.reports.text.tables import Cell, Column, Row, RowGroup, Table, make_row, optional, text_columns
from sottovoce.reports.text.units import MS_PER_S, count, fixed, percent, two_figures
from sottovoce.terms import Component

COMPONENT_LABELS = {
    Component.ENCODER: "Encoder",
    Component.DECODER: "Decoder",
    Component.DECODER_WITH_PAST: "Decoder with past",
}
EXTENT_LABELS = {
    Extent.NONE: "Nothing quantized",
    Extent.ALL: "Everything quantized",
    Extent.COMPUTED: "Everything, computed as the recipe says",
}
N_BLOCKS_SHOWN = 40
"""In the charts; the table has all."""
MNAT_PER_NAT = 1e3
_SERIES = {kind: index for index, kind in enumerate(KIND_LABELS, start=1)}


def sensitivity_section(results: Results) -> Section | None:
    """Format a study; None if there was none."""
    report = results.sensitivity
    if report is None:
        return None
    return Section(
        heading="Sensitivity",
        opening=_describe(report),
        charts=_charts(report),
        tables=(blocks_table(report),),
        listings=advice_listings(report),
    )


def _describe(report: SensitivityReport) -> str:
    worst = [block for block in report.by_harm if block.implies is Implication.KEEP_FLOAT]
    blocks = count(len(report.blocks), "block")
    if not worst:
        return f"Of {blocks} quantized alone, none costs more than it saves."
    first = worst[0]
    return (
        f"Of {blocks} quantized alone, {len(worst)} {'costs more than it saves' if len(worst) == 1 else 'cost more than they save'}; "
        f"most of all the {_name(first)}: {fixed(100 * first.divergence_share, 0)} % of the divergence, "
        f"{fixed(100 * first.saving_share, 0)} % of the time saved."
    )


def _name(block: BlockResult) -> str:
    return f"{COMPONENT_LABELS[block.component].lower()} {block.label}"


def _notes(report: SensitivityReport) -> tuple[str, ...]:
    clips = f"{count(report.n_clips, 'clip')} of {report.speech}"
    recorded = "not recorded for calibration" if report.unheard else "that were recorded for calibration"
    return (
        f"Blocks of {report.variant}, one at a time, everything else float ({report.reference}).",
        (
            f"KL divergence and top-1 disagreement: {report.n_tokens:,} tokens that the float model generated for "
            f"{clips}, {recorded}, computed in f32; 1 mnat is a thousandth of a nat; ± is the standard error over clips."
        ),
        (
            f"Time saved: on {count(report.n_timed_clips, 'clip')}, up to {count(report.max_rounds, 'round')} in turns "
            f"with the float component (encoder {_ms(report.encoder_s)}, decoder {_ms(report.decoder_s)} ms a clip), in "
            f"{report.inference_precision} with {count(report.threads, 'thread')}; quartiles over rounds. A block alone "
            "also pays for conversions around it: the savings of single blocks add up to less than that of all together."
        ),
        f"Ranges of single blocks come from {count(report.n_calibration_clips, 'recorded clip')}.",
        (
            f"To stay float: at least {fixed(100 * report.min_divergence_share, 0)} % of the divergence of all blocks, "
            f"and {fixed(report.min_cost_ratio, 0)} times as large a share of it as of the time saved."
        ),
        *(f"{note[:1].upper()}{note[1:]}." for note in report.notes),
    )


def advice_listings(report: SensitivityReport) -> tuple[Listing, ...]:
    """List the nodes to keep float of each component, for a recipe and for the command line."""
    return tuple(
        Listing(
            title=f"{COMPONENT_LABELS[advice.component]}: keep {', '.join(advice.blocks)} float",
            blocks=(advice.recipe, f"--set {shlex.quote(advice.override)}"),
        )
        for advice in report.advice
    )


def blocks_table(report: SensitivityReport) -> Table:
    """List the blocks, the most harmful first, then the whole model."""
    return Table(
        caption="Blocks quantized alone, most harmful first",
        corner="Quantized",
        columns=(
            Column("KL divergence", "mnat"),
            Column("Of all", "%"),
            Column("Top-1 disagreement", "%"),
            Column("Encoder's error", "%"),
            Column("Saved", "ms a clip"),
            Column("Of all", "%"),
            *text_columns("Implies"),
        ),
        groups=(
            RowGroup(label="One block", rows=tuple(map(_block_row, report.by_harm))),
            RowGroup(
                label="The whole model",
                rows=tuple(
                    make_row(EXTENT_LABELS[whole.extent], *_cells(whole), "") for whole in report.wholes
                ),
            ),
        ),
        notes=_notes(report),
    )


def _block_row(block: BlockResult) -> Row:
    return make_row(
        f"{COMPONENT_LABELS[block.component]}, {block.label}",
        *_cells(block, _share(block.divergence_share), _share(block.saving_share)),
        IMPLICATION_LABELS[block.implies],
    )


def _cells(found: Figures, divergence_share: str = "", saving_share: str = "") -> tuple[Cell | str, ...]:
    return (
        Cell(_mnat(found.divergence), f"± {_mnat(found.divergence_error)}"),
        divergence_share,
        percent(found.flips),
        optional(found.output_error, _share),
        Cell(_ms(found.saved_s), f"{_ms(found.saved_low_s)} to {_ms(found.saved_high_s)}"),
        saving_share,
    )


def _mnat(nats: float) -> str:
    return two_figures(MNAT_PER_NAT * nats)


def _ms(seconds: float) -> str:
    return two_figures(MS_PER_S * seconds)


def _share(fraction: float) -> str:
    return two_figures(100 * fraction)


def _charts(report: SensitivityReport) -> tuple[Chart, ...]:
    """Draw a chart for each component, all to the same scales."""
    shown = frozenset(id(block) for block in report.by_harm[:N_BLOCKS_SHOWN])
    blocks = [block for block in report.blocks if id(block) in shown]
    savings = [MS_PER_S * block.saved_s for block in blocks]
    limits = (min((*savings, 0.0)), max((*savings, 0.0)) or 1.0)
    highest = max((MNAT_PER_NAT * block.divergence for block in blocks), default=0.0) or 1.0
    return tuple(
        _chart(component, of_component, left_limit=highest, right_limits=limits)
        for component in Component
        if (of_component := [block for block in blocks if block.component is component])
    )


def _chart(
    component: Component,
    blocks: Sequence[BlockResult],
    *,
    left_limit: float,
    right_limits: tuple[float, float],
) -> Chart:
    pairs = tuple(_pair(block) for block in blocks)
    figures = "; ".join(f"{pair.label}: {pair.left_text} mnat, {pair.right_text} ms" for pair in pairs)
    label = COMPONENT_LABELS[component]
    return PairedBarChart(
        text=ChartText(
            name=f"sensitivity-{component}",
            title=f"{label} by layer: divergence and time saved",
            description=f"Divergence and milliseconds saved per clip when a block of the {label.lower()} alone is "
            f"quantized, by layer. {figures}.",
            axis="KL divergence, mnat",
        ),
        right_axis="saved, ms",
        pairs=pairs,
        kinds=_kinds(blocks),
        left_limit=left_limit,
        right_limits=right_limits,
    )


def _kinds(blocks: Sequence[BlockResult]) -> tuple[tuple[int, str], ...]:
    present = {block.kind for block in blocks}
    return tuple((_SERIES[kind], KIND_LABELS[kind]) for kind in BlockKind if kind in present)


def _pair(block: BlockResult) -> BarPair:
    kind = KIND_LABELS[block.kind]
    return BarPair(
        label=kind if block.layer is None else f"{block.layer} {kind}",
        left=MNAT_PER_NAT * block.divergence,
        left_text=_mnat(block.divergence),
        right=MS_PER_S * block.saved_s,
        right_text=_ms(block.saved_s),
        series=_SERIES[block.kind],
    )
