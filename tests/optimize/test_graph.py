"""Counts of INT8 weights and activations in small graphs."""

from typing import Any

import numpy as np
import pytest

from sottovoce.calibrate.extremes import constant_weight
from sottovoce.optimize.openvino.graph import count_int8, count_int8_in_file

openvino = pytest.importorskip("openvino", reason="the graphs are OpenVINO's")


def model(*, int8_weight: bool, fake_quantize: bool) -> Any:
    """Make x @ W with the nodes that a quantizer inserts."""
    from openvino import opset13 as op

    x = op.parameter([1, 4], np.float32, name="x")
    rng = np.random.default_rng(0)
    weight: Any = op.constant(rng.standard_normal((4, 8)).astype(np.float32), name="W")
    if int8_weight:
        narrow = op.constant(rng.integers(-127, 127, (4, 8)).astype(np.int8), name="W8")
        weight = op.multiply(op.convert(narrow, "f32"), op.constant(np.float32(0.01)))
    data: Any = x
    if fake_quantize:
        low, high = op.constant(np.float32(-1)), op.constant(np.float32(1))
        data = op.fake_quantize(x, low, high, low, high, 256)
    return openvino.Model([op.matmul(data, weight, transpose_a=False, transpose_b=False)], [x], "model")


def test_a_float_graph_has_no_int8() -> None:
    count = count_int8(model(int8_weight=False, fake_quantize=False))
    assert (count.weights, count.activations, count.weighted) == (0, 0, 1)
    assert (count.int8_bytes, count.float_bytes_fp16) == (0, 64)


def test_a_quantized_matrix_product_counts_as_one() -> None:
    count = count_int8(model(int8_weight=True, fake_quantize=True))
    assert (count.weights, count.activations, count.weighted) == (1, 1, 1)
    assert count.int8_bytes == 32


def test_an_int8_weight_alone_is_no_quantized_activation() -> None:
    count = count_int8(model(int8_weight=True, fake_quantize=False))
    assert (count.weights, count.activations) == (1, 0)


def test_a_product_of_two_activations_has_no_weight() -> None:
    from openvino import opset13 as op

    x, y = op.parameter([2, 2], np.float32), op.parameter([2, 2], np.float32)
    product = op.matmul(x, y, transpose_a=False, transpose_b=False)
    assert constant_weight(product) is None
    assert count_int8(openvino.Model([product], [x, y], "m")).weighted == 0


def test_a_fake_quantize_on_a_weight_is_no_activation() -> None:
    from openvino import opset13 as op

    x = op.parameter([1, 4], np.float32)
    low, high = op.constant(np.float32(-1)), op.constant(np.float32(1))
    weight = op.fake_quantize(op.constant(np.ones((4, 4), np.float32)), low, high, low, high, 255)
    count = count_int8(openvino.Model([op.matmul(x, weight, transpose_a=False, transpose_b=False)], [x], "m"))
    assert (count.activations, count.weighted) == (0, 1)


def test_a_file_counts_like_its_graph(tmp_path: Any) -> None:
    graph = model(int8_weight=True, fake_quantize=True)
    openvino.save_model(graph, tmp_path / "m.xml", compress_to_fp16=False)
    assert count_int8_in_file(tmp_path / "m.xml") == count_int8(graph)
