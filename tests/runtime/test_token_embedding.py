"""Rows of a token embedding as OpenVINO computes them, whatever the table is stored in."""

from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from sottovoce.runtime.model.layout import component_path
from sottovoce.runtime.model.openvino.token_embedding import (
    EMBEDDINGS_NAME,
    TOKENS_NAME,
    round_to_bf16,
    take_out_embedding,
)
from sottovoce.terms import Component

TOKENS = np.array([[0, 3, 17], [50, 3, 200]], dtype=np.int64)


def lookup_of(model: openvino.Model) -> openvino.Model:
    """Cut a graph down to the lookup that it starts with."""
    (tokens,) = [port for port in model.inputs if TOKENS_NAME in port.get_names()]
    reached = {tokens.get_node().get_name()}
    for node in model.get_ordered_ops():
        if any(value.get_node().get_name() in reached for value in node.input_values()):
            reached.add(node.get_name())
            if (
                node.get_type_name() == "Gather"
                and node.get_output_partial_shape(0).rank.get_length() == TOKENS.ndim + 1
            ):
                return openvino.Model([node.output(0)], [tokens.get_node()], "lookup")
    raise AssertionError("no lookup")


def looked_up(model: openvino.Model) -> Any:
    (rows,) = (
        openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(TOKENS).values()
    )
    return rows


@pytest.mark.parametrize("name", ["fp32", "fp16", "fp32-stateful", "int8"])
def test_rows_are_those_that_openvino_looks_up(tiny_run: Path, name: str) -> None:
    path = component_path(tiny_run / name, Component.DECODER)
    expected = looked_up(lookup_of(openvino.Core().read_model(path)))
    model = openvino.Core().read_model(path)
    embedding = take_out_embedding(model)
    assert embedding is not None
    np.testing.assert_array_equal(embedding.rows(TOKENS), expected)
    assert EMBEDDINGS_NAME in {port.any_name for port in model.inputs}


def quantized_table(*, with_zero_points: bool) -> Any:
    rng = np.random.default_rng(0)
    stored = rng.integers(0, 255, (300, 8), dtype=np.uint8)
    table = ops.convert(ops.constant(stored), "f16")
    if with_zero_points:
        zero = ops.constant(rng.integers(100, 140, (300, 1), dtype=np.uint8))
        table = ops.subtract(table, ops.convert(zero, "f16"))
    scale = ops.constant(rng.uniform(0.01, 0.1, (300, 1)).astype(np.float16))
    return ops.convert(ops.multiply(table, scale), "f32")


def model_of(table: Any) -> openvino.Model:
    tokens = ops.parameter([-1, -1], openvino.Type.i64)
    tokens.output(0).set_names({TOKENS_NAME})
    rows = ops.gather(table, ops.convert(tokens, "i32"), ops.constant(np.int32(0)))
    count = ops.convert(ops.shape_of(tokens), "f32")
    return openvino.Model(
        [ops.add(ops.reduce_sum(rows, ops.constant([0, 1])), ops.reduce_sum(count, ops.constant([0])))],
        [tokens],
        "m",
    )


@pytest.mark.parametrize("with_zero_points", [False, True])
def test_rows_of_quantized_tables_have_their_scales_and_zero_points(*, with_zero_points: bool) -> None:
    table = quantized_table(with_zero_points=with_zero_points)
    expected = looked_up(lookup_of(model_of(table)))
    embedding = take_out_embedding(model_of(table))
    assert embedding is not None
    np.testing.assert_allclose(embedding.rows(TOKENS), expected, rtol=1e-3)


def test_a_graph_with_another_kind_of_table_is_left_as_it_is() -> None:
    packed = ops.convert(ops.convert(ops.constant(np.ones((300, 8), np.float32)), "bf16"), "f32")
    model = model_of(packed)
    before = [node.get_type_name() for node in model.get_ordered_ops()]
    assert take_out_embedding(model) is None
    assert [node.get_type_name() for node in model.get_ordered_ops()] == before


def test_rows_are_rounded_to_bf16_as_openvino_rounds_its_table() -> None:
    values = np.array([1.0, 1 + 2**-8, 1 + 3 * 2**-8, -3.14159, 0.0], dtype=np.float32)
    np.testing.assert_array_equal(
        round_to_bf16(values), np.array([1.0, 1.0, 1 + 2**-6, -3.140625, 0.0], dtype=np.float32)
    )
