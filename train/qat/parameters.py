"""The numbers that training changes, as differences from the quantized graph, each in a unit of its own.

So one learning rate fits all: weights in steps of their quantizer, other numbers in shares of their usual size.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sottovoce.terms import Component
from sottovoce.train.qat.graph import (
    OUTPUT_LAYER,
    Floats,
    Layer,
    Place,
    QuantizedGraph,
    Range,
    range_constants,
)
from sottovoce.train.qat.layers import QuantizedLayer, Rounding, TrainedNorm, product_of
from sottovoce.train.variant.report import Trained
from sottovoce.train.variant.whisper import Tensor

UNIT_SHARE = 0.1
"""Of the usual size of biases, gains and ranges."""

SMALLEST_UNIT = 1e-6

Deltas = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parameter:
    """Numbers of a graph.

    Attributes:
        start: before training, float32.
        unit: of the differences.
        exponential: whether differences are those of logarithms: a step stays above zero.
    """

    start: Tensor
    unit: float
    exponential: bool = False

    def at(self, delta: Tensor) -> Tensor:
        """Return the numbers with a difference."""
        if self.exponential:
            return self.start * (self.unit * delta).exp()
        return self.start.add(delta, alpha=self.unit)


class TrainedGraph:
    """A component of a variant whose numbers are trained."""

    def __init__(self, component: Component, graph: QuantizedGraph, module: Any, trained: Trained) -> None:
        """Take the numbers of a graph, and the float weights that they were rounded from.

        Args:
            component: of the variant; starts the names of its parameters.
            graph: read from the variant.
            module: encoder or decoder of the checkpoint (`transformers`); its layers are replaced by `install`.
            trained: what is.
        """
        self._component = component
        self._graph = graph
        self._module = module
        self._weights = {name: _float_weights(layer, _child(module, name)) for name, layer in self._layers()}
        self.parameters = {
            name: parameter
            for name, parameter in self._all_parameters()
            if trained is Trained.ALL or not name.endswith("/weights")
        }

    def install(self, deltas: Deltas) -> None:
        """Replace the layers of the module by those of the graph.

        Args:
            deltas: differences of the parameters, looked up at each call.
        """
        for name, layer in self._layers():
            child = _child(self._module, name)
            _replace(self._module, name, self._quantized_layer(name, layer, child, deltas))
        for name, norm in self._graph.norms.items():
            child = _child(self._module, name)
            trained = TrainedNorm(
                gain=self._getter(f"{name}/gain", norm.gain, deltas),
                bias=self._getter(f"{name}/bias", norm.bias, deltas),
                epsilon=child.eps,
            )
            _replace(self._module, name, trained)
        table = self._graph.layers.get(OUTPUT_LAYER)
        if table is not None:
            _set_token_table(self._module, table)

    def constants(self, deltas: Deltas) -> dict[Place, NDArray[Any]]:
        """Return the constants of the graph as trained."""
        found: dict[Place, NDArray[Any]] = {}
        for name, layer in self._layers():
            if self._key(f"{name}/weights") in self.parameters:
                weights = self._array(f"{name}/weights", deltas)
                found[layer.weights_at] = weights.round().clip(*_limits(layer)).astype(np.int8)
            if layer.bias_at is not None:
                found[layer.bias_at] = self._array(f"{name}/bias", deltas) * np.float32(layer.factor)
        for name, norm in self._graph.norms.items():
            found[norm.gain_at] = self._array(f"{name}/gain", deltas)
            found[norm.bias_at] = self._array(f"{name}/bias", deltas)
        for name, kept in self._graph.ranges.items():
            step = float(self._array(f"{name}/step", deltas))
            found |= range_constants(name, Range(step=step, zero=kept.zero))
        return found

    def _layers(self) -> Iterator[tuple[str, Layer]]:
        return ((name, layer) for name, layer in self._graph.layers.items() if name != OUTPUT_LAYER)

    def _all_parameters(self) -> Iterator[tuple[str, Parameter]]:
        for name, layer in self._layers():
            yield self._key(f"{name}/weights"), Parameter(start=self._weights[name], unit=1.0)
            if layer.bias is not None:
                yield self._key(f"{name}/bias"), _parameter(layer.bias)
        for name, norm in self._graph.norms.items():
            yield self._key(f"{name}/gain"), _parameter(norm.gain)
            yield self._key(f"{name}/bias"), _parameter(norm.bias)
        for name, kept in self._graph.ranges.items():
            step = _tensor(np.float32(kept.step))
            yield self._key(f"{name}/step"), Parameter(start=step, unit=UNIT_SHARE, exponential=True)

    def _quantized_layer(self, name: str, layer: Layer, child: Any, deltas: Deltas) -> QuantizedLayer:
        trailing = (-1,) + (1,) * (layer.weights.ndim - 2)
        bias = None if layer.bias is None else self._getter(f"{name}/bias", layer.bias, deltas, trailing)
        return QuantizedLayer(
            product=product_of(child),
            weights=self._getter(f"{name}/weights", self._weights[name], deltas),
            limits=_limits(layer),
            steps=_tensor(layer.steps).reshape(trailing),
            bias=bias,
            smooth=None if layer.smooth is None else _tensor(layer.smooth),
            factor=layer.factor,
            input=self._rounding(layer.input_range, deltas),
            output=self._rounding(layer.output_range, deltas),
        )

    def _rounding(self, name: str | None, deltas: Deltas) -> Rounding | None:
        if name is None:
            return None
        kept = self._graph.ranges[name]
        return Rounding(start=kept, step=self._getter(f"{name}/step", np.float32(kept.step), deltas))

    def _getter(
        self, name: str, start: Any, deltas: Deltas, shape: tuple[int, ...] | None = None
    ) -> Callable[[], Tensor]:
        """Return what looks a parameter up as trained; one that is not trained stays as it is."""
        key = self._key(name)
        parameter = self.parameters.get(key)
        if parameter is None:
            return lambda: _tensor(start)

        def get() -> Tensor:
            found = parameter.at(deltas[key])
            return found if shape is None else found.reshape(shape)

        return get

    def _array(self, name: str, deltas: Deltas) -> NDArray[Any]:
        key = self._key(name)
        array: NDArray[Any] = self.parameters[key].at(deltas[key].detach()).numpy()
        return array

    def _key(self, name: str) -> str:
        return f"{self._component}/{name}"


def _parameter(values: Floats) -> Parameter:
    usual = float(np.abs(values).mean())
    return Parameter(start=_tensor(values), unit=max(SMALLEST_UNIT, UNIT_SHARE * usual))


def _float_weights(layer: Layer, child: Any) -> Tensor:
    """Return the weights of the checkpoint in steps of the graph's, not rounded."""
    trailing = (1,) * (layer.weights.ndim - 2)
    weights = child.weight.detach() / _tensor(layer.steps).reshape(-1, 1, *trailing)
    if layer.smooth is not None:
        weights = weights / _tensor(layer.smooth).reshape(1, -1, *trailing)
    return weights


def _limits(layer: Layer) -> tuple[int, int]:
    """Return the lowest and the highest weight: half of INT8 for CPUs without VNNI."""
    return int(layer.weights.min()), int(layer.weights.max())


def _set_token_table(decoder: Any, table: Layer) -> None:
    import torch

    with torch.no_grad():
        decoder.embed_tokens.weight.copy_(_tensor(table.weights) * _tensor(table.steps)[:, None])


def _tensor(values: Any) -> Tensor:
    import torch

    return (
        values if isinstance(values, torch.Tensor) else torch.from_numpy(np.array(values, dtype=np.float32))
    )


def _child(module: Any, name: str) -> Any:
    return reduce(getattr, name.split("."), module)


def _replace(module: Any, name: str, layer: Callable[[Tensor], Tensor]) -> None:
    *path, last = name.split(".")
    parent = reduce(getattr, path, module)
    delattr(parent, last)
    setattr(parent, last, layer)
