"""Quantize the keys of cross-attention once for each clip instead of once for each step.

A stateless decoder with past receives the keys of cross-attention, which are the same in all steps of a clip:
(1, n_heads, 1500, head_size) for each layer. As NNCF quantizes it, it rounds them to INT8 in every step. Here the
first decoder pass returns them in INT8 and the steps only scale them: the same values in a quarter of the bytes.
"""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

PAST_KEY = re.compile(r"past_key_values\.(\d+)\.encoder\.key")

PRESENT_KEY = "present.{layer}.encoder.key"

INT8_MIN, INT8_MAX, INT8_LEVELS = -128.0, 127.0, 256


@dataclass(frozen=True, slots=True, kw_only=True)
class _QuantizedKey:
    """A key input of the decoder with past and its quantizer.

    Attributes:
        parameter: the input, `openvino.Node`, float32.
        quantize: the `FakeQuantize` node that is its only reader.
        scale: size of one INT8 step.
    """

    layer: int
    parameter: Any
    quantize: Any
    scale: float


def cache_int8_cross_attention(decoder: Any, decoder_with_past: Any) -> int:
    """Move the rounding of cross-attention's keys from the steps to the first pass; both models are changed.

    Keys that are float, or quantized with a zero point or by channel, stay as they are: OpenVINO's attention runs in
    INT8 only on signed values with one scale.

    Args:
        decoder: `openvino.Model` of the first pass, whose output `present.N.encoder.key` is float32.
        decoder_with_past: `openvino.Model` of the steps, quantized by NNCF.

    Returns:
        The number of layers changed.
    """
    keys = [key for parameter in decoder_with_past.get_parameters() if (key := _quantized_key(parameter))]
    for key in keys:
        _round_output(decoder, PRESENT_KEY.format(layer=key.layer), key.scale)
        _scale_input(key)
    decoder.validate_nodes_and_infer_types()
    decoder_with_past.validate_nodes_and_infer_types()
    return len(keys)


def _quantized_key(parameter: Any) -> _QuantizedKey | None:
    names = [match for name in parameter.output(0).get_names() if (match := PAST_KEY.fullmatch(name))]
    readers = [target.get_node() for target in parameter.output(0).get_target_inputs()]
    if not names or [reader.get_type_name() for reader in readers] != ["FakeQuantize"]:
        return None
    scale = _signed_scale(readers[0])
    if scale is None:
        return None
    return _QuantizedKey(layer=int(names[0][1]), parameter=parameter, quantize=readers[0], scale=scale)


def _signed_scale(quantize: Any) -> float | None:
    """Return the scale of a signed quantizer with one range and no zero point; None for any other."""
    if quantize.get_attributes()["levels"] != INT8_LEVELS:
        return None
    ranges = [quantize.input_value(port).get_node().data.ravel() for port in range(1, 5)]
    if any(bound.size != 1 for bound in ranges):
        return None
    low, high, out_low, out_high = (float(bound[0]) for bound in ranges)
    scale = (high - low) / (INT8_LEVELS - 1)
    has_no_zero_point = np.isclose(low, INT8_MIN * scale, rtol=1e-3)
    return scale if has_no_zero_point and (low, high) == (out_low, out_high) else None


def _round_output(decoder: Any, name: str, scale: float) -> None:
    from openvino import opset13 as ops

    output = decoder.output(name)
    source = output.get_node().input_value(0)
    low, high = np.float32(INT8_MIN * scale), np.float32(INT8_MAX * scale)
    rounded = ops.fake_quantize(
        source, low, high, np.float32(INT8_MIN), np.float32(INT8_MAX), INT8_LEVELS, name=f"{name}/int8"
    )
    key = ops.convert(rounded, "i8", name=f"{name}/handed_over")
    names = source.get_names()
    source.set_names(names - {name})
    key.output(0).set_names({name})
    output.get_node().input(0).replace_source_output(key.output(0))


def _scale_input(key: _QuantizedKey) -> None:
    import openvino
    from openvino import opset13 as ops

    readers = list(key.quantize.output(0).get_target_inputs())
    key.parameter.set_element_type(openvino.Type.i8)
    wide = ops.convert(key.parameter, "f32")
    scaled = ops.multiply(wide, np.float32(key.scale), name=f"{key.quantize.get_friendly_name()}/scaled")
    for reader in readers:
        reader.replace_source_output(scaled.output(0))
