"""Make an encoder elastic: dynamic audio context with cached padding states.

The encoder takes the speech of a window alone. Then its positions can no longer attend to the padding, which changes
all of their states. So each layer may keep a few keys and values of padding, cluster means that are weighted by the
number of positions that they stand for.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sottovoce.calibrate.store import Call, Calls
from sottovoce.errors import StageError
from sottovoce.optimize.openvino.padding_states import (
    COUNT_STEP,
    Floats,
    PaddingKeys,
    PaddingMeans,
    attentions_of,
    cluster,
    speech_frames,
)
from sottovoce.runtime.audio.constants import HOP_SAMPLES, WINDOW_POSITIONS
from sottovoce.runtime.audio.features import Features
from sottovoce.runtime.model.elastic import NO_POSITION, PaddingStates, plan_window
from sottovoce.terms import ElasticSpec

TABLE_RANK = 3
"""Rank of the position embedding: (1, 1500, d_model)."""

TABLE_LOOKUPS = ("Gather", "Slice")
"""Nodes that choose a row of the counts; variants of earlier versions have the first."""

SILENCE_FLOOR = -0.8
"""Value of a silent window's features: the floor that a clip of usual loudness has."""

KEYS_PORT, VALUES_PORT, MASK_PORT, SCALE_PORT = 1, 2, 3, 4
"""Inputs of an attention node behind its queries."""

PADDING_PORT = 1
"""Input of the nodes that append padding to the speech."""


def make_elastic(model: Any, padding: PaddingKeys | None = None) -> None:
    """Let an exported encoder take any even number of frames; the model is changed.

    optimum-intel exports the encoder for 3,000 frames: its position embedding has 1,500 rows, and its reshapes are
    fixed to that number. For 3,000 frames the elastic encoder computes the same as the exported one.

    Args:
        model: `openvino.Model` with the input `input_features`, shape (batch, n_mels, 3000).
        padding: keys that stand for the padding; None lets the layers attend to the speech alone.

    Raises:
        StageError: the graph is not of the form that this version of optimum-intel exports.
    """
    reshaped = sum(_free_reshape(operation) for operation in model.get_ops())
    sliced = sum(_slice_positions(operation) for operation in model.get_ops())
    if sliced != 1 or reshaped == 0:
        raise StageError(
            f"encoder: found {sliced} position embeddings and {reshaped} fixed reshapes, want 1 and at least 1; "
            "this version of optimum-intel is not supported"
        )
    shape = model.input("input_features").get_partial_shape()
    model.reshape({"input_features": [1 if padding else shape[0], shape[1], -1]})
    if padding is not None:
        _attend_to_padding(model, padding)
    model.validate_nodes_and_infer_types()


def _attend_to_padding(model: Any, padding: PaddingKeys) -> None:
    """Append keys and values of padding to those of each layer, weighted by the positions of their clusters."""
    from openvino import opset13 as ops

    attentions = attentions_of(model)
    length = ops.gather(ops.shape_of(attentions[0].input_value(KEYS_PORT)), np.array([2]), np.array(0))
    for layer, attention in enumerate(attentions):
        joined = [
            ops.concat([attention.input_value(port), _half(kept[layer][None])], axis=2)
            for port, kept in ((KEYS_PORT, padding.keys), (VALUES_PORT, padding.values))
        ]
        elastic = ops.scaled_dot_product_attention(
            attention.input_value(0),
            *joined,
            _mask(length, padding.counts[layer]),
            *_scale(attention),
            causal=False,
        )
        elastic.set_friendly_name(attention.get_friendly_name())
        attention.output(0).replace(elastic.output(0))


def replace_padding_keys(model: Any, padding: PaddingKeys) -> None:
    """Give an elastic encoder, quantized or not, other keys and values of padding; the model is changed.

    Their counts are exact: NNCF takes the table of their logarithms for an embedding, and rounds it to INT8.

    Args:
        model: `openvino.Model` of an encoder that `make_elastic` gave padding keys.
        padding: of any number of keys.

    Raises:
        StageError: a layer has no padding keys, or they are quantized.
    """
    for layer, attention in enumerate(attentions_of(model)):
        mask = _appending(attention, MASK_PORT).input_value(PADDING_PORT).get_node()
        if mask.get_type_name() not in TABLE_LOOKUPS:
            raise StageError(f"encoder: layer {layer} looks up no counts of padding; make the variant again")
        scores = _table(padding.counts[layer])
        mask.input(0).replace_source_output(scores.output(0))
        for port, kept in ((KEYS_PORT, padding.keys), (VALUES_PORT, padding.values)):
            appended = _appending(attention, port).input(PADDING_PORT)
            appended.replace_source_output(_half(kept[layer][None]).output(0))
    model.validate_nodes_and_infer_types()


def read_padding_keys(model: Any) -> PaddingKeys:
    """Read the keys and values of padding of an elastic encoder, quantized or not.

    Args:
        model: `openvino.Model` of an encoder that `make_elastic` gave padding keys.

    Raises:
        StageError: a layer has no padding keys, or they are quantized.
    """
    attentions = attentions_of(model)
    keys, values = (
        np.stack(
            [_stored(_appending(attention, port).input_value(PADDING_PORT))[0] for attention in attentions]
        )
        for port in (KEYS_PORT, VALUES_PORT)
    )
    lookups = [
        _appending(attention, MASK_PORT).input_value(PADDING_PORT).get_node() for attention in attentions
    ]
    counts = np.exp(np.stack([_stored(lookup.input_value(0))[0] for lookup in lookups]))
    return PaddingKeys(keys=keys, values=values, counts=counts)


def _stored(value: Any) -> Floats:
    """Return a constant that is stored in float16, as float32."""
    node = value.get_node()
    constant = node.input_value(0).get_node() if node.get_type_name() == "Convert" else node
    stored: Floats = constant.data.astype(np.float32)
    return stored


def _appending(attention: Any, port: int) -> Any:
    """Return the node that appends padding to an input of an attention."""
    node = attention.input_value(port).get_node() if attention.get_input_size() > port else attention
    if node.get_type_name() != "Concat":
        raise StageError(
            f"encoder: {attention.get_friendly_name()} has no padding keys, or quantized ones; "
            "make the variant again with silence_centroids, and keep ScaledDotProductAttention float"
        )
    return node


def _half(values: Floats) -> Any:
    """Return a float32 constant that is stored in float16."""
    from openvino import opset13 as ops

    return ops.convert(ops.constant(values.astype(np.float16)), "f32")


def _scale(attention: Any) -> list[Any]:
    return [attention.input_value(SCALE_PORT)] if attention.get_input_size() > SCALE_PORT else []


def _mask(length: Any, counts: Floats) -> Any:
    """Return what is added to attention scores: 0 for speech, the logarithm of the count for padding.

    Args:
        length: positions of the speech, shape (1,).
        counts: positions that each key stands for after 0, 25, ... 1500 positions of speech, shape
            (n_heads, 61, n_keys).

    Returns:
        Shape (1, n_heads, 1, n_positions + n_keys).
    """
    from openvino import opset13 as ops

    row = ops.divide(ops.add(length, np.array([COUNT_STEP // 2])), np.array([COUNT_STEP]))
    # Not a Gather: NNCF would take the table for an embedding and round it to INT8, in steps of half a nat.
    end, step, axis = ops.add(row, np.array([1])), np.array([1]), np.array([2])
    of_padding = ops.slice(_table(counts), row, end, step, axis)
    shape = ops.concat([ops.constant(np.array([1, len(counts), 1])), length], axis=0)
    return ops.concat([ops.broadcast(np.float32(0), shape), of_padding], axis=3)


def _table(counts: Floats) -> Any:
    """Return a node with the logarithms of counts, shape (1, n_heads, 61, n_keys): float16 on disk, as other weights."""
    from openvino import opset13 as ops

    scores = np.log(np.maximum(counts, np.float32(NO_POSITION)))[None]
    return ops.convert(ops.constant(scores.astype(np.float16)), "f32")


def _free_reshape(operation: Any) -> bool:
    """Replace the fixed length in a reshape by -1; return whether there was one."""
    if operation.get_type_name() != "Reshape":
        return False
    from openvino import opset13 as ops

    target = operation.input_value(1).get_node()
    if target.get_type_name() != "Constant" or WINDOW_POSITIONS not in target.data.tolist():
        return False
    free = np.where(target.data == WINDOW_POSITIONS, -1, target.data)
    operation.input(1).replace_source_output(ops.constant(free).output(0))
    return True


def _slice_positions(operation: Any) -> bool:
    """Cut the position embedding to the length of the features; return whether this operation adds it."""
    if operation.get_type_name() != "Add":
        return False
    for port in (0, 1):
        table = operation.input_value(port)
        shape = table.get_partial_shape()
        is_table = len(shape) == TABLE_RANK and shape[0] == 1 and shape[1] == WINDOW_POSITIONS
        if is_table and _is_constant(table.get_node()):
            _insert_slice(operation, port)
            return True
    return False


def _is_constant(node: Any) -> bool:
    if node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    return bool(node.get_type_name() == "Constant")


def _insert_slice(add: Any, port: int) -> None:
    from openvino import opset13 as ops

    other = add.input_value(1 - port)
    length = ops.gather(ops.shape_of(other), np.array([1]), np.array(0))
    cut = ops.slice(add.input_value(port), np.array([0]), length, np.array([1]), np.array([1]))
    add.input(port).replace_source_output(cut.output(0))


def elastic_calls(calls: Calls, spec: ElasticSpec) -> Calls:
    """Cut recorded encoder calls to the frames that an elastic encoder receives, and add one silent window.

    Args:
        calls: with `input_features`, float32, shape (1, n_mels, 3000).
    """

    def make() -> Iterator[Call]:
        for call in calls:
            yield {"input_features": _cut(call["input_features"], spec)}
        shape = next(iter(calls))["input_features"].shape
        yield {"input_features": np.full(shape, SILENCE_FLOOR, dtype=np.float32)}

    return Calls(length=len(calls) + 1, make=make)


def _cut(features: Features, spec: ElasticSpec) -> Features:
    """Cut off the padding after the margin."""
    plan = plan_window(speech_frames(features) * HOP_SAMPLES, spec)
    return np.ascontiguousarray(features[:, :, : plan.n_frames])


def save_padding_states(folder: Path, spec: ElasticSpec, padding: PaddingMeans) -> None:
    """Write the states that the decoder attends to after the speech into the folder of a variant."""
    if spec.silence_centroids is None:
        PaddingStates.save(folder, spec, padding.states.astype(np.float16))
        return
    clusters = cluster(padding.states, spec.silence_centroids)
    PaddingStates.save(folder, spec, clusters.means(padding.states).astype(np.float16), clusters.labels)
