"""The report's section on sensitivity."""

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.results import RESULTS_SCHEMA_VERSION, Results, read_results
from sottovoce.optimize.sensitivity.report import (
    Advice,
    BlockKind,
    BlockResult,
    Extent,
    SensitivityReport,
    WholeResult,
)
from sottovoce.optimize.sensitivity.rule import Cost, imply
from sottovoce.reports.charts.chart import PairedBarChart
from sottovoce.reports.charts.svg import draw
from sottovoce.reports.formats.html import legend, render_report
from sottovoce.reports.sections.sensitivity import N_BLOCKS_SHOWN, sensitivity_section
from sottovoce.reports.view import build_view
from sottovoce.terms import Component, InferencePrecision

PAYLOAD = '"><script>alert(1)</script>{{ 7 * 7 }}\x00'
Save = Callable[[Results, tuple[ClipRow, ...], Path], Path]

KINDS = {
    Component.ENCODER: (BlockKind.SELF_ATTENTION, BlockKind.FFN),
    Component.DECODER: (BlockKind.SELF_ATTENTION, BlockKind.CROSS_ATTENTION, BlockKind.FFN),
}


def parts(n_layers: int) -> list[tuple[Component, BlockKind, int | None]]:
    layers = [
        (component, kind, layer)
        for component, kinds in KINDS.items()
        for layer in range(n_layers)
        for kind in kinds
    ]
    return [
        (Component.ENCODER, BlockKind.CONVOLUTIONS, None),
        *layers,
        (Component.DECODER, BlockKind.OUTPUT, None),
    ]


def cost_of(component: Component, kind: BlockKind, layer: int | None) -> Cost:
    """Return figures like those of whisper-tiny.en: the last FFN of the encoder costs most."""
    if component is Component.DECODER:
        return Cost(divergence=2e-5, saved_s=0.009 if kind is BlockKind.OUTPUT else 0.0004)
    if (kind, layer) == (BlockKind.FFN, 3):
        return Cost(divergence=0.0135, saved_s=0.0012)
    return Cost(divergence=1.6e-4, saved_s=0.0021 if kind is BlockKind.CONVOLUTIONS else -0.0006)


def build_report(n_layers: int = 4, name: str = "int8-fast") -> SensitivityReport:
    found = parts(n_layers)
    costs = [cost_of(*part) for part in found]
    figures = {"flips": 0.004, "divergence_error": 1e-5}
    return SensitivityReport(
        variant=name,
        reference="fp32-stateful",
        speech=name,
        n_clips=24,
        n_tokens=690,
        unheard=True,
        n_calibration_clips=16,
        inference_precision=InferencePrecision.BF16,
        threads=2,
        n_timed_clips=4,
        max_rounds=9,
        encoder_s=0.055,
        decoder_s=0.06,
        min_divergence_share=0.05,
        min_cost_ratio=3.0,
        blocks=tuple(
            BlockResult(
                component=component,
                kind=kind,
                layer=layer,
                pattern=f".*{layer}",
                n_weights=2,
                output_error=0.02 if component is Component.ENCODER else None,
                divergence=cost.divergence,
                saved_s=cost.saved_s,
                saved_low_s=cost.saved_s - 0.001,
                saved_high_s=cost.saved_s + 0.001,
                divergence_share=verdict.divergence_share,
                saving_share=verdict.saving_share,
                implies=verdict.implies,
                **figures,
            )
            for (component, kind, layer), cost, verdict in zip(found, costs, imply(costs), strict=True)
        ),
        wholes=tuple(
            WholeResult(
                extent=extent,
                divergence=0.0 if extent is Extent.NONE else 0.016,
                output_error=None if extent is Extent.NONE else 0.06,
                saved_s=0.0,
                saved_low_s=-0.001,
                saved_high_s=0.001,
                **figures,
            )
            for extent in Extent
        ),
        advice=(
            Advice(
                component=Component.ENCODER,
                blocks=("layer 3 FFN",),
                recipe=f"quantize:\n  components: {name}\n",
                override=f"quantize.components.encoder.keep_float={name}",
            ),
        ),
        notes=(f"decoder: nothing for {name}",),
    )


@pytest.fixture
def studied(results: Results) -> Results:
    return results.model_copy(update={"sensitivity": build_report()})


def test_results_without_a_study_have_no_section(results: Results, rows: tuple[ClipRow, ...]) -> None:
    assert sensitivity_section(results) is None
    assert "<h2>Sensitivity</h2>" not in render_report(build_view(results, rows))


def test_the_section_names_the_worst_block_and_the_nodes_to_keep_float(
    studied: Results, rows: tuple[ClipRow, ...]
) -> None:
    page = " ".join(render_report(build_view(studied, rows)).split())
    assert "<h2>Sensitivity</h2>" in page
    assert "Of 22 blocks quantized alone, 1 costs more than it saves" in page
    assert "encoder layer 3 FFN: 90 % of the divergence" in page
    assert "<caption>Blocks quantized alone, most harmful first" in page
    assert "Encoder: keep layer 3 FFN float" in page
    assert "--set quantize.components.encoder.keep_float=int8-fast" in page
    assert page.count("<svg") == 7 + 2


def test_the_table_holds_every_block_by_harm_and_then_the_whole_model(studied: Results) -> None:
    view = sensitivity_section(studied)
    assert view is not None
    blocks, whole = view.tables[0].groups
    assert len(blocks.rows) == 22
    assert blocks.rows[0].label == "Encoder, layer 3 FFN"
    assert whole.rows[0].label == "Nothing quantized"
    assert {len(row.cells) for group in view.tables[0].groups for row in group.rows} == {
        len(view.tables[0].columns)
    }


def test_a_study_without_anything_to_keep_float_says_so(studied: Results) -> None:
    assert studied.sensitivity is not None
    blocks = tuple(
        block for block in studied.sensitivity.blocks if (block.kind, block.layer) != (BlockKind.FFN, 3)
    )
    calm = studied.model_copy(
        update={"sensitivity": studied.sensitivity.model_copy(update={"blocks": blocks, "advice": ()})}
    )
    view = sensitivity_section(calm)
    assert view is not None
    assert "none costs more than it saves" in str(view.opening)
    assert view.listings == ()


def test_charts_describe_their_figures_and_share_their_scales(studied: Results) -> None:
    view = sensitivity_section(studied)
    assert view is not None
    for chart in view.charts:
        assert isinstance(chart, PairedBarChart)
        root = ET.fromstring(draw(chart))  # noqa: S314 our own
        texts = {element.tag.rpartition("}")[2]: "".join(element.itertext()) for element in root[:2]}
        assert texts["title"] == chart.text.title
        assert all(f"{pair.label}: {pair.left_text} mnat" in texts["desc"] for pair in chart.pairs)
    encoder, decoder = view.charts
    assert isinstance(encoder, PairedBarChart)
    assert isinstance(decoder, PairedBarChart)
    assert (encoder.left_limit, encoder.right_limits) == (decoder.left_limit, decoder.right_limits)
    assert encoder.right_limits[0] < 0 < encoder.right_limits[1]


def test_the_legend_names_the_kinds_that_are_drawn(studied: Results) -> None:
    view = sensitivity_section(studied)
    assert view is not None
    encoder, decoder = (dict(legend(chart)) for chart in view.charts)
    assert list(encoder.values()) == ["convolutions", "self-attention", "FFN"]
    assert list(decoder.values()) == ["self-attention", "cross-attention", "FFN", "output layer"]
    assert {swatch: name for swatch, name in encoder.items() if swatch in decoder} == {
        swatch: name for swatch, name in decoder.items() if swatch in encoder
    }


def test_charts_of_a_large_model_show_the_worst_blocks_only(results: Results) -> None:
    report = build_report(n_layers=32)
    view = sensitivity_section(results.model_copy(update={"sensitivity": report}))
    assert view is not None
    drawn = [chart for chart in view.charts if isinstance(chart, PairedBarChart)]
    assert sum(len(chart.pairs) for chart in drawn) == N_BLOCKS_SHOWN
    assert any(pair.label == "3 FFN" for pair in drawn[0].pairs)
    assert len(view.tables[0].groups[0].rows) == len(report.blocks)


def test_hostile_names_are_inert(results: Results, rows: tuple[ClipRow, ...]) -> None:
    page = render_report(
        build_view(results.model_copy(update={"sensitivity": build_report(name=PAYLOAD)}), rows)
    )
    assert page.count("<script") == 1  # our own
    assert "\x00" not in page
    assert "&lt;script&gt;" in page
    assert "{{ 7 * 7 }}" in page


def test_results_with_a_study_survive_the_disk(
    studied: Results, rows: tuple[ClipRow, ...], save: Save, tmp_path: Path
) -> None:
    assert read_results(save(studied, rows, tmp_path / "results"))[0] == studied


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5])
def test_results_of_an_earlier_version_can_be_read(
    version: int, results: Results, rows: tuple[ClipRow, ...], save: Save, tmp_path: Path
) -> None:
    folder = save(results, rows, tmp_path / "results")
    path = folder / "results.json"
    text = path.read_text(encoding="utf-8").replace(
        f'"schema_version":{RESULTS_SCHEMA_VERSION}', f'"schema_version":{version}'
    )
    path.write_text(text.replace('"sensitivity":null,', ""), encoding="utf-8")
    assert read_results(folder)[0] == results.model_copy(update={"schema_version": version})
