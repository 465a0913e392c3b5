"""Time the encoder and one decode step of a variant alone, and count their arithmetic and memory traffic.

The counts come from the variant's graphs. A convolution or a matrix product runs in INT8 where its weight is INT8 and
its input is quantized, else in the inference precision; attention always runs in the inference precision.
"""

import re
import time
from collections.abc import Iterator
from math import prod
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from sottovoce.benchmark.engines.engine import Probe
from sottovoce.runtime.audio.constants import WINDOW_FRAMES, WINDOW_POSITIONS
from sottovoce.runtime.model.base import Decoder, Encoded
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.layout import component_path, layout_of
from sottovoce.runtime.model.load import load_decoder
from sottovoce.runtime.model.openvino.quiet_import import shared_core
from sottovoce.terms import Component, InferencePrecision, Layout

N_ENCODER_CALLS = 10
N_STEPS = 30
N_TOKENS = 100
"""Tokens before a timed step."""

INT8 = "i8"

FLOAT_BYTES = {
    InferencePrecision.F32: 4,
    InferencePrecision.BF16: 2,
    InferencePrecision.F16: 2,
}

ONCE_A_WINDOW = re.compile(r"encoder_attn\.[kv]_proj")
"""Matrix products of a decoder that run in the prefill only: cross-attention's keys and values."""


def probe_variant(folder: Path, compute: ComputeSpec) -> Probe:
    """Time a variant's parts and count their work.

    It is compiled again: a second request of a stateful decoder that has been used ends the process with a damaged
    heap (OpenVINO 2026.4).
    """
    path = component_path(folder, Component.ENCODER)
    encoder = shared_core().compile_model(path, "CPU", compute.properties())
    precision = InferencePrecision(encoder.get_property("INFERENCE_PRECISION_HINT").get_type_name())
    encoder_s, states = _time_encoder(encoder)
    return Probe(
        encoder_s=encoder_s,
        encoder_macs=_encoder_macs(folder, precision),
        step_s=_time_step(load_decoder(folder, compute), states),
        step_bytes=_step_bytes(folder, precision),
    )


def _time_encoder(compiled: Any) -> tuple[float, Any]:
    """Return the median seconds of a window, and its states: float32, shape (1, 1500, d_model)."""
    request = compiled.create_infer_request()
    n_mels = compiled.input("input_features").get_partial_shape()[1].get_length()
    features = np.zeros((1, n_mels, WINDOW_FRAMES), dtype=np.float32)
    seconds = []
    for _ in range(N_ENCODER_CALLS + 1):
        started = time.perf_counter()
        request.infer([features])
        seconds.append(time.perf_counter() - started)
    return median(seconds[1:]), request.get_output_tensor().data.copy()


def _time_step(decoder: Decoder, states: Any) -> float:
    """Return the median seconds of a step around the hundredth token."""
    token = np.zeros((1, 1), dtype=np.int64)
    decoder.start(Encoded(states))
    seconds = []
    for _ in range(N_TOKENS + N_STEPS // 2):
        started = time.perf_counter()
        decoder.run(token)
        seconds.append(time.perf_counter() - started)
    return median(seconds[-N_STEPS:])


def _encoder_macs(folder: Path, precision: InferencePrecision) -> dict[str, int]:
    model = shared_core().read_model(component_path(folder, Component.ENCODER))
    n_mels = model.input(0).get_partial_shape()[1].get_length()
    model.reshape([1, n_mels, WINDOW_FRAMES])
    counts: dict[str, int] = {}
    for node in _computing(model):
        kind = INT8 if _is_int8(node) else precision.value
        counts[kind] = counts.get(kind, 0) + _macs(node)
    return counts


def _computing(model: Any) -> Iterator[Any]:
    kinds = ("MatMul", "Convolution", "ScaledDotProductAttention")
    return (node for node in model.get_ordered_ops() if node.get_type_name() in kinds)


def _macs(node: Any) -> int:
    """Count the multiply-accumulates of a convolution, a matrix product or an attention."""
    shapes = [list(node.input_value(i).get_shape()) for i in range(min(3, node.get_input_size()))]
    match node.get_type_name():
        case "Convolution":
            return int(prod(node.get_output_shape(0)) * prod(shapes[1][1:]))
        case "MatMul":
            inner = shapes[0][-2 if node.get_attributes()["transpose_a"] else -1]
            return int(prod(node.get_output_shape(0)) * inner)
        case _:  # scores, then values
            query, key, value = shapes
            return int(prod(query[:-1]) * key[-2] * (query[-1] + value[-1]))


def _is_int8(node: Any) -> bool:
    if node.get_type_name() == "ScaledDotProductAttention":
        return False
    weight = _weight(node)
    is_quantized = node.input_value(0).get_node().get_type_name() == "FakeQuantize"
    return is_quantized and weight is not None and _is_int8_type(weight.get_element_type())


def _is_int8_type(kind: Any) -> bool:
    return kind.get_type_name() in {"i8", "u8"}


def _weight(node: Any) -> Any | None:
    """Follow a node's second input up to its constant; None if that is not a weight."""
    above = node.input_value(1).get_node()
    while above.get_type_name() in {"Convert", "Multiply", "Subtract", "Reshape", "FakeQuantize"}:
        above = above.input_value(0).get_node()
    return above if above.get_type_name() == "Constant" else None


def _step_bytes(folder: Path, precision: InferencePrecision) -> int:
    is_stateful = layout_of(folder) is Layout.STATEFUL
    part = Component.DECODER if is_stateful else Component.DECODER_WITH_PAST
    model = shared_core().read_model(component_path(folder, part))
    float_bytes = FLOAT_BYTES[precision]
    weights = (
        weight
        for node in _computing(model)
        if not ONCE_A_WINDOW.search(node.get_friendly_name()) and (weight := _weight(node)) is not None
    )
    read: int = sum(
        prod(weight.get_output_shape(0)) * (1 if _is_int8_type(weight.get_element_type()) else float_bytes)
        for weight in weights
    )
    return read + (_stateful_kv_bytes(model, float_bytes) if is_stateful else _stateless_kv_bytes(model))


def _stateful_kv_bytes(model: Any, float_bytes: int) -> int:
    """Count keys and values of both attentions of each layer, in the inference precision."""
    d_model = model.input("encoder_hidden_states").get_partial_shape()[2].get_length()
    n_layers = sum(node.get_type_name() == "ScaledDotProductAttention" for node in model.get_ops()) // 2
    return int(2 * n_layers * d_model * (WINDOW_POSITIONS + N_TOKENS) * float_bytes)


def _stateless_kv_bytes(model: Any) -> int:
    """Count keys and values in the types of the decoder's inputs."""
    total = 0
    for port in model.inputs:
        name = port.get_any_name()
        if name.startswith("past_key_values"):
            shape = port.get_partial_shape()
            n_positions = WINDOW_POSITIONS if ".encoder." in name else N_TOKENS
            total += (
                shape[1].get_length() * shape[3].get_length() * n_positions * port.get_element_type().size
            )
    return total
