"""Quantized ONNX graphs of the tiny model."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from sottovoce.calibrate.store import CalibrationStore
from sottovoce.errors import SpecError, StageError
from sottovoce.optimize.onnx.graph import count_int8, save_graph, size_bytes
from sottovoce.optimize.onnx.quantize import (
    check_onnx_count,
    make_unsigned,
    measure_onnx_fidelity,
    quantize_graph,
    quantize_onnx_variant,
)
from sottovoce.optimize.onnx.weights import compress_graph, quantize_blocks, quantize_outputs
from sottovoce.progress import Silent
from sottovoce.recipes.recipe import ComponentQuantization, ComponentSpecs, KeepFloat, QuantizedVariant
from sottovoce.reference_pipeline import quiet_libraries, quiet_output
from sottovoce.runtime import TranscribeOptions, load
from sottovoce.runtime.model.elastic import PADDING_STATES_NAME, PaddingStates
from sottovoce.runtime.model.layout import onnx_path
from sottovoce.terms import Component, ElasticSpec, Scheme, Weights
from tests.support.tones import tone

WEIGHTED = {Component.ENCODER: 14, Component.DECODER: 21, Component.DECODER_WITH_PAST: 17}
"""Convolutions and matrix products with a weight, of two layers each; the encoder has two convolutions."""

W8 = ComponentQuantization(scheme=Scheme.W8)
W8A8 = ComponentQuantization(scheme=Scheme.W8A8)


def graph(folder: Path, component: Component) -> Any:
    return onnx.load(onnx_path(folder, component))


def quantized(
    tiny_onnx: Path, baseline: Path, record: Path, component: Component, spec: ComponentQuantization
) -> Any:
    calls = CalibrationStore(record).calls(component, baseline)
    with quiet_libraries(), quiet_output():
        return quantize_graph(graph(tiny_onnx, component), calls, spec, lambda: None)


def compressed(tiny_onnx: Path, component: Component) -> Any:
    made = graph(tiny_onnx, component)
    compress_graph(made, component)
    return made


def run(made: Any, given: dict[str, Any]) -> Any:
    opened = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    return opened.run(None, given)[0]


def kinds(made: Any) -> set[str]:
    return {node.op_type for node in made.graph.node}


@pytest.mark.parametrize("component", list(Component))
def test_nncf_makes_every_product_int8_and_leaves_convolutions_float(
    tiny_onnx: Path, baseline: Path, record: Path, component: Component
) -> None:
    made = quantized(tiny_onnx, baseline, record, component, W8A8)
    count = count_int8(made)
    n_convolutions = 2 if component is Component.ENCODER else 0
    assert (count.weights, count.weighted) == (WEIGHTED[component] - n_convolutions, WEIGHTED[component])
    check_onnx_count(component, made, count, W8A8)
    onnx.checker.check_model(made, full_check=True)


@pytest.mark.parametrize("component", list(Component))
def test_the_quantized_graph_computes_nearly_the_same(
    tiny_onnx: Path, baseline: Path, record: Path, tmp_path: Path, component: Component
) -> None:
    path = tmp_path / "quantized.onnx"
    save_graph(quantized(tiny_onnx, baseline, record, component, W8A8), path)
    calls = CalibrationStore(record).calls(component, baseline)
    fidelity = measure_onnx_fidelity(onnx_path(tiny_onnx, component), path, calls)
    assert 0 < fidelity.relative_error < 0.2


def test_activations_are_unsigned(tiny_onnx: Path, baseline: Path, record: Path) -> None:
    made = quantized(tiny_onnx, baseline, record, Component.ENCODER, W8A8)
    constants = {tensor.name: tensor for tensor in made.graph.initializer}
    zeros = [constants[n.input[2]] for n in made.graph.node if n.op_type == "QuantizeLinear"]
    assert {zero.data_type for zero in zeros} == {onnx.TensorProto.UINT8}


def test_unsigned_activations_compute_the_same_as_signed_ones() -> None:
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    constants = [
        numpy_helper.from_array(np.array(0.1, np.float32), "scale"),
        numpy_helper.from_array(np.array(0, np.int8), "zero"),
    ]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [5]) for name in ("x", "y")]
    made = helper.make_model(
        helper.make_graph(nodes, "signed", ports[:1], ports[1:], constants),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    given = {"x": np.array([-20.0, -0.33, 0.0, 0.46, 20.0], np.float32)}
    before = run(made, given)
    assert make_unsigned(made) == 2
    onnx.checker.check_model(made, full_check=True)
    np.testing.assert_array_equal(run(made, given), before)


def test_nodes_that_the_recipe_keeps_float_stay_float(tiny_onnx: Path, baseline: Path, record: Path) -> None:
    keep = KeepFloat(reason="test", patterns=(".*fc1/MatMul",))
    spec = W8A8.model_copy(update={"keep_float": (keep,)})
    made = quantized(tiny_onnx, baseline, record, Component.ENCODER, spec)
    count = count_int8(made)
    assert count.weights == 14 - 2 - 2
    check_onnx_count(Component.ENCODER, made, count, spec)
    with pytest.raises(StageError, match=r"encoder: 10 INT8 weights .*implies 12"):
        check_onnx_count(Component.ENCODER, made, count, W8A8)


def test_an_output_layer_that_is_kept_float_stays_float(
    tiny_onnx: Path, baseline: Path, record: Path
) -> None:
    keep = KeepFloat(reason="test", names=("proj_out/MatMul",))
    spec = W8A8.model_copy(update={"keep_float": (keep,)})
    made = quantized(tiny_onnx, baseline, record, Component.DECODER, spec)
    count = count_int8(made)
    assert count.weights == WEIGHTED[Component.DECODER] - 1
    check_onnx_count(Component.DECODER, made, count, spec)


def test_a_node_that_the_graph_does_not_have_is_an_error(
    tiny_onnx: Path, baseline: Path, record: Path
) -> None:
    keep = KeepFloat(reason="test", names=("no_such_node",))
    with pytest.raises(SpecError, match="no_such_node"):
        quantized(
            tiny_onnx, baseline, record, Component.ENCODER, W8A8.model_copy(update={"keep_float": (keep,)})
        )


@pytest.mark.parametrize("component", list(Component))
def test_weights_alone_become_int8_without_a_record(tiny_onnx: Path, component: Component) -> None:
    made = compressed(tiny_onnx, component)
    count = count_int8(made)
    check_onnx_count(component, made, count, W8)
    onnx.checker.check_model(made, full_check=True)
    constants = {tensor.name: tensor for tensor in made.graph.initializer}
    for node in made.graph.node:
        if node.op_type == "MatMul":
            assert not set(node.input) & set(constants)


def test_the_kernel_follows_the_number_of_rows(tiny_onnx: Path) -> None:
    assert "MatMulNBits" not in kinds(compressed(tiny_onnx, Component.ENCODER))
    assert {"MatMulNBits", "MatMulInteger"} <= kinds(compressed(tiny_onnx, Component.DECODER))
    assert "MatMulInteger" not in kinds(compressed(tiny_onnx, Component.DECODER_WITH_PAST))


def test_output_layer_and_token_embedding_share_one_int8_table(tiny_onnx: Path) -> None:
    made = compressed(tiny_onnx, Component.DECODER_WITH_PAST)
    (n_tokens,) = {
        tensor.dims[0] for tensor in made.graph.initializer if tensor.name == "proj_out.weight/blocks"
    }
    assert [t.name for t in made.graph.initializer if n_tokens in t.dims and len(t.dims) == 3] == [
        "proj_out.weight/blocks"
    ]
    assert "proj_out.weight" not in {tensor.name for tensor in made.graph.initializer}


def test_products_that_share_an_activation_quantize_it_once(tiny_onnx: Path) -> None:
    made = compressed(tiny_onnx, Component.ENCODER)
    n_nodes = sum(node.op_type == "DynamicQuantizeLinear" for node in made.graph.node)
    n_products = sum(node.op_type == "MatMulInteger" for node in made.graph.node)
    assert (n_nodes, n_products) == (8, 12)


@pytest.mark.parametrize("shape", [(3, 64), (5, 384), (2, 96), (1, 16)])
def test_blocks_restore_the_weight_to_half_a_step(shape: tuple[int, int]) -> None:
    rows = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    rows[0, :16] = 0
    codes, scales = quantize_blocks(rows)
    back = (codes.astype(np.float32) - 128) * scales[..., None]
    assert codes.shape[0] == shape[0]
    assert codes[0].size == shape[1]
    assert (np.abs(back.reshape(shape) - rows) <= 0.501 * scales.max()).all()
    integers, steps = quantize_outputs(rows)
    assert (np.abs(integers * steps[:, None] - rows) <= 0.501 * steps[:, None]).all()


def test_a_weight_that_no_block_fits_is_an_error() -> None:
    with pytest.raises(StageError, match="a weight of 40 inputs"):
        quantize_blocks(np.ones((2, 40), np.float32))


@pytest.mark.parametrize("scheme", [Scheme.W8, Scheme.W8A8])
def test_an_int8_variant_is_made_and_transcribes(
    tiny_onnx: Path, baseline: Path, record: Path, tmp_path: Path, scheme: Scheme
) -> None:
    into = tmp_path / "int8"
    spec = ComponentQuantization(scheme=scheme)
    variant = QuantizedVariant(
        elastic=ElasticSpec(), components=ComponentSpecs(encoder=spec, decoder=W8, decoder_with_past=W8)
    )
    found = quantize_onnx_variant(
        tiny_onnx, CalibrationStore(record), variant, into, Silent(), baseline=baseline
    )
    assert set(found) == set(Component)
    assert 0 < found[Component.ENCODER].relative_error < 0.15
    assert sorted(path.name for path in into.glob("*.onnx")) == [
        "decoder_model.onnx",
        "decoder_with_past_model.onnx",
        "encoder_model.onnx",
    ]
    for component in (Component.DECODER, Component.DECODER_WITH_PAST):
        assert size_bytes(onnx_path(into, component)) < 0.5 * size_bytes(onnx_path(tiny_onnx, component))
    loaded = PaddingStates.load(into)
    assert loaded is not None
    assert (into / PADDING_STATES_NAME).stat().st_size > 1500 * 64 * 2
    options = TranscribeOptions(language="en", temperature=0.0, vad_filter=False)
    assert load(into).transcribe(tone(3.0), options).text != ""


def test_components_that_the_recipe_leaves_float_are_those_of_the_source(
    tiny_onnx: Path, baseline: Path, record: Path, tmp_path: Path
) -> None:
    into = tmp_path / "int8"
    variant = QuantizedVariant(weights=Weights.FP32, components=ComponentSpecs(decoder_with_past=W8))
    found = quantize_onnx_variant(
        tiny_onnx, CalibrationStore(record), variant, into, Silent(), baseline=baseline
    )
    assert set(found) == {Component.DECODER_WITH_PAST}
    given = {"input_features": np.random.default_rng(0).standard_normal((1, 80, 400)).astype(np.float32)}
    np.testing.assert_array_equal(
        run(graph(into, Component.ENCODER), given), run(graph(tiny_onnx, Component.ENCODER), given)
    )


def test_int8_activations_of_single_nodes_are_refused(
    tiny_onnx: Path, baseline: Path, record: Path, tmp_path: Path
) -> None:
    spec = ComponentQuantization(scheme=Scheme.W8, int8_activations=(".*",))
    variant = QuantizedVariant(components=ComponentSpecs(decoder=spec))
    with pytest.raises(SpecError, match="int8_activations of the decoder"):
        quantize_onnx_variant(
            tiny_onnx, CalibrationStore(record), variant, tmp_path / "int8", Silent(), baseline=baseline
        )
