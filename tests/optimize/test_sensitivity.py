"""Blocks of the tiny model, quantized one at a time."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openvino
import pytest
from rich.console import Console

from sottovoce.benchmark.run import benchmark
from sottovoce.benchmark.spec import BenchmarkSpec
from sottovoce.calibrate.store import CalibrationStore
from sottovoce.cli.inspection import inspect_run
from sottovoce.cli.tables import run_lines, sensitivity_lines, sensitivity_table
from sottovoce.errors import InputError, SpecError, StageError
from sottovoce.optimize.checks.teacher_forcing import ClipComparison, Comparison
from sottovoce.optimize.openvino.graph import count_int8, quantized_weight_names
from sottovoce.optimize.openvino.quantize_graph import kept_names, quantize_graph
from sottovoce.optimize.pipeline import quantize_again
from sottovoce.optimize.sensitivity.bench import divergence_error
from sottovoce.optimize.sensitivity.blocks import ModelBlock, alone, check_alone, find_blocks
from sottovoce.optimize.sensitivity.report import (
    BlockKind,
    Extent,
    SensitivityReport,
    is_current,
    read_current_sensitivity,
    read_sensitivity,
)
from sottovoce.optimize.sensitivity.sensitivity import SensitivitySpec, measure_sensitivity
from sottovoce.progress import Advance, Silent
from sottovoce.recipes.load import load_recipe, override_recipe
from sottovoce.recipes.recipe import ComponentQuantization, KeepFloat
from sottovoce.reference_pipeline import quiet_libraries, quiet_output
from sottovoce.runs import Run, check_files, read_run
from sottovoce.runtime.model.layout import component_path
from sottovoce.speech.sets import read_speech
from sottovoce.storage.artifacts import read_manifest
from sottovoce.terms import Component, InstructionSet
from tests.support.tones import write_tone_set

SPEC = SensitivitySpec(n_clips=2, n_calibration_clips=2, threads=1)

ENCODER = ["convolutions", "0 self_attention", "0 ffn", "1 self_attention", "1 ffn"]
DECODER = [f"{layer} {kind}" for layer in (0, 1) for kind in ("self_attention", "cross_attention", "ffn")]


class Recorder(Silent):
    """Keeps notes, and raises in the middle of a step."""

    def __init__(self, interrupted: str | None = None) -> None:
        self.notes: list[str] = []
        self.interrupted = interrupted

    def note(self, text: str) -> None:
        self.notes.append(text)

    @contextmanager
    def progress(self, what: str, total: int | None) -> Iterator[Advance]:  # noqa: ARG002 - of the protocol
        def advance() -> None:
            if self.interrupted is not None and self.interrupted in what:
                raise KeyboardInterrupt

        yield advance


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve tones; the run was calibrated with the first of them."""
    return write_tone_set(tmp_path_factory.mktemp("tones"), n_clips=12, duration_s=3.0)


@pytest.fixture(scope="module")
def run(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Hold a run with the variants int8 and int8-fast."""
    folder = tmp_path_factory.mktemp("sensitivity") / "run"
    shutil.copytree(tiny_run, folder)
    return quantize_again(read_run(folder), load_recipe("int8-fast"), Silent(), as_own=True)


@pytest.fixture(scope="module")
def stateful(run: Run, speech: Path) -> SensitivityReport:
    return measure_sensitivity(run, read_speech(str(speech)), SPEC, Silent())


def graph(folder: Path, component: Component) -> Any:
    return openvino.Core().read_model(component_path(folder, component))


def label(block: ModelBlock) -> str:
    return f"{block.kind}" if block.layer is None else f"{block.layer} {block.kind}"


@pytest.mark.parametrize(
    ("variant", "component", "expected", "n_weights"),
    [
        ("fp32", Component.ENCODER, ENCODER, 14),
        ("fp32", Component.DECODER, [*DECODER, "output"], 21),
        ("fp32", Component.DECODER_WITH_PAST, [*DECODER, "output"], 17),
        ("fp32-stateful", Component.ENCODER, ENCODER, 14),
        ("fp32-stateful", Component.DECODER, [*DECODER, "output"], 21),
    ],
)
def test_blocks_are_found_in_both_layouts_and_hold_every_weight_once(
    tiny_run: Path, variant: str, component: Component, expected: list[str], n_weights: int
) -> None:
    blocks = find_blocks(
        graph(tiny_run / variant, component), component, ComponentQuantization(scheme="w8a8")
    )
    assert [label(block) for block in blocks] == expected
    names = [name for block in blocks for name in block.names]
    assert len(names) == len(set(names))
    assert sum(len(block.weights) for block in blocks) == n_weights


def test_nodes_that_a_recipe_keeps_float_are_no_block(baseline: Path) -> None:
    keep = KeepFloat(reason="test", types=("Convolution",), patterns=(".*fc1.*",))
    spec = ComponentQuantization(scheme="w8a8", keep_float=(keep,))
    blocks = find_blocks(graph(baseline, Component.ENCODER), Component.ENCODER, spec)
    assert [label(block) for block in blocks] == ENCODER[1:]
    assert {len(block.weights) for block in blocks if block.kind is BlockKind.FFN} == {1}


def test_a_weight_that_belongs_to_no_block_is_an_error(baseline: Path) -> None:
    model = graph(baseline, Component.ENCODER)
    convolution = next(o for o in model.get_ops() if o.get_type_name() == "Convolution")
    convolution.set_friendly_name("elsewhere")
    with pytest.raises(StageError, match="elsewhere belongs to no block"):
        find_blocks(model, Component.ENCODER, ComponentQuantization(scheme="w8a8"))


def test_the_pattern_of_a_block_fits_its_nodes_only(baseline: Path) -> None:
    model = graph(baseline, Component.DECODER)
    for block in find_blocks(model, Component.DECODER, ComponentQuantization(scheme="w8a8")):
        keep = KeepFloat(reason="test", patterns=(block.pattern,))
        kept = kept_names(model, ComponentQuantization(scheme="w8a8", keep_float=(keep,)))
        assert block.names <= kept
        others = find_blocks(
            model, Component.DECODER, ComponentQuantization(scheme="w8a8", keep_float=(keep,))
        )
        assert block.pattern not in {other.pattern for other in others}


@pytest.mark.parametrize(
    ("component", "kind", "spec"),
    [
        (Component.ENCODER, BlockKind.CONVOLUTIONS, {"scheme": "w8a8"}),
        (Component.ENCODER, BlockKind.FFN, {"scheme": "w8a8", "smooth_quant_alpha": 0.8}),
        (Component.DECODER, BlockKind.CROSS_ATTENTION, {"scheme": "w8a8"}),
        (Component.DECODER_WITH_PAST, BlockKind.OUTPUT, {"scheme": "w8a8"}),
        (Component.DECODER, BlockKind.SELF_ATTENTION, {"scheme": "w8"}),
        (Component.DECODER, BlockKind.OUTPUT, {"scheme": "w8", "symmetric": False}),
        (
            Component.DECODER,
            BlockKind.CROSS_ATTENTION,
            {"scheme": "w8", "int8_activations": (r".*encoder_attn\.[kv]_proj.*",)},
        ),
        (
            Component.DECODER,
            BlockKind.FFN,
            {"scheme": "w8", "int8_activations": (r".*encoder_attn\.[kv]_proj.*",)},
        ),
        (Component.DECODER, BlockKind.FFN, {"scheme": "w4", "group_size": 16}),
        (Component.DECODER, BlockKind.OUTPUT, {"scheme": "w4", "group_size": 16, "awq": True}),
    ],
    ids=lambda value: value["scheme"] if isinstance(value, dict) else str(value),
)
def test_a_block_quantized_alone_makes_exactly_its_weights_int8(
    baseline: Path, record: Path, component: Component, kind: BlockKind, spec: dict[str, object]
) -> None:
    model, recipe = graph(baseline, component), ComponentQuantization.model_validate(spec)
    block = next(block for block in find_blocks(model, component, recipe) if block.kind is kind)
    calls = CalibrationStore(record).first(2).calls(component, baseline)
    narrowed = alone(model, block, recipe)
    with quiet_libraries(), quiet_output():
        quantized = quantize_graph(model, calls, narrowed, InstructionSet.VNNI, lambda: None)
    check_alone(block, quantized)
    found = count_int8(quantized)
    assert found.weights + found.int4_weights == len(block.weights) > 0
    is_cross = bool(recipe.int8_activations) and kind is BlockKind.CROSS_ATTENTION
    assert (found.activations > 0) == (spec["scheme"] == "w8a8" or is_cross)
    assert quantized_weight_names(graph(baseline, component)) == frozenset()


def test_weights_that_are_not_the_blocks_are_an_error(run: Run) -> None:
    spec = ComponentQuantization(scheme="w8a8")
    float_model = graph(run.folder / "fp32", Component.ENCODER)
    block = find_blocks(float_model, Component.ENCODER, spec)[0]
    with pytest.raises(StageError, match="made 14 weights INT8, want 2"):
        check_alone(block, graph(run.folder / "int8", Component.ENCODER))
    with pytest.raises(StageError, match="made 0 weights INT8, want 2"):
        check_alone(block, float_model)


def test_a_study_measures_every_block_and_the_whole_model(stateful: SensitivityReport) -> None:
    assert stateful.variant == "int8-fast"
    assert stateful.reference == "fp32-stateful"
    assert [block.component for block in stateful.blocks] == [Component.ENCODER] * 4 + [Component.DECODER] * 7
    assert sum(block.n_weights for block in stateful.blocks) == 12 + 21
    for block in stateful.blocks:
        assert 0 < block.divergence < 5
        assert 0 <= block.flips <= 1
        assert (block.output_error is not None) == (block.component is Component.ENCODER)
        assert block.saved_low_s <= block.saved_s <= block.saved_high_s
    assert sum(block.divergence_share for block in stateful.blocks) == pytest.approx(1)
    assert stateful.encoder_s > 0
    assert stateful.decoder_s > 0


def test_nothing_quantized_costs_nothing(stateful: SensitivityReport) -> None:
    none, everything = stateful.wholes[:2]
    assert none.extent is Extent.NONE
    assert none.divergence == pytest.approx(0, abs=1e-6)
    assert none.flips == 0
    assert none.output_error is None
    assert everything.extent is Extent.ALL
    assert everything.divergence > 1e-4
    assert everything.output_error is not None


def test_blocks_are_compared_on_clips_that_were_not_recorded(stateful: SensitivityReport) -> None:
    assert stateful.unheard
    assert stateful.n_clips == 2
    assert stateful.n_calibration_clips == 2


def test_the_report_is_an_artifact_of_the_run_and_no_variant(run: Run, stateful: SensitivityReport) -> None:
    folder = run.folder / "sensitivity"
    assert read_sensitivity(run.folder) == stateful
    manifest = read_manifest(folder)
    assert manifest.kind == "sensitivity"
    check_files(folder, manifest)
    assert "sensitivity" not in {variant.name for variant in read_run(run.folder).variants}
    assert str(run.folder.parent) not in (folder / "sensitivity.json").read_text(encoding="utf-8")
    assert list(run.folder.glob(".sensitivity*")) == []


def test_inspect_and_the_terminal_show_the_study(run: Run, stateful: SensitivityReport) -> None:
    summary = inspect_run(read_run(run.folder))
    assert summary.sensitivity == stateful
    assert not summary.sensitivity_is_stale
    assert json.loads(summary.model_dump_json())["sensitivity"]["variant"] == "int8-fast"
    console = Console(width=300)
    with console.capture() as captured:
        console.print(sensitivity_table(stateful))
    rows = [line for line in captured.get().splitlines() if line.startswith("│") and "±" in line]
    assert len(rows) == len(stateful.blocks) + len(stateful.wholes)
    assert all(any(block.label in row for row in rows) for block in stateful.blocks)
    assert sensitivity_lines(stateful)
    assert any(
        line.startswith("sensitivity of int8-fast: 11 blocks on 2 clips") for line in run_lines(summary)
    )


def test_a_benchmark_carries_the_study_until_the_run_changes(
    run: Run, stateful: SensitivityReport, speech: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(run.folder, tmp_path / "run"))
    spec = BenchmarkSpec(passes=1, warm_up_clips=1, threads=1, limit=1)
    results = benchmark(
        read_run(folder), read_speech(str(speech)), spec, tmp_path / "results", force=False, reporter=Silent()
    )
    assert results.sensitivity == stateful
    with (folder / "int8-fast" / "manifest.json").open("a", encoding="utf-8") as file:
        file.write("\n")
    assert not is_current(folder)
    assert read_current_sensitivity(folder) is None
    stale = inspect_run(read_run(folder))
    assert stale.sensitivity_is_stale
    assert any(line.endswith("(stale: the run has changed since)") for line in run_lines(stale))


@pytest.mark.large
def test_a_stateless_variant_is_studied_by_its_steps(run: Run, speech: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run.folder, tmp_path / "run"))
    spec = SensitivitySpec(variant="int8", n_clips=1, n_calibration_clips=1, threads=1)
    report = measure_sensitivity(read_run(folder), read_speech(str(speech)), spec, Silent())
    assert report.reference == "fp32"
    assert {block.component for block in report.blocks} == {Component.ENCODER, Component.DECODER_WITH_PAST}
    assert sum(block.n_weights for block in report.blocks) == 14 + 17


def test_recorded_clips_are_used_with_a_note_where_there_are_no_others(
    run: Run, tones: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(run.folder, tmp_path / "run"))
    reporter = Recorder(interrupted="quantize")
    with pytest.raises(KeyboardInterrupt):
        measure_sensitivity(read_run(folder), read_speech(str(tones)), SPEC, reporter)
    assert any("which flatters what is quantized" in note for note in reporter.notes)


def test_an_interruption_leaves_the_run_as_it_was(run: Run, speech: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run.folder, tmp_path / "run"))
    before = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    with pytest.raises(KeyboardInterrupt):
        measure_sensitivity(read_run(folder), read_speech(str(speech)), SPEC, Recorder(interrupted="alone"))
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")) == before


@pytest.mark.parametrize("name", ["fp32", "fp32-stateful"])
def test_a_float_variant_is_refused(run: Run, speech: Path, name: str) -> None:
    with pytest.raises(SpecError, match=f"variant {name} is float"):
        measure_sensitivity(run, read_speech(str(speech)), SensitivitySpec(variant=name), Silent())


def test_a_run_without_a_record_is_refused(run: Run, speech: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run.folder, tmp_path / "run"))
    shutil.rmtree(folder / "calibration")
    with pytest.raises(InputError, match="no calibration record"):
        measure_sensitivity(read_run(folder), read_speech(str(speech)), SPEC, Silent())


def test_a_damaged_report_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "sensitivity").mkdir()
    (tmp_path / "sensitivity" / "sensitivity.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="run `sottovoce sensitivity RUN --data SPEECH` again"):
        read_sensitivity(tmp_path)
    assert read_sensitivity(tmp_path / "elsewhere") is None


def test_no_variant_may_be_named_as_the_study() -> None:
    with pytest.raises(SpecError, match="other than sensitivity"):
        override_recipe(load_recipe("int8"), ["quantize.name=sensitivity"])


def test_the_error_of_a_divergence_is_that_of_its_mean_over_clips() -> None:
    def compared(*divergences: float) -> Comparison:
        return Comparison(
            clips=tuple(
                ClipComparison(
                    clip_id=str(i), n_tokens=10, n_disagreements=0, kl_divergence=each, start_divergence=0.0
                )
                for i, each in enumerate(divergences)
            )
        )

    assert divergence_error(compared(1.0)) == 0
    assert divergence_error(compared(1.0, 1.0, 1.0)) == 0
    assert divergence_error(compared(1.0, 3.0)) == pytest.approx(0.1)
