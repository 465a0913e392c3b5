"""The part of a decoder's graph that computes the cross-attention of its alignment heads.

Source: `find_alignment` in `whisper/timing.py` of openai/whisper, which runs the whole model with hooks on the heads.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sottovoce.errors import InputError
from sottovoce.runtime.model.openvino.split_decoder import ATTENTION, MASK_PORT, SCALE_PORT, count_positions

Heads = Sequence[tuple[int, int]]
"""Layer and index of each head."""


def attention_model(decoder: Any, heads: Heads | None) -> Any:
    """Make a graph that computes a decoder's cross-attention weights.

    Args:
        decoder: `openvino.Model` for the first pass, of either layout; it is modified.
        heads: by default all heads of the later half of the layers, as in openai/whisper; also where the decoder lacks
            one of those given, since distilled models are published with the heads of their teacher.

    Returns:
        `openvino.Model` without states. Its inputs are `input_ids`, `encoder_hidden_states` and `log_counts`, its
        output has the shape (batch, n_heads, n_tokens, n_states).

    Raises:
        InputError: the graph has no cross-attention.
    """
    import openvino

    _remove_states(decoder)
    layers = _cross_attentions(decoder)
    if not layers:
        raise InputError("the decoder has no cross-attention: it is not Whisper's")
    chosen = sorted(set(heads)) if heads and _have(layers, heads) else _later_half(layers)
    log_counts = count_positions(layers)
    layers = _cross_attentions(decoder)
    weights = [
        _attention_weights(layers[layer], [head for of, head in chosen if of == layer])
        for layer in sorted({layer for layer, _ in chosen})
    ]
    joined = openvino.opset13.concat(weights, axis=1)
    # Without states, beam_idx is not used.
    inputs = [node for node in decoder.get_parameters() if "beam_idx" not in node.output(0).get_names()]
    return openvino.Model([joined.output(0)], [*inputs, log_counts], "alignment")


def _remove_states(decoder: Any) -> None:
    """Replace each state by its initial value: a single pass needs no state."""
    beams = [node for node in decoder.get_parameters() if "beam_idx" in node.output(0).get_names()]
    for node in decoder.get_ordered_ops():
        if node.get_type_name() == "ReadValue":
            node.output(0).replace(node.input_value(0))
    for beam in beams:
        for target in beam.output(0).get_target_inputs():
            gather = target.get_node()
            gather.output(0).replace(gather.input_value(0))


def _cross_attentions(decoder: Any) -> list[Any]:
    """Return the attention nodes whose keys do not depend on the tokens, in order of layers."""
    dependent: set[str] = set()
    found = []
    for node in decoder.get_ordered_ops():
        sources = [value.get_node().get_name() for value in node.input_values()]
        kind = node.get_type_name()
        is_tokens = kind == "Parameter" and "input_ids" in node.output(0).get_names()
        # Shapes depend on the number of tokens, not on the tokens.
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


def _have(layers: Sequence[Any], heads: Heads) -> bool:
    return all(0 <= layer < len(layers) and 0 <= head < _count_heads(layers[layer]) for layer, head in heads)


def _count_heads(attention: Any) -> int:
    return int(attention.input_value(0).get_partial_shape()[1].get_length())


def _attention_weights(attention: Any, heads: list[int]) -> Any:
    from openvino import opset13 as ops

    inputs = attention.input_values()
    axis, wanted = ops.constant(np.int64(1)), ops.constant(np.array(heads, dtype=np.int64))
    queries, keys = (ops.gather(value, wanted, axis) for value in inputs[:2])
    products = ops.matmul(queries, keys, transpose_a=False, transpose_b=True)
    scores = ops.add(ops.multiply(products, _scale(attention)), inputs[MASK_PORT])
    return ops.softmax(scores, axis=-1)


def _scale(attention: Any) -> Any:
    """Return the scale of an attention node; its default is 1 / sqrt(head size)."""
    from openvino import opset13 as ops

    inputs = attention.input_values()
    given = inputs[SCALE_PORT:]
    if given:
        return given[0]
    size = int(inputs[0].get_partial_shape()[3].get_length())
    return ops.constant(np.float32(size**-0.5))
