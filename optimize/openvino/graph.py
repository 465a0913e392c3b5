"""Count what is INT8 in an OpenVINO graph."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sottovoce.calibrate.extremes import constant_weight, weighted_operations
from sottovoce.runtime.model.openvino.quiet_import import shared_core

INT8_TYPES = ("i8", "u8")

INT4_TYPES = ("i4", "u4")


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8Count:
    """Numbers and sizes of the INT8 and INT4 parts of a graph.

    Attributes:
        weights: convolutions and matrix products whose weight is an INT8 constant.
        activations: `FakeQuantize` nodes on activations.
        weighted: convolutions and matrix products with a constant weight.
        float_bytes_fp16: bytes of the float constants if stored as float16.
        int8_bytes: bytes of INT8 constants.
        int4_weights: convolutions and matrix products whose weight is an INT4 constant.
        int4_bytes: bytes of INT4 constants, two weights in each.
    """

    weights: int
    activations: int
    weighted: int
    float_bytes_fp16: int
    int8_bytes: int
    int4_weights: int = 0
    int4_bytes: int = 0


def count_int8(model: Any) -> Int8Count:
    """Count the quantized weights and activations of an `openvino.Model`."""
    weights = [
        weight
        for operation in weighted_operations(model)
        if (weight := constant_weight(operation)) is not None
    ]
    constants = [operation for operation in model.get_ops() if operation.get_type_name() == "Constant"]
    int8 = [constant for constant in constants if _type(constant) in INT8_TYPES]
    floats = [constant for constant in constants if _type(constant) in ("f32", "f16", "bf16")]
    return Int8Count(
        weights=sum(_type(weight) in INT8_TYPES for weight in weights),
        activations=sum(
            operation.get_type_name() == "FakeQuantize" and constant_weight(operation, port=0) is None
            for operation in model.get_ops()
        ),
        weighted=len(weights),
        float_bytes_fp16=2 * sum(n_elements(constant) for constant in floats),
        int8_bytes=sum(n_elements(constant) for constant in int8),
        int4_weights=sum(_type(weight) in INT4_TYPES for weight in weights),
        int4_bytes=sum(
            -(-n_elements(constant) // 2) for constant in constants if _type(constant) in INT4_TYPES
        ),
    )


def quantized_weight_names(model: Any) -> frozenset[str]:
    """Name the convolutions and matrix products of an `openvino.Model` whose weight is INT8 or INT4."""
    return frozenset(
        operation.get_friendly_name()
        for operation in weighted_operations(model)
        if (weight := constant_weight(operation)) is not None and _type(weight) in INT8_TYPES + INT4_TYPES
    )


def count_int8_in_file(path: Path) -> Int8Count:
    """Count the INT8 weights and activations of a graph on disk."""
    return count_int8(shared_core().read_model(path))


def _type(constant: Any) -> str:
    name: str = constant.get_element_type().get_type_name()
    return name


def n_elements(constant: Any) -> int:
    """Count the elements of a constant."""
    return math.prod(constant.get_output_shape(0))
