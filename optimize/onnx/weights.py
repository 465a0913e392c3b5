"""INT8 weights in ONNX graphs with activations that are quantized on the fly, without calibration.

Two kernels of onnxruntime take such weights, and each is fast for one shape. `MatMulNBits`
quantizes activations in blocks along a row: 3 times as fast as float for the one row of a decode step,
but hardly faster for the 1,500 rows of a window. `DynamicQuantizeLinear` and `MatMulInteger` use one scale
for the whole activation: 3 times as fast there (docs/lab-notes.md).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import StageError
from sottovoce.optimize.onnx.graph import (
    Graph,
    add_constant,
    drop_unused,
    replace_node,
    weighted_products,
    with_input,
)
from sottovoce.terms import Component

Rows = NDArray[np.float32]
"""A weight with one row for each output: shape (n_outputs, n_inputs)."""

BLOCK_SIZES = (128, 64, 32, 16)
"""Inputs that share a scale in `MatMulNBits`. The largest is the fastest: 2.3 ms for a step, 2.9 with 32."""

INT8_PRODUCTS = 4
"""`accuracy_level` of `MatMulNBits` with quantized activations and INT8 products."""

BLOCK_ZERO = 128
"""The quantized value of zero in `MatMulNBits`."""

LARGEST = 127

MICROSOFT = "com.microsoft"
"""The domain of onnxruntime's own operations."""

STATES_NAME = "encoder_hidden_states"


def compress_graph(graph: Graph, component: Component) -> None:
    """Quantize the weights of a component's matrix products to INT8, in place; convolutions stay float.

    A table that the output layer shares with the token embedding stays shared.

    Raises:
        StageError: the number of inputs of a weight is not a multiple of 16.
    """
    from onnx import numpy_helper

    compress_tables(graph, table_products(graph))
    for node, weight in list(weighted_products(graph)):
        if node.op_type != "MatMul":
            continue
        rows = numpy_helper.to_array(weight).T
        if component is Component.ENCODER or node.input[0] == STATES_NAME:
            _multiply_many(graph, node, rows, weight.name)
        else:
            _multiply_few(graph, node, rows, weight.name)
    drop_unused(graph)


def table_products(graph: Graph) -> tuple[str, ...]:
    """Name the products whose weight is the table of a token embedding: the output layer."""
    return tuple(node.name for node, weight in weighted_products(graph) if _is_table(node, weight))


def compress_tables(graph: Graph, names: Sequence[str]) -> None:
    """Quantize the tables of some products to INT8, in place; the token embedding shares them.

    Args:
        graph: `onnx.ModelProto`; the products' weights are float32.
    """
    from onnx import numpy_helper

    for node, weight in list(weighted_products(graph)):
        if node.name in names:
            rows = numpy_helper.to_array(weight)
            _multiply_few(graph, node, rows, weight.name)
            _look_up_blocks(graph, weight.name, rows.shape[1])
    drop_unused(graph)


def turn_tables(graph: Graph, names: Sequence[str]) -> None:
    """Give some products their own weight instead of a transposed table, in place.

    Args:
        graph: `onnx.ModelProto`; the products' weights are float32.
    """
    from onnx import numpy_helper

    for node, weight in list(weighted_products(graph)):
        if node.name in names:
            turned = add_constant(graph, f"{weight.name}/turned", numpy_helper.to_array(weight).T)
            replace_node(graph, node, with_input(node, 1, turned))
    drop_unused(graph)


def _is_table(node: Any, weight: Any) -> bool:
    """Return whether a weight is a table, which products read transposed, unlike other weights."""
    from onnx import TensorProto

    is_float = bool(weight.data_type == TensorProto.FLOAT)
    return is_float and node.op_type == "MatMul" and node.input[1] != weight.name


def _multiply_many(graph: Graph, node: Any, rows: Rows, name: str) -> None:
    """Quantize the activation with one scale, the weight with one for each output."""
    from onnx import TensorProto, helper

    codes, scales = quantize_outputs(rows)
    source, target, called = node.input[0], node.output[0], node.name
    quantized = [f"{source}/{part}" for part in ("int8", "scale", "zero")]
    made = {output for each in graph.graph.node for output in each.output}
    nodes = [
        helper.make_node(
            "MatMulInteger",
            [quantized[0], add_constant(graph, f"{name}/int8", codes.T), quantized[2]],
            [f"{target}/int32"],
            name=called,
        ),
        helper.make_node(
            "Cast", [f"{target}/int32"], [f"{target}/float"], to=TensorProto.FLOAT, name=f"{called}/Cast"
        ),
        helper.make_node(
            "Mul",
            [quantized[1], add_constant(graph, f"{name}/scale", scales)],
            [f"{target}/scale"],
            name=f"{called}/Mul",
        ),
        helper.make_node("Mul", [f"{target}/float", f"{target}/scale"], [target], name=f"{called}/Mul_1"),
    ]
    if quantized[0] not in made:  # the products of query, key and value share it
        nodes.insert(
            0,
            helper.make_node(
                "DynamicQuantizeLinear", [source], quantized, name=f"{called}/DynamicQuantizeLinear"
            ),
        )
    replace_node(graph, node, *nodes)


def _multiply_few(graph: Graph, node: Any, rows: Rows, name: str) -> None:
    """Quantize weight and activation in blocks."""
    from onnx import helper

    codes, scales = quantize_blocks(rows)
    n_outputs, n_inputs = rows.shape
    product = helper.make_node(
        "MatMulNBits",
        [
            node.input[0],
            add_constant(graph, f"{name}/blocks", codes),
            add_constant(graph, f"{name}/scales", scales),
        ],
        [node.output[0]],
        name=node.name,
        domain=MICROSOFT,
        K=n_inputs,
        N=n_outputs,
        bits=8,
        block_size=codes.shape[2],
        accuracy_level=INT8_PRODUCTS,
    )
    replace_node(graph, node, product)
    if MICROSOFT not in {opset.domain for opset in graph.opset_import}:
        graph.opset_import.append(helper.make_opsetid(MICROSOFT, 1))


def _look_up_blocks(graph: Graph, name: str, width: int) -> None:
    """Let lookups in a float table read its INT8 blocks instead."""
    from onnx import TensorProto, helper

    zero = add_constant(graph, "blocks/zero", np.array(BLOCK_ZERO, dtype=np.float32))
    last = add_constant(graph, "blocks/last", np.array([-1], dtype=np.int64))
    shape = add_constant(graph, f"{name}/shape", np.array([0, 0, width], dtype=np.int64))
    for node in [node for node in graph.graph.node if node.op_type == "Gather" and node.input[0] == name]:
        tokens, target = node.input[1], node.output[0]
        steps: tuple[tuple[str, list[str], str, dict[str, int]], ...] = (
            ("Gather", [f"{name}/blocks", tokens], "codes", {}),
            ("Cast", [f"{target}/codes"], "wide", {"to": TensorProto.FLOAT}),
            ("Sub", [f"{target}/wide", zero], "signed", {}),
            ("Gather", [f"{name}/scales", tokens], "scales", {}),
            ("Unsqueeze", [f"{target}/scales", last], "scale", {}),
            ("Mul", [f"{target}/signed", f"{target}/scale"], "blocks", {}),
        )
        nodes = [
            helper.make_node(kind, given, [f"{target}/{made}"], name=f"{node.name}/{made}", **settings)
            for kind, given, made, settings in steps
        ]
        joined = helper.make_node(
            "Reshape", [f"{target}/blocks", shape], [target], name=f"{node.name}/Reshape"
        )
        replace_node(graph, node, *nodes, joined)


def quantize_outputs(rows: Rows) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Quantize a weight symmetrically, with one scale for each output.

    Args:
        rows: float32, shape (n_outputs, n_inputs).

    Returns:
        int8 of that shape, and float32 scales of shape (n_outputs,).
    """
    scales = _scales(rows)
    return np.rint(rows / scales[:, None]).astype(np.int8), scales


def quantize_blocks(rows: Rows) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Quantize a weight symmetrically, with one scale for each block of inputs.

    Args:
        rows: float32, shape (n_outputs, n_inputs).

    Returns:
        uint8, shape (n_outputs, n_blocks, block_size), in which 128 is zero, and float32 scales of shape
        (n_outputs, n_blocks).

    Raises:
        StageError: the number of inputs is not a multiple of 16.
    """
    n_outputs, n_inputs = rows.shape
    size = next((size for size in BLOCK_SIZES if n_inputs % size == 0), None)
    if size is None:
        raise StageError(f"a weight of {n_inputs} inputs cannot be cut into blocks of {BLOCK_SIZES[-1]}")
    blocks = rows.reshape(n_outputs, -1, size)
    scales = _scales(blocks)
    return (np.rint(blocks / scales[..., None]) + BLOCK_ZERO).astype(np.uint8), scales


def _scales(values: NDArray[np.float32]) -> NDArray[np.float32]:
    largest = np.abs(values).max(axis=-1)
    return np.where(largest > 0, largest / LARGEST, 1).astype(np.float32)
