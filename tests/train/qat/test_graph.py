"""A quantized graph is read whole, and written back as it was."""

from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest

from sottovoce.errors import SpecError
from sottovoce.optimize.openvino.graph import count_int8
from sottovoce.runtime.model.layout import component_path
from sottovoce.terms import Component
from sottovoce.train.qat.graph import QuantizedGraph, read_graph, write_constants
from sottovoce.train.qat.parameters import TrainedGraph
from sottovoce.train.variant.report import Trained


@pytest.fixture
def encoder(tiny_run: Path) -> Any:
    return openvino.Core().read_model(component_path(tiny_run / "int8", Component.ENCODER))


@pytest.fixture
def graph(encoder: Any) -> QuantizedGraph:
    return read_graph(encoder)


def trained_graph(graph: QuantizedGraph, tiny: Path) -> TrainedGraph:
    from sottovoce.optimize.openvino.export import TorchWhisper

    model = TorchWhisper(tiny).model
    return TrainedGraph(Component.ENCODER, graph, model.model.encoder, Trained.ALL)


def test_every_int8_layer_and_range_is_found(encoder: Any, graph: QuantizedGraph) -> None:
    count = count_int8(encoder)
    assert len(graph.layers) == count.weights
    assert len(graph.ranges) == count.activations
    assert {"conv1", "layers.0.self_attn.q_proj", "layers.1.fc2"} <= set(graph.layers)


def test_without_training_the_constants_are_those_that_were_read(
    graph: QuantizedGraph, tiny: Path, tiny_run: Path
) -> None:
    import torch

    trained = trained_graph(graph, tiny)
    nothing = {name: torch.zeros_like(each.start) for name, each in trained.parameters.items()}
    written = openvino.Core().read_model(component_path(tiny_run / "int8", Component.ENCODER))
    write_constants(written, trained.constants(nothing))
    again = read_graph(written)
    assert again.ranges.keys() == graph.ranges.keys()
    for name, kept in graph.ranges.items():
        assert again.ranges[name].step == pytest.approx(kept.step)
        assert again.ranges[name].zero == kept.zero
    for name, layer in graph.layers.items():
        found = again.layers[name]
        off = np.abs(found.weights.astype(int) - layer.weights)
        assert off.max() <= 1  # where a weight is halfway between two levels
        assert off.mean() < 0.01
        assert (found.bias is None) == (layer.bias is None)
        if layer.bias is not None and found.bias is not None:
            np.testing.assert_allclose(found.bias, layer.bias, rtol=1e-6)


def test_gains_and_biases_of_layernorms_are_read_and_written() -> None:
    model = _layernorm(np.array([1.0, 2.0, 3.0]), np.array([0.0, 0.5, 1.0]))
    norm = read_graph(model).norms["layers.0.final_layer_norm"]
    assert norm.gain.tolist() == [1.0, 2.0, 3.0]
    assert norm.bias.tolist() == [0.0, 0.5, 1.0]
    write_constants(model, {norm.gain_at: norm.gain + 1, norm.bias_at: norm.bias - 1})
    again = read_graph(model).norms["layers.0.final_layer_norm"]
    assert again.gain.tolist() == [2.0, 3.0, 4.0]
    assert again.bias.tolist() == [-1.0, -0.5, 0.0]


def test_weights_with_zero_points_are_refused() -> None:
    import nncf

    compressed = nncf.compress_weights(_linear(), mode=nncf.CompressWeightsMode.INT8_ASYM)
    for operation in compressed.get_ops():
        if operation.get_type_name() == "MatMul":
            operation.set_friendly_name("__module.layers.0.fc1/aten::linear/MatMul")
    with pytest.raises(SpecError, match="only INT8 weights without them train"):
        read_graph(compressed)


def test_ranges_of_the_output_layer_alone_are_not_trained(encoder: Any, graph: QuantizedGraph) -> None:
    for operation in encoder.get_ops():
        name = operation.get_friendly_name()
        if name.startswith("__module.layers.1.fc1/aten::linear/"):
            operation.set_friendly_name(name.replace("layers.1.fc1", "proj_out"))
    renamed = read_graph(encoder)
    assert set(renamed.layers) - set(graph.layers) == {"proj_out"}
    assert len(renamed.ranges) == len(graph.ranges) - 1


def _linear() -> Any:
    from openvino import opset13 as ops

    values = ops.parameter([1, 64], np.float32)
    weights = ops.constant(np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32))
    return openvino.Model([ops.matmul(values, weights, transpose_a=False, transpose_b=True)], [values])


def _layernorm(gain: Any, bias: Any) -> Any:
    from openvino import opset13 as ops

    values = ops.parameter([1, 4, 3], np.float32)
    normed = ops.mvn(values, np.array([2]), normalize_variance=True, eps=1e-5, eps_mode="inside_sqrt")
    scaled = ops.multiply(normed, gain.astype(np.float32).reshape(1, 1, 3))
    scaled.set_friendly_name("__module.layers.0.final_layer_norm/aten::layer_norm/Multiply")
    moved = ops.add(scaled, bias.astype(np.float32).reshape(1, 1, 3))
    moved.set_friendly_name("__module.layers.0.final_layer_norm/aten::layer_norm/Add")
    return openvino.Model([moved], [values])
