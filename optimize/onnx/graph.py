"""Read, change, count and save ONNX graphs (`onnx.ModelProto`)."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import StageError
from sottovoce.optimize.openvino.graph import Int8Count
from sottovoce.terms import Weights

Graph = Any
"""`onnx.ModelProto`; onnx is imported where it is used."""

MAX_FILE_BYTES = 2_000_000_000
"""A protobuf is limited to 2 GiB; this leaves 147 MB for all but weights."""

EXTERNAL_SUFFIX = "_data"
"""Suffix of the file with the weights of a graph over 2 GB, as in optimum."""

ANY_ELEMENTS = 2
"""All constants but single numbers, which are parameters of operations."""

LARGE_ELEMENTS = 16_384
"""In a quantized graph smaller float constants are scales and biases: float16 would save little and cost accuracy."""

PRODUCTS = ("Conv", "Gemm", "MatMul", "MatMulInteger", "MatMulNBits")

PASSING = ("Cast", "DequantizeLinear", "Transpose")
"""Operations between a weight and the operation that uses it."""


def initializers(graph: Graph) -> dict[str, Any]:
    """Return the constants of a graph (`onnx.TensorProto`) by name."""
    return {tensor.name: tensor for tensor in graph.graph.initializer}


def producers(graph: Graph) -> dict[str, Any]:
    """Return the node (`onnx.NodeProto`) that computes each value, by the value's name."""
    return {name: node for node in graph.graph.node for name in node.output}


def weight_behind(graph: Graph, name: str) -> Any | None:
    """Return the constant that a value comes from, through `PASSING` operations; None for an activation."""
    constants, made_by = initializers(graph), producers(graph)
    while name not in constants:
        node = made_by.get(name)
        if node is None or node.op_type not in PASSING:
            return None
        name = node.input[0]
    return constants[name]


def weighted_products(graph: Graph) -> Iterator[tuple[Any, Any]]:
    """Yield each convolution and matrix product that has a constant weight, with that weight."""
    for node in graph.graph.node:
        if node.op_type in PRODUCTS:
            weight = weight_behind(graph, node.input[1])
            if weight is not None:
                yield node, weight


def count_int8(graph: Graph) -> Int8Count:
    """Count the INT8 weights and activations of a graph.

    An activation that is quantized on the fly, in its own node or inside a product, counts too.
    """
    import onnx

    int8 = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
    products = [(node, weight.data_type in int8) for node, weight in weighted_products(graph)]
    constants = initializers(graph)
    quantized = sum(
        node.op_type in ("QuantizeLinear", "DynamicQuantizeLinear") and node.input[0] not in constants
        for node in graph.graph.node
    )
    return Int8Count(
        weights=sum(is_int8 for _, is_int8 in products),
        activations=quantized + sum(node.op_type == "MatMulNBits" for node, _ in products),
        weighted=len(products),
        float_bytes_fp16=2 * sum(_elements(tensor) for tensor in constants.values() if _is_float(tensor)),
        int8_bytes=sum(_elements(tensor) for tensor in constants.values() if tensor.data_type in int8),
    )


def add_constant(graph: Graph, name: str, values: NDArray[Any]) -> str:
    """Add a constant if there is none with that name; return the name."""
    from onnx import numpy_helper

    if name not in initializers(graph):
        graph.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
    return name


def replace_node(graph: Graph, node: Any, *others: Any) -> None:
    """Replace a node by others."""
    nodes = list(graph.graph.node)
    at = next(i for i, each in enumerate(nodes) if each.output[0] == node.output[0])
    set_nodes(graph, [*nodes[:at], *others, *nodes[at + 1 :]])


def with_input(node: Any, at: int, name: str) -> Any:
    """Return a copy of a node with another input at one port."""
    copy = _copied(node)
    copy.input[at] = name
    return copy


def set_nodes(graph: Graph, nodes: list[Any]) -> None:
    """Replace all nodes of a graph."""
    kept = [_copied(node) for node in nodes]
    del graph.graph.node[:]
    graph.graph.node.extend(kept)


def _copied(node: Any) -> Any:
    import onnx

    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy


def drop_unused(graph: Graph) -> None:
    """Remove unused nodes and constants."""
    while True:
        used = {name for node in graph.graph.node for name in node.input}
        used |= {output.name for output in graph.graph.output}
        kept = [node for node in graph.graph.node if used.intersection(node.output)]
        if len(kept) == len(graph.graph.node):
            break
        set_nodes(graph, kept)
    for tensor in [tensor for tensor in graph.graph.initializer if tensor.name not in used]:
        graph.graph.initializer.remove(tensor)


def store_float_weights(graph: Graph, weights: Weights, *, min_elements: int) -> None:
    """Store the float constants of a graph in another type, in place.

    onnxruntime converts float16 constants back to float32 once, when it opens the graph.

    Args:
        min_elements: smaller constants stay float32.
    """
    if weights is Weights.FP32:
        return
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in graph.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and _elements(tensor) >= min_elements:
            values, name = numpy_helper.to_array(tensor).astype(np.float16), tensor.name
            tensor.CopyFrom(numpy_helper.from_array(values, f"{name}/fp16"))
            casts.append(
                helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT, name=f"{name}/Cast")
            )
    set_nodes(graph, [*casts, *graph.graph.node])


def save_graph(graph: Graph, path: Path, *, max_file_bytes: int = MAX_FILE_BYTES) -> None:
    """Write a graph, with its weights in a second file if one cannot hold them, and check it.

    Args:
        graph: its weights may be moved out to the second file.
        max_file_bytes: limit of one file.

    Raises:
        StageError: `onnx.checker` refuses the graph.
    """
    import onnx

    is_large = sum(len(tensor.raw_data) for tensor in graph.graph.initializer) > max_file_bytes
    beside = f"{path.name}{EXTERNAL_SUFFIX}"
    (path.parent / beside).unlink(missing_ok=True)  # onnx would append to it
    onnx.save_model(graph, path, save_as_external_data=is_large, location=beside)
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as cause:
        reason = " ".join(str(cause).split())[:300]
        raise StageError(f"{path.name} is no valid ONNX graph: {reason}") from cause


def size_bytes(path: Path) -> int:
    """Return the size of a graph on disk, with its weights."""
    beside = path.with_name(f"{path.name}{EXTERNAL_SUFFIX}")
    return path.stat().st_size + (beside.stat().st_size if beside.is_file() else 0)


def _is_float(tensor: Any) -> bool:
    from onnx import TensorProto

    return tensor.data_type in (TensorProto.FLOAT, TensorProto.FLOAT16)


def _elements(tensor: Any) -> int:
    return math.prod(tensor.dims)
