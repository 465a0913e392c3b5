"""A decoder's graph, cut down to the cross-attention of its alignment heads.

Source: `find_alignment` in `whisper/timing.py` of openai/whisper, which hooks the heads in the whole model.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sottovoce.errors import InputError
from sottovoce.runtime.model.openvino.split_decoder import ATTENTION, MASK_PORT, SCALE_PORT, count_positions

Heads = Sequence[tuple[int, int]]
"""Layer and number of each."""


def attention_model(decoder: Any, heads: Heads | None) -> Any:
    """Make a graph that gives a decoder's cross-attention weights.

    Args:
        decoder: `openvino.Model` of a first pass, of either layout; taken apart by this.
        heads: (layer, head) of those wanted; by default all of the later half of the layers, as in
            openai/whisper.

    Returns:
        `openvino.Model` of `input_ids`, `encoder_hidden_states` and `log_counts`, without states. Its output has
        the shape (batch, n_heads, n_tokens, n_states).

    Raises:
        InputError: the graph has no cross-attention, or not these heads.
    """
    import openvino

    _forget_states(decoder)
    layers = _cross_attentions(decoder)
    chosen = _later_half(layers) if heads is None else sorted(set(heads))
    if not chosen or not all(0 <= layer < len(layers) for layer, _ in chosen):
        raise InputError(
            f"the alignment heads {chosen} do not fit a decoder with {len(layers)} cross-attentions"
        )
    log_counts = count_positions(layers)
    layers = _cross_attentions(decoder)
    weights = [
        _attention_weights(layers[layer], [head for of, head in chosen if of == layer])
        for layer in sorted({layer for layer, _ in chosen})
    ]
    joined = openvino.opset13.concat(weights, axis=1)
    # beam_idx has nothing left to reorder.
    inputs = [node for node in decoder.get_parameters() if "beam_idx" not in node.output(0).get_names()]
    return openvino.Model([joined.output(0)], [*inputs, log_counts], "alignment")


def _forget_states(decoder: Any) -> None:
    """Let each state be what it is at the start of a text: one pass needs no memory."""
    beams = [node for node in decoder.get_parameters() if "beam_idx" in node.output(0).get_names()]
    for node in decoder.get_ordered_ops():
        if node.get_type_name() == "ReadValue":
            node.output(0).replace(node.input_value(0))
    for beam in beams:
        for target in beam.output(0).get_target_inputs():
            gather = target.get_node()
            gather.output(0).replace(gather.input_value(0))


def _cross_attentions(decoder: Any) -> list[Any]:
    """Return the attention nodes whose keys do not depend on the tokens, by layer."""
    dependent: set[str] = set()
    found = []
    for node in decoder.get_ordered_ops():
        sources = [value.get_node().get_name() for value in node.input_values()]
        kind = node.get_type_name()
        is_tokens = kind == "Parameter" and "input_ids" in node.output(0).get_names()
        # A shape depends on how many tokens there are, not on which.
        if is_tokens or (kind != "ShapeOf" and not dependent.isdisjoint(sources)):
            dependent.add(node.get_name())
        if kind == ATTENTION and sources[1] not in dependent:
            found.append(node)
    return found


def _later_half(layers: list[Any]) -> list[tuple[int, int]]:
    return [
        (layer, head)
        for layer in range(len(layers) // 2, len(layers))
        for head in range(_count_heads(layers[layer]))
    ]


def _count_heads(attention: Any) -> int:
    return int(attention.input_value(0).get_partial_shape()[1].get_length())


def _attention_weights(attention: Any, heads: list[int]) -> Any:
    from openvino import opset13 as ops

    n_heads = _count_heads(attention)
    if not all(0 <= head < n_heads for head in heads):
        raise InputError(f"the alignment heads {heads} do not fit a layer with {n_heads} heads")
    inputs = attention.input_values()
    axis, wanted = ops.constant(np.int64(1)), ops.constant(np.array(heads, dtype=np.int64))
    queries, keys = (ops.gather(value, wanted, axis) for value in inputs[:2])
    products = ops.matmul(queries, keys, transpose_a=False, transpose_b=True)
    scores = ops.add(ops.multiply(products, _scale(attention)), inputs[MASK_PORT])
    return ops.softmax(scores, axis=-1)


def _scale(attention: Any) -> Any:
    """Return the scale that the node was given, or its default: one by the root of the head's size."""
    from openvino import opset13 as ops

    inputs = attention.input_values()
    given = inputs[SCALE_PORT:]
    if given:
        return given[0]
    size = int(inputs[0].get_partial_shape()[3].get_length())
    return ops.constant(np.float32(size**-0.5))
