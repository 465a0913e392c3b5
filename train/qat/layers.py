"""Layers of a Whisper in PyTorch that compute what a quantized graph computes, with gradients for its numbers.

Rounding has no gradient: the one of the number before it is taken (straight-through estimator, Bengio et al. 2013). So a
range takes the gradient of learned step size quantization (Esser et al. 2020), and a weight that of its rounded value.

Products are those of whole numbers of at most 255, which bfloat16 holds exactly, as in INT8.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sottovoce.train.qat.graph import LEVELS, Range
from sottovoce.train.variant.whisper import Tensor

Product = Callable[[Tensor, Tensor], Tensor]
"""Applies weights to inputs: `linear`, or a convolution with its strides."""


def rounded(values: Tensor) -> Tensor:
    """Round, and pass gradients through."""
    return values + (values.round() - values).detach()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rounding:
    """`FakeQuantize` of a tensor.

    Attributes:
        start: the range that training starts with.
        step: returns the step as trained, a tensor without dimensions.
    """

    start: Range
    step: Callable[[], Tensor]

    def levels(self, values: Tensor, step: Tensor) -> Tensor:
        """Return how many steps values are from zero: whole numbers."""
        zero = self.start.zero
        return rounded((values / step).clamp(-zero, LEVELS - 1 - zero))

    def __call__(self, values: Tensor) -> Tensor:
        """Round values to the levels of the range."""
        step = self.step()
        return self.levels(values, step) * step


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QuantizedLayer:
    """A layer with INT8 weights; see `graph.Layer`.

    Attributes:
        product: of inputs and weights.
        weights: returns the weights as trained, in steps, not rounded.
        limits: the lowest and the highest weight.
        steps: of the weights, broadcast over an output.
        bias: returns the bias as trained, broadcast over an output; None: there is none.
        smooth: broadcast over an input; None: nothing.
        factor: what the graph multiplies the output by before it is rounded.
        input: how the input is rounded; None: not at all.
        output: how the output is rounded; None: not at all.
    """

    product: Product
    weights: Callable[[], Tensor]
    limits: tuple[int, int]
    steps: Tensor
    bias: Callable[[], Tensor] | None
    smooth: Tensor | None
    factor: float
    input: Rounding | None
    output: Rounding | None

    def __call__(self, values: Tensor) -> Tensor:
        """Apply the layer to float32 or bfloat16; the result is float32."""
        steps = self.steps
        values = values.float() if self.smooth is None else values.float() * self.smooth
        if self.input is not None:
            step = self.input.step()
            values, steps = self.input.levels(values, step), steps * step
        weights = rounded(self.weights().clamp(*self.limits))
        found = self.product(values, weights).float() * steps
        if self.bias is not None:
            found = found + self.bias()
        if self.output is not None:
            found = self.output(self.factor * found) / self.factor
        return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainedNorm:
    """A LayerNorm whose gain and bias are trained."""

    gain: Callable[[], Tensor]
    bias: Callable[[], Tensor]
    epsilon: float

    def __call__(self, values: Tensor) -> Tensor:
        """Normalize float32, shape (..., n)."""
        from torch.nn.functional import layer_norm

        gain = self.gain()
        return layer_norm(values.float(), gain.shape, gain, self.bias(), self.epsilon)


def product_of(module: Any) -> Product:
    """Return the product of a layer of a checkpoint, `torch.nn.Linear` or `torch.nn.Conv1d`, without its weights and bias."""
    from torch.nn import Linear
    from torch.nn.functional import conv1d, linear

    if isinstance(module, Linear):
        return linear
    return lambda values, weights: conv1d(values, weights, stride=module.stride, padding=module.padding)
