"""Golden numbers of the quantized tiny model."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from nncf.quantization.algorithms.fast_bias_correction.algorithm import FastBiasCorrection

from sottovoce.calibrate.extremes import constant_weight, weighted_operations
from sottovoce.calibrate.store import CalibrationStore
from sottovoce.errors import SpecError, StageError
from sottovoce.optimize.checks.fidelity import check_fidelity, measure_fidelity
from sottovoce.optimize.openvino.graph import Int8Count, count_int8
from sottovoce.optimize.openvino.quantize import check_count, check_size
from sottovoce.optimize.openvino.quantize_graph import (
    compress_component,
    kept_names,
    quantize_component,
    quantize_graph,
)
from sottovoce.recipes.recipe import ComponentQuantization, KeepFloat
from sottovoce.reference_pipeline import quiet_libraries, quiet_output
from sottovoce.runs import Fidelity, read_run
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.layout import component_path
from sottovoce.terms import Component, InstructionSet, Scheme

GOLDEN = {
    Component.ENCODER: (14, 14),
    Component.DECODER: (21, 22),
    Component.DECODER_WITH_PAST: (17, 21),
}
"""INT8 weights and quantized activations of two layers each: every convolution and matrix product."""


def graph(baseline: Path, component: Component) -> Any:
    import openvino

    return openvino.Core().read_model(component_path(baseline, component))


def quantized(baseline: Path, record: Path, component: Component, **changed: object) -> Any:
    spec = ComponentQuantization.model_validate({"scheme": Scheme.W8A8} | changed)
    calls = CalibrationStore(record).calls(component, baseline)
    with quiet_libraries(), quiet_output():
        return quantize_component(graph(baseline, component), calls, spec, lambda: None)


def names(model: Any) -> list[str]:
    return [
        operation.get_friendly_name()
        for operation in weighted_operations(model)
        if constant_weight(operation) is not None
    ]


@pytest.mark.parametrize("component", list(Component))
def test_every_weight_becomes_int8(baseline: Path, record: Path, component: Component) -> None:
    count = count_int8(quantized(baseline, record, component))
    assert (count.weights, count.activations) == GOLDEN[component]
    assert count.weights == count.weighted


def test_the_model_that_is_quantized_stays_as_it_is(baseline: Path, record: Path) -> None:
    model = graph(baseline, Component.ENCODER)
    before = count_int8(model)
    spec = ComponentQuantization(scheme=Scheme.W8A8)
    with quiet_libraries(), quiet_output():
        quantize_component(
            model, CalibrationStore(record).calls(Component.ENCODER, baseline), spec, lambda: None
        )
    assert count_int8(model) == before


def test_the_whole_record_is_used_in_every_pass(baseline: Path, record: Path) -> None:
    calls = CalibrationStore(record).calls(Component.ENCODER, baseline)
    advanced: list[None] = []
    with quiet_libraries(), quiet_output():
        quantize_component(
            graph(baseline, Component.ENCODER),
            calls,
            ComponentQuantization(scheme=Scheme.W8A8, smooth_quant_alpha=None),
            lambda: advanced.append(None),
        )
    assert len(advanced) % len(calls) == 0
    assert len(advanced) >= len(calls)


def test_types_that_are_kept_float_stay_float(baseline: Path, record: Path) -> None:
    keep = KeepFloat(reason="test", types=("Convolution",))
    model = quantized(baseline, record, Component.ENCODER, keep_float=(keep,))
    weights, _ = GOLDEN[Component.ENCODER]
    assert count_int8(model).weights == weights - 2
    spec = ComponentQuantization(scheme=Scheme.W8A8, keep_float=(keep,))
    check_count(Component.ENCODER, graph(baseline, Component.ENCODER), count_int8(model), spec)


def test_a_node_that_is_kept_float_by_name_stays_float(baseline: Path, record: Path) -> None:
    first = next(name for name in names(graph(baseline, Component.ENCODER)) if "MatMul" in name)
    keep = KeepFloat(reason="test", names=(first,))
    model = quantized(baseline, record, Component.ENCODER, keep_float=(keep,))
    assert count_int8(model).weights == GOLDEN[Component.ENCODER][0] - 1


def test_nodes_that_are_kept_float_by_pattern_stay_float(baseline: Path, record: Path) -> None:
    keep = KeepFloat(reason="test", patterns=(".*fc1.*MatMul",))
    source = graph(baseline, Component.ENCODER)
    spec = ComponentQuantization(scheme=Scheme.W8A8, keep_float=(keep,))
    kept = kept_names(source, spec) & set(names(source))
    assert len(kept) == 2
    model = quantized(baseline, record, Component.ENCODER, keep_float=(keep,))
    assert count_int8(model).weights == GOLDEN[Component.ENCODER][0] - 2


def test_dynamic_activations_are_not_bound_to_recorded_ranges(baseline: Path, record: Path) -> None:
    spec = ComponentQuantization(scheme=Scheme.W8A8, dynamic_activations=(r".*fc2/.*",))
    source = graph(baseline, Component.ENCODER)
    calls = CalibrationStore(record).calls(Component.ENCODER, baseline)
    with quiet_libraries(), quiet_output():
        model = quantize_graph(source, calls, spec, InstructionSet.VNNI, lambda: None)
    inputs = {
        operation.get_friendly_name(): operation.input_value(0).get_node().get_type_name()
        for operation in weighted_operations(model)
        if constant_weight(operation) is not None
    }
    assert {name for name, kind in inputs.items() if kind != "FakeQuantize"} == {
        name for name in inputs if "fc2" in name
    }
    check_count(Component.ENCODER, source, count_int8(model), spec)
    assert count_int8(model).weights == GOLDEN[Component.ENCODER][0]


def test_dynamic_activations_that_match_no_node_are_an_error(baseline: Path, record: Path) -> None:
    spec = ComponentQuantization(scheme=Scheme.W8A8, dynamic_activations=("no_such_node",))
    calls = CalibrationStore(record).calls(Component.ENCODER, baseline)
    with pytest.raises(SpecError, match="dynamic_activations matches no node of the graph: no_such_node"):
        quantize_graph(graph(baseline, Component.ENCODER), calls, spec, InstructionSet.VNNI, lambda: None)


def test_a_node_that_the_graph_does_not_have_is_an_error(baseline: Path, record: Path) -> None:
    keep = KeepFloat(reason="test", names=("no_such_node",))
    with pytest.raises(
        SpecError, match=r"keep_float of this component does not fit the graph: .*no_such_node"
    ):
        quantized(baseline, record, Component.ENCODER, keep_float=(keep,))


def test_smooth_quant_scales_activations_unless_it_is_off(baseline: Path, record: Path) -> None:
    def scales(alpha: float | None) -> int:
        model = quantized(baseline, record, Component.ENCODER, smooth_quant_alpha=alpha)
        return sum(operation.get_type_name() == "Multiply" for operation in model.get_ops())

    assert scales(0.5) > scales(None)


def compressed(baseline: Path, record: Path, component: Component, **changed: object) -> Any:
    spec = ComponentQuantization.model_validate(changed)
    calls = CalibrationStore(record).calls(component, baseline)
    with quiet_libraries(), quiet_output():
        return compress_component(graph(baseline, component), calls, spec, lambda: None)


@pytest.mark.parametrize("symmetric", [True, False])
def test_weights_alone_become_int8_with_and_without_a_zero_point(
    baseline: Path, record: Path, *, symmetric: bool
) -> None:
    model = compressed(baseline, record, Component.DECODER, scheme="w8", symmetric=symmetric)
    count = count_int8(model)
    assert (count.weights, count.activations) == (count.weighted, 0)
    kinds = {
        weight.get_element_type().get_type_name()
        for o in weighted_operations(model)
        if (weight := constant_weight(o)) is not None
    }
    assert kinds == ({"i8"} if symmetric else {"u8"})


@pytest.mark.parametrize("changed", [{}, {"awq": True}, {"scale_estimation": True, "symmetric": False}])
def test_weights_become_int4_but_those_of_the_output_layer(
    baseline: Path, record: Path, changed: dict[str, object]
) -> None:
    spec = {"scheme": "w4", "group_size": 16} | changed
    model = compressed(baseline, record, Component.DECODER, **spec)
    count = count_int8(model)
    assert (count.weights, count.int4_weights) == (1, count.weighted - 1)
    check_count(
        Component.DECODER,
        graph(baseline, Component.DECODER),
        count,
        ComponentQuantization.model_validate(spec),
    )
    assert count.int4_bytes < count_int8(graph(baseline, Component.DECODER)).float_bytes_fp16 / 4


def test_a_share_of_the_weights_becomes_int4(baseline: Path, record: Path) -> None:
    model = compressed(baseline, record, Component.DECODER, scheme="w4", group_size=16, ratio=0.5)
    count = count_int8(model)
    assert 1 < count.weights < count.weighted
    assert count.weights + count.int4_weights == count.weighted


def test_a_group_that_does_not_divide_the_channels_is_an_error(baseline: Path, record: Path) -> None:
    with pytest.raises(SpecError, match="group_size 100 does not fit"):
        compressed(baseline, record, Component.DECODER, scheme="w4", group_size=100)


def test_for_a_cpu_without_vnni_weights_take_seven_bits(baseline: Path, record: Path) -> None:
    """The sum of two products of u8 and 7-bit weights fits the 16 bits of AVX2."""
    model, calls = (
        graph(baseline, Component.ENCODER),
        CalibrationStore(record).calls(Component.ENCODER, baseline),
    )
    largest = {}
    for kind in InstructionSet:
        with quiet_libraries(), quiet_output():
            quantized_model = quantize_component(
                model, calls, ComponentQuantization(scheme=Scheme.W8A8), lambda: None, instruction_set=kind
            )
        weights = [constant_weight(o) for o in weighted_operations(quantized_model)]
        largest[kind] = max(int(abs(w.data.astype(int)).max()) for w in weights if w is not None)
    assert largest == {InstructionSet.VNNI: 127, InstructionSet.AVX2: 64}


@pytest.mark.parametrize("changed", [{"activation_range": "histogram"}, {"weight_range": "mean_quantile"}])
def test_ranges_are_estimated_by_the_recipe(baseline: Path, record: Path, changed: dict[str, object]) -> None:
    calls = CalibrationStore(record).calls(Component.ENCODER, baseline)
    plain = quantized(baseline, record, Component.ENCODER)
    other = quantized(baseline, record, Component.ENCODER, **changed)
    assert count_int8(other) == count_int8(plain)
    assert measure_fidelity(plain, other, calls, ComputeSpec()).relative_error > 0


@pytest.mark.parametrize("kind", ["fast", "off"])
def test_biases_are_corrected_unless_that_is_off(baseline: Path, record: Path, kind: str) -> None:
    with patch.object(FastBiasCorrection, "apply") as apply:
        apply.side_effect = lambda model, *_, **__: model
        quantized(baseline, record, Component.ENCODER, bias_correction=kind)
    assert apply.called == (kind == "fast")


def test_fewer_int8_weights_than_the_recipe_implies_are_an_error(baseline: Path, record: Path) -> None:
    keep = KeepFloat(reason="test", types=("Convolution",))
    count = count_int8(quantized(baseline, record, Component.ENCODER, keep_float=(keep,)))
    with pytest.raises(StageError, match=r"encoder: 12 INT8 and 0 INT4 weights .*the recipe implies 14"):
        check_count(
            Component.ENCODER,
            graph(baseline, Component.ENCODER),
            count,
            ComponentQuantization(scheme=Scheme.W8A8),
        )


def test_a_file_larger_than_its_types_imply_is_an_error() -> None:
    count = Int8Count(weights=1, activations=1, weighted=1, float_bytes_fp16=1000, int8_bytes=1000)
    check_size(Component.ENCODER, 2050, count)
    with pytest.raises(StageError, match="some weights were written in float32"):
        check_size(Component.ENCODER, 3000, count)


def test_a_model_is_faithful_to_itself(baseline: Path, record: Path) -> None:
    model = graph(baseline, Component.ENCODER)
    calls = CalibrationStore(record).calls(Component.ENCODER, baseline)
    assert measure_fidelity(model, model, calls, ComputeSpec()) == Fidelity(
        n_calls=4, relative_error=0.0, token_agreement=1.0
    )


def test_a_quantized_encoder_is_near_the_float_one_but_not_equal(baseline: Path, record: Path) -> None:
    calls = CalibrationStore(record).calls(Component.ENCODER, baseline)
    model = graph(baseline, Component.ENCODER)
    fidelity = measure_fidelity(model, quantized(baseline, record, Component.ENCODER), calls, ComputeSpec())
    assert 0.001 < fidelity.relative_error < 0.15


@pytest.mark.parametrize(
    ("component", "error", "agreement"),
    [
        (Component.ENCODER, 0.8, 1.0),
        (Component.ENCODER, float("nan"), 0.0),
        (Component.DECODER, 0.1, 0.5),
        (Component.DECODER_WITH_PAST, 0.0, 0.79),
    ],
)
def test_a_destroyed_component_is_an_error_that_says_what_to_change(
    component: Component, error: float, agreement: float
) -> None:
    fidelity = Fidelity(n_calls=10, relative_error=error, token_agreement=agreement)
    with pytest.raises(StageError, match=rf"destroyed the {component}.*smooth_quant_alpha=0\.7"):
        check_fidelity(component, fidelity, ComponentQuantization(scheme=Scheme.W8A8))


@pytest.mark.parametrize(
    ("component", "error", "agreement"),
    [(Component.ENCODER, 0.09, 0.1), (Component.DECODER_WITH_PAST, 0.9, 0.95)],
)
def test_a_working_component_passes(component: Component, error: float, agreement: float) -> None:
    fidelity = Fidelity(n_calls=10, relative_error=error, token_agreement=agreement)
    check_fidelity(component, fidelity, ComponentQuantization(scheme=Scheme.W8A8))


def test_the_int8_variant_of_a_run_keeps_the_first_pass_float_and_halves_the_rest(tiny_run: Path) -> None:
    run = read_run(tiny_run)
    before, after = run.baseline.facts.components, run.variant("int8").facts.components
    assert after[Component.DECODER].int8_weights == 0
    assert after[Component.DECODER].int8_activations == 2  # the keys that it hands over, one a layer
    assert after[Component.DECODER].size_bytes == pytest.approx(
        before[Component.DECODER].size_bytes, rel=0.02
    )
    recorded = {
        Component.ENCODER: 12,  # all but the input of each layer's fc2, which is quantized on the fly
        Component.DECODER_WITH_PAST: 2,  # only the keys of the encoder states, one a layer
    }
    for component, n_activations in recorded.items():
        assert after[component].int8_weights == GOLDEN[component][0]
        assert after[component].int8_activations == n_activations
        name = f"openvino_{component}_model.bin"
        sizes = [(tiny_run / variant / name).stat().st_size for variant in ("int8", "fp32")]
        assert sizes[0] < 0.5 * sizes[1]


def test_the_output_layer_does_not_share_its_int8_table_with_the_lookup_of_tokens(tiny_run: Path) -> None:
    """OpenVINO would turn a shared table into float; the file holds it once all the same."""
    path = component_path(tiny_run / "int8", Component.DECODER_WITH_PAST)
    model = graph(tiny_run / "int8", Component.DECODER_WITH_PAST)
    tables = [
        operation
        for operation in model.get_ops()
        if operation.get_type_name() == "Constant"
        and operation.get_element_type().get_type_name() == "i8"
        and operation.get_friendly_name().startswith("self.model.decoder.embed_tokens.weight")
    ]
    assert len(tables) == 2
    np.testing.assert_array_equal(tables[0].data, tables[1].data)
    float_path = component_path(tiny_run / "fp32", Component.DECODER_WITH_PAST)
    assert path.with_suffix(".bin").stat().st_size < 0.3 * float_path.with_suffix(".bin").stat().st_size
