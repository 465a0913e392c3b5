"""A stateful decoder, split into what runs once a clip, once a token, and once a prediction.

The decoder on disk is one graph, as optimum-intel exports it: it keeps cross-attention's keys and
values in states, and OpenVINO copies them in every step. Split, the keys and values are computed
once a clip and handed to the steps where they lie. A base step takes half the time
(docs/lab-notes.md). The output layer runs apart, in f32: bf16 would round logits to 3 digits.

Source of the graph's form: `patch_stateful_encoder_decoder` of optimum-intel.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sottovoce.errors import InputError
from sottovoce.terms import InferencePrecision

STATES_NAME = "encoder_hidden_states"

LOG_COUNTS_NAME = "log_counts"

ATTENTION = "ScaledDotProductAttention"

MASK_PORT, SCALE_PORT = 3, 4
"""Of an attention, both optional. Source: OpenVINO's specification of opset 13."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitDecoder:
    """Three graphs (`openvino.Model`) that share the weights of one.

    Attributes:
        cross: encoder states to cross-attention's keys and values, in the type that the steps
            compute in; outputs are named by their states in the whole graph.
        steps: tokens, those keys and values and the logarithm of the number of positions that each stands for,
            float32, shape (batch or 1, 1, 1, n_states), to hidden states; keeps self-attention's in states.
        head: hidden states, float32, shape (batch, n_tokens, d_model), to logits.
        names: of the keys and values.
    """

    cross: Any
    steps: Any
    head: Any
    names: tuple[str, ...]


def split_decoder(model: Any, precision: InferencePrecision) -> SplitDecoder:
    """Split a stateful decoder.

    Args:
        model: `openvino.Model`; changed.
        precision: what the steps compute in.

    Raises:
        InputError: the graph has another form.
    """
    stepped, headed, whole = model.clone(), model.clone(), model
    names = tuple(_state_name(read) for read in _cross_reads(whole))
    if not names:
        raise InputError("the decoder keeps no cross-attention states; make the variant again")
    return SplitDecoder(
        cross=_cross_model(whole, precision),
        steps=_steps_model(stepped, precision),
        head=_head_model(headed),
        names=names,
    )


def count_positions(attentions: Iterable[Any]) -> Any:
    """Let keys stand for several positions each, in place: softmax counts them as often.

    Args:
        attentions: `ScaledDotProductAttention` nodes over the same keys' positions.

    Returns:
        The parameter that takes the logarithms of the numbers, float32, shape (batch or 1, 1, 1, n_keys).
    """
    import openvino
    from openvino import opset13 as ops

    log_counts = ops.parameter([-1, 1, 1, -1], openvino.Type.f32)
    log_counts.output(0).set_names({LOG_COUNTS_NAME})
    for attention in attentions:
        scale = [attention.input_value(SCALE_PORT)] if attention.get_input_size() > SCALE_PORT else []
        query, key, value = attention.input_values()[:3]
        counting = ops.scaled_dot_product_attention(query, key, value, log_counts, *scale, causal=False)
        counting.set_friendly_name(attention.get_friendly_name())
        attention.output(0).replace(counting.output(0))
    return log_counts


def hand_over_in(precision: InferencePrecision, first: Any, steps: Any) -> tuple[Any, Any]:
    """Let a stateless pair hand cross-attention's float keys and values over in another type.

    In float32 every step would convert them to what it computes in: twice the bytes, and a copy.

    Args:
        precision: what the steps compute in; nothing changes for f32.
        first: `openvino.Model` of the first pass.
        steps: `openvino.Model` of the decoder with past.

    Returns:
        Both models.
    """
    import openvino

    names = [name for port in steps.inputs if (name := port.any_name) and _is_float_cross(port)]
    if precision is InferencePrecision.F32 or not names:
        return first, steps
    kind = getattr(openvino.Type, precision.value)
    giving, taking = (openvino.preprocess.PrePostProcessor(model) for model in (first, steps))
    for name in names:
        giving.output(name.replace("past_key_values", "present", 1)).tensor().set_element_type(kind)
        taking.input(name).tensor().set_element_type(kind)
    return giving.build(), taking.build()


def _is_float_cross(port: Any) -> bool:
    is_float = bool(port.get_element_type().get_type_name() == "f32")
    return is_float and port.any_name.startswith("past_key_values") and ".encoder." in port.any_name


def _cross_reads(model: Any) -> list[Any]:
    """Return the `ReadValue` nodes that start from the encoder's states, by the name of their state."""
    reads = [o for o in model.get_ops() if o.get_type_name() == "ReadValue" and o.get_input_size() > 0]
    return sorted((read for read in reads if _inputs_behind(read) == {STATES_NAME}), key=_state_name)


def _state_name(read: Any) -> str:
    return str(read.get_variable_id())


def _inputs_behind(node: Any) -> set[str]:
    """Name the inputs of the graph that a node depends on."""
    names: set[str] = set()
    seen: set[str] = set()
    waiting = [node]
    while waiting:
        for value in waiting.pop().input_values():
            behind = value.get_node()
            if behind.get_friendly_name() in seen:
                continue
            seen.add(behind.get_friendly_name())
            waiting.append(behind)
            if behind.get_type_name() == "Parameter":
                names |= set(behind.output(0).get_names()) & {STATES_NAME} or {behind.get_friendly_name()}
    return names


def _cross_model(model: Any, precision: InferencePrecision) -> Any:
    import openvino
    from openvino import opset13 as ops

    results = []
    for read in _cross_reads(model):
        value = read.input_value(0)
        if precision is not InferencePrecision.F32:
            value = ops.convert(value, precision.value).output(0)
        result = ops.result(value)
        result.output(0).set_names({_state_name(read)})
        results.append(result)
    return openvino.Model(results, [_input(model, STATES_NAME)], "cross")


def _steps_model(model: Any, precision: InferencePrecision) -> Any:
    import openvino
    from openvino import opset13 as ops

    kept_sinks = list(model.get_sinks())
    given = []
    for read in _cross_reads(model):
        parameter = ops.parameter(read.get_output_partial_shape(0), getattr(openvino.Type, precision.value))
        parameter.output(0).set_names({_state_name(read)})
        value = parameter.output(0)
        if precision is not InferencePrecision.F32:
            value = ops.convert(parameter, "f32").output(0)
        for target in read.output(0).get_target_inputs():
            if target.get_node().get_type_name() == "Assign":
                kept_sinks = [
                    s for s in kept_sinks if s.get_friendly_name() != target.get_node().get_friendly_name()
                ]
            else:
                target.replace_source_output(value)
        given.append(parameter)
    given.append(count_positions(_attentions_over(given, model)))
    hidden = ops.result(_output_layer(model).input_value(0))
    others = [p for p in model.get_parameters() if STATES_NAME not in p.output(0).get_names()]
    return openvino.Model([hidden], kept_sinks, [*others, *given], "steps")


def _attentions_over(keys: list[Any], model: Any) -> list[Any]:
    """Return the attention nodes whose keys are given from outside."""
    given = {key.get_friendly_name() for key in keys}
    attentions = (node for node in model.get_ordered_ops() if node.get_type_name() == ATTENTION)
    # What tokens said comes in behind the first cross-attention: those keys have other inputs as well.
    return [node for node in attentions if _inputs_behind(node.input_value(1).get_node()) <= given]


def _head_model(model: Any) -> Any:
    import openvino
    from openvino import opset13 as ops

    layer = _output_layer(model)
    hidden = ops.parameter(layer.input_value(0).get_partial_shape(), openvino.Type.f32)
    layer.input(0).replace_source_output(hidden.output(0))
    return openvino.Model([ops.result(layer.output(0))], [hidden], "head")


def _output_layer(model: Any) -> Any:
    """Return the matrix product that gives the logits."""
    node = model.output("logits").get_node().input_value(0).get_node()
    if node.get_type_name() != "MatMul":
        raise InputError(f"the decoder ends in {node.get_type_name()}, want MatMul; make the variant again")
    return node


def _input(model: Any, name: str) -> Any:
    return next(p for p in model.get_parameters() if name in p.output(0).get_names())
