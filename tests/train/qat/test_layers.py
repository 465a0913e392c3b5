"""Rounding computes what OpenVINO, NNCF and PyTorch compute, and passes the gradients that they pass."""

import numpy as np
import openvino
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nncf.torch.quantization.quantize_functions import QuantizeAsymmetricTorch
from openvino import opset13 as ops

from sottovoce.train.qat.graph import LEVELS, Range
from sottovoce.train.qat.layers import QuantizedLayer, Rounding

ranges = st.builds(Range, step=st.floats(1e-4, 1.0), zero=st.integers(0, LEVELS - 1))


def values_around(kept: Range, n: int = 200) -> torch.Tensor:
    """Draw values inside and outside of a range, none halfway between two levels, none less than a step outside."""
    random = np.random.default_rng(kept.zero)
    drawn = random.integers(-20, LEVELS + 20, n) + random.uniform(-0.45, 0.45, n)
    is_near = ((drawn < 0) & (drawn > -1)) | ((drawn > LEVELS - 1) & (drawn < LEVELS))
    return torch.from_numpy(((drawn - kept.zero)[~is_near] * kept.step).astype(np.float32))


def rounding(kept: Range, step: torch.Tensor) -> Rounding:
    return Rounding(start=kept, step=lambda: step)


@given(kept=ranges)
def test_a_tensor_is_rounded_as_openvino_rounds_it(kept: Range) -> None:
    values = values_around(kept)
    low, high = (np.float32(end) for end in kept.bounds)
    given_values = ops.parameter([len(values)], np.float32)
    node = ops.fake_quantize(given_values, low, high, low, high, LEVELS)
    model = openvino.Core().compile_model(openvino.Model([node], [given_values]), "CPU")
    found = rounding(kept, torch.tensor(kept.step))(values)
    np.testing.assert_allclose(found.numpy(), model(values.numpy())[0], atol=1e-3 * kept.step)


@given(kept=ranges)
def test_gradients_of_values_are_those_of_nncf(kept: Range) -> None:
    mine, theirs = (values_around(kept).requires_grad_() for _ in range(2))
    found = rounding(kept, torch.tensor(kept.step))(mine)
    low, high = (torch.tensor([end]) for end in kept.bounds)
    with torch.compiler.set_stance("force_eager"):  # compiling takes longer than the test
        expected = QuantizeAsymmetricTorch.apply(theirs, theirs.shape, low, high - low, 0, LEVELS - 1, LEVELS)
        for each in (found, expected):
            each.square().sum().backward()
    torch.testing.assert_close(found, expected, atol=1e-3 * kept.step, rtol=0)
    torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-2 * kept.step, rtol=0)


@given(kept=ranges)
def test_the_gradient_of_a_step_is_that_of_learned_step_sizes(kept: Range) -> None:
    values = values_around(kept)
    mine = torch.tensor(kept.step, requires_grad=True)
    rounding(kept, mine)(values).sum().backward()
    theirs = torch.tensor([kept.step], requires_grad=True)
    zero = torch.tensor([float(kept.zero)])
    torch._fake_quantize_learnable_per_tensor_affine(  # noqa: SLF001 - the reference
        values, theirs, zero, 0, LEVELS - 1, 1.0
    ).sum().backward()
    assert mine.grad is not None
    assert theirs.grad is not None
    assert float(mine.grad) == pytest.approx(float(theirs.grad), rel=1e-3, abs=0.5)


def test_weights_are_clipped_and_take_the_gradients_of_their_rounded_values() -> None:
    weights = torch.tensor([[1.4, -140.0, 126.6]], requires_grad=True)
    layer = QuantizedLayer(
        product=torch.nn.functional.linear,
        weights=lambda: weights,
        limits=(-127, 127),
        steps=torch.tensor([0.5]),
        bias=None,
        smooth=None,
        factor=1.0,
        input=None,
        output=None,
    )
    found = layer(torch.tensor([[1.0, 1.0, 2.0]]))
    assert found.tolist() == [[0.5 * (1 - 127 + 2 * 127)]]
    found.sum().backward()
    assert weights.grad is not None
    assert weights.grad.tolist() == [[0.5, 0.0, 1.0]]
