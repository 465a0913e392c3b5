"""The numbers of a quantized graph that training changes, read from OpenVINO IR and written back.

NNCF leaves a layer with INT8 weights as

    [FakeQuantize] <- [Multiply, SmoothQuant] <- input
    MatMul or Convolution(input, Multiply(Convert(weights, i8), scales))
    [Multiply] -> [Add, bias] -> [FakeQuantize, where the attention takes INT8]

and a LayerNorm as `MVN -> Multiply -> Add`. Each constant is known by the node that reads it, so that a graph can be read,
and written with other values, without knowing how it was made.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import SpecError

Floats = NDArray[np.float32]
Node = Any
"""`openvino.Node`."""

LEVELS = 256
MODULE = re.compile(
    r"^__module\.(?:model\.decoder\.)?((?:conv|layer|proj_out)[\w.]*)/aten::(?:linear|_convolution)/"
)
NORM = re.compile(r"^__module\.(?:model\.decoder\.)?([\w.]*layer_norm)/aten::layer_norm/Add")
OUTPUT_LAYER = "proj_out"
"""Shares its weights with the lookup of tokens, and is not trained: it has half of the weights, and speech to train on has few of
the tokens."""

WEIGHTED = ("MatMul", "Convolution")
WEIGHTS_PORT = 1
RANGE_PORTS = (1, 2, 3, 4)
"""Of `FakeQuantize`: lowest and highest input, lowest and highest output."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """An input that is a constant.

    Attributes:
        node: friendly name of the node that reads it.
        port: number of the input.
    """

    node: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """What a tensor of activations is clipped to before it is rounded to one of 256 levels, of which one is zero.

    Attributes:
        step: between two levels.
        zero: the level that stands for zero, 0 to 255.
    """

    step: float
    zero: int

    @classmethod
    def between(cls, low: float, high: float) -> "Range":
        """Return the range from the lowest to the highest value."""
        step = (high - low) / (LEVELS - 1)
        return cls(step=step, zero=round(-low / step))

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest value."""
        return -self.zero * self.step, (LEVELS - 1 - self.zero) * self.step


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layer:
    """A layer with INT8 weights.

    Attributes:
        weights: int8, shape (n_out, n_in) or (n_out, n_in, width).
        steps: of the weights of each output, float32, shape (n_out,).
        smooth: what each input is multiplied by (SmoothQuant), float32, shape (n_in,); None: nothing.
        factor: what the product is multiplied by in the graph: queries by the scale of the attention.
        bias: float32, shape (n_out,), before that factor; None: there is none.
        input_range: name of the `FakeQuantize` of its input; None where it stays float in the graph.
        output_range: name of that of its output.
        weights_at: where the graph has the weights.
        bias_at: where it has the bias.
    """

    weights: NDArray[np.int8]
    steps: Floats
    smooth: Floats | None
    factor: float
    bias: Floats | None
    input_range: str | None
    output_range: str | None
    weights_at: Place
    bias_at: Place | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Norm:
    """Gain and bias of a LayerNorm, float32, shape (n,), and where the graph has them."""

    gain: Floats
    bias: Floats
    gain_at: Place
    bias_at: Place


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QuantizedGraph:
    """Layers and LayerNorms of a graph by their name in the checkpoint's encoder or decoder, ranges by that of their node."""

    layers: Mapping[str, Layer]
    norms: Mapping[str, Norm]
    ranges: Mapping[str, Range]


def read_graph(model: Node) -> QuantizedGraph:
    """Read what training changes of an `openvino.Model`.

    Raises:
        SpecError: it has INT4 weights, weights with zero points, or ranges of single channels.
    """
    operations = model.get_ops()
    layers = dict(_layers(operations))
    norms = dict(_norms(operations))
    used = {
        name
        for layer_name, layer in layers.items()
        if layer_name != OUTPUT_LAYER
        for name in (layer.input_range, layer.output_range)
        if name
    }
    by_name = {operation.get_friendly_name(): operation for operation in operations}
    return QuantizedGraph(
        layers=layers, norms=norms, ranges={name: _range(by_name[name]) for name in sorted(used)}
    )


def write_constants(model: Node, values: Mapping[Place, NDArray[Any]]) -> None:
    """Give nodes of an `openvino.Model` other constants of the same types and numbers of elements; the model is changed."""
    from openvino import opset13 as ops

    by_name = {operation.get_friendly_name(): operation for operation in model.get_ops()}
    for place, array in values.items():
        port = by_name[place.node].input(place.port)
        old = _constant(port.get_source_output().get_node())
        port.replace_source_output(ops.constant(array.reshape(old.shape).astype(old.dtype)).output(0))
    model.validate_nodes_and_infer_types()


def range_constants(name: str, values: Range) -> dict[Place, Floats]:
    """Return the constants of a `FakeQuantize`."""
    ends = np.array(values.bounds, dtype=np.float32)
    return {Place(name, port): ends[(port - 1) % 2] for port in RANGE_PORTS}


def _layers(operations: list[Node]) -> Iterator[tuple[str, Layer]]:
    for operation in operations:
        found = MODULE.match(operation.get_friendly_name())
        if operation.get_type_name() in WEIGHTED and found is not None:
            layer = _layer(operation)
            if layer is not None:
                yield found[1], layer


def _layer(operation: Node) -> Layer | None:
    """Read a layer; None if its weights are float."""
    scaled = _past_convert(operation.input_value(WEIGHTS_PORT).get_node())
    if scaled.get_type_name() != "Multiply":
        return None
    convert = scaled.input_value(0).get_node()
    name = operation.get_friendly_name()
    if convert.get_type_name() != "Convert" or _element_type(convert.input_value(0).get_node()) != "i8":
        raise SpecError(
            f"{name} has weights in groups or with zero points; only INT8 weights without them train"
        )
    weights = _constant(convert.input_value(0).get_node())
    steps = _constant(scaled.input_value(1).get_node()).astype(np.float32).reshape(-1)
    input_range, before = _range_before(operation.input_value(0).get_node())
    factor, bias_at, bias, output_range = _after(operation)
    return Layer(
        weights=weights,
        steps=steps,
        smooth=_smooth(before),
        factor=factor,
        bias=None if bias is None else bias / np.float32(factor),
        input_range=input_range,
        output_range=output_range,
        weights_at=Place(convert.get_friendly_name(), 0),
        bias_at=bias_at,
    )


def _range_before(node: Node) -> tuple[str | None, Node]:
    """Return the name of a `FakeQuantize`, if it is one, and what comes before it."""
    if node.get_type_name() != "FakeQuantize":
        return None, node
    return node.get_friendly_name(), node.input_value(0).get_node()


def _smooth(node: Node) -> Floats | None:
    if not node.get_friendly_name().endswith("nncf_smooth_quant"):
        return None
    return _constant(node.input_value(1).get_node()).astype(np.float32).reshape(-1)


def _after(operation: Node) -> tuple[float, Place | None, Floats | None, str | None]:
    """Return factor, place and value of the bias, and the name of the `FakeQuantize`, that follow a layer."""
    factor, bias_at, bias = 1.0, None, None
    following = _only_reader(operation)
    if following is not None and following.get_type_name() == "Multiply":
        scale = _constant_input(following)
        if scale is not None and scale[1].size == 1:
            factor, following = float(scale[1].reshape(-1)[0]), _only_reader(following)
    if following is not None and following.get_type_name() == "Add":
        added = _constant_input(following)
        if added is not None:
            bias_at, bias = (
                Place(following.get_friendly_name(), added[0]),
                added[1].astype(np.float32).reshape(-1),
            )
            following = _only_reader(following)
    if following is None or following.get_type_name() != "FakeQuantize":
        return factor, bias_at, bias, None
    return factor, bias_at, bias, following.get_friendly_name()


def _norms(operations: list[Node]) -> Iterator[tuple[str, Norm]]:
    for operation in operations:
        found = NORM.match(operation.get_friendly_name())
        if operation.get_type_name() != "Add" or found is None:
            continue
        multiply = operation.input_value(0).get_node()
        gain, bias = _constant_input(multiply), _constant_input(operation)
        if gain is not None and bias is not None:
            yield (
                found[1],
                Norm(
                    gain=gain[1].astype(np.float32).reshape(-1),
                    bias=bias[1].astype(np.float32).reshape(-1),
                    gain_at=Place(multiply.get_friendly_name(), gain[0]),
                    bias_at=Place(operation.get_friendly_name(), bias[0]),
                ),
            )


def _range(node: Node) -> Range:
    low, high = (_constant(node.input_value(port).get_node()) for port in RANGE_PORTS[:2])
    levels = node.get_attributes()["levels"]
    if low.size != 1 or levels != LEVELS:
        raise SpecError(
            f"{node.get_friendly_name()} has {low.size} ranges of {levels} levels; one range of {LEVELS} levels trains"
        )
    return Range.between(float(low), float(high))


def _only_reader(node: Node) -> Node | None:
    """Return the node that reads an output; None if there are several."""
    readers = list(node.output(0).get_target_inputs())
    return readers[0].get_node() if len(readers) == 1 else None


def _constant_input(node: Node) -> tuple[int, NDArray[Any]] | None:
    """Return number and value of the input that is a constant; None if none is."""
    for port in range(node.get_input_size()):
        source = _past_convert(node.input_value(port).get_node())
        if source.get_type_name() == "Constant":
            return port, source.data
    return None


def _past_convert(node: Node) -> Node:
    """Return what is converted, or the node itself."""
    return node.input_value(0).get_node() if node.get_type_name() == "Convert" else node


def _constant(node: Node) -> NDArray[Any]:
    value: NDArray[Any] = _past_convert(node).data
    return value


def _element_type(node: Node) -> str:
    return str(node.get_element_type().get_type_name())
