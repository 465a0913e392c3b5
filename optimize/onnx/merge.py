"""Merge both decoders into one ONNX graph with shared weights, which transformers.js loads.

The input `use_cache_branch` chooses between the first pass and a step. Tensor names and the empty outputs of
cross-attention in a step are those of `merge_decoders` of optimum-onnx; its callers keep the keys and values of the
first pass.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from sottovoce.errors import StageError
from sottovoce.optimize.onnx.graph import Graph, add_constant

MERGED_NAME = "decoder_model_merged.onnx"

CHOICE_NAME = "use_cache_branch"

SHARED_BYTES = 1024
"""Smaller constants stay in their branch, where onnxruntime needs shapes and indices."""


def merge_decoders(first: Graph, steps: Graph) -> Graph:
    """Merge the first pass and the decoder with past.

    Args:
        first: `onnx.ModelProto` with `input_ids` and `encoder_hidden_states`; it is not changed.
        steps: `onnx.ModelProto` with `input_ids` and `past_key_values.*`; it is not changed.

    Returns:
        `onnx.ModelProto` with the inputs of both and `use_cache_branch`, bool, shape (1,). `present.N.encoder.*`
        is empty in a step.

    Raises:
        StageError: the graphs have different opsets.
    """
    from onnx import TensorProto, helper

    _check_opsets(first, steps)
    shared: dict[str, Any] = {}
    outputs = [output.name for output in first.graph.output]
    choose = helper.make_node(
        "If",
        [CHOICE_NAME],
        outputs,
        name=CHOICE_NAME,
        then_branch=_branch(steps, first, "with_past", shared),
        else_branch=_branch(first, first, "first", shared),
    )
    choice = helper.make_tensor_value_info(CHOICE_NAME, TensorProto.BOOL, [1])
    known = {value.name for value in first.graph.input}
    inputs = [*first.graph.input, *(value for value in steps.graph.input if value.name not in known), choice]
    merged = helper.make_graph([choose], "merged", inputs, list(first.graph.output), list(shared.values()))
    domains = {opset.domain: opset for opset in (*first.opset_import, *steps.opset_import)}
    return helper.make_model(merged, opset_imports=list(domains.values()), ir_version=first.ir_version)


def _check_opsets(first: Graph, steps: Graph) -> None:
    versions = [{o.domain: o.version for o in graph.opset_import} for graph in (first, steps)]
    if versions[0].get("") != versions[1].get(""):
        raise StageError("both decoders must be of one ONNX opset to be merged; export them again")


def _branch(graph: Graph, first: Graph, name: str, shared: dict[str, Any]) -> Any:
    """Make one branch; its values get the branch's prefix, its large constants go to `shared`."""
    import onnx
    from onnx import helper

    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    _add_missing_outputs(copy, first)
    names = _shared_names(copy, shared)
    given = {value.name for value in copy.graph.input}
    own = {tensor.name for tensor in copy.graph.initializer} - set(names)
    for node in copy.graph.node:
        _rename(node.input, names, given, name)
        _rename(node.output, names, given, name)
    kept = [
        _renamed(tensor, f"{name}/{tensor.name}") for tensor in copy.graph.initializer if tensor.name in own
    ]
    by_name = {value.name: value for value in copy.graph.output}
    outputs = [_renamed(by_name[output.name], f"{name}/{output.name}") for output in first.graph.output]
    return helper.make_graph(list(copy.graph.node), name, [], outputs, kept)


def _rename(values: Any, names: dict[str, str], given: set[str], prefix: str) -> None:
    for i, value in enumerate(values):
        if value and value not in given:
            values[i] = names.get(value, f"{prefix}/{value}")


def _renamed(thing: Any, name: str) -> Any:
    copy = type(thing)()
    copy.CopyFrom(thing)
    copy.name = name
    return copy


def _shared_names(graph: Graph, shared: dict[str, Any]) -> dict[str, str]:
    """Name the large constants by a hash of their content, add them to `shared`, and return the names."""
    names = {}
    for tensor in graph.graph.initializer:
        if len(tensor.raw_data) >= SHARED_BYTES:
            content = hashlib.sha256(repr((tensor.data_type, list(tensor.dims))).encode() + tensor.raw_data)
            name = f"weight/{content.hexdigest()[:16]}"
            names[tensor.name] = name
            if name not in shared:
                shared[name] = _renamed(tensor, name)
    return names


def _add_missing_outputs(graph: Graph, first: Graph) -> None:
    """Give a step empty outputs for cross-attention, which only the first pass computes."""
    from onnx import helper

    known = {value.name for value in graph.graph.output}
    for value in first.graph.output:
        if value.name in known:
            continue
        sizes = _empty_sizes(value.type.tensor_type.shape.dim)
        constant = add_constant(graph, f"{value.name}/empty", np.zeros(sizes, dtype=np.float32))
        graph.graph.node.append(
            helper.make_node("Identity", [constant], [value.name], name=f"{value.name}/Identity")
        )
        graph.graph.output.append(
            helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, sizes)
        )


def _empty_sizes(dims: Sequence[Any]) -> list[int]:
    return [0, *(dim.dim_value or 1 for dim in dims[1:])]
