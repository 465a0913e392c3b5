"""The loss is the measure by which variants are compared."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.optimize.checks.teacher_forcing import find_likeliest, kl_divergence
from sottovoce.train.variant.loss import row_divergence

N_VOCABULARY = 300


@given(seed=st.integers(0, 10_000), spread=st.floats(0.1, 8), n_suppressed=st.integers(0, 250))
def test_the_divergence_of_a_row_is_that_of_teacher_forcing(
    seed: int, spread: float, n_suppressed: int
) -> None:
    random = np.random.default_rng(seed)
    expected, found = (spread * random.standard_normal((2, N_VOCABULARY))).astype(np.float32)
    never = random.permutation(N_VOCABULARY)[:n_suppressed]
    expected[never] = found[never] = -np.inf
    likeliest, logs = find_likeliest(expected)
    divergence = row_divergence(torch.from_numpy(found[None]), likeliest[None], logs[None])
    assert float(divergence[0]) == pytest.approx(kl_divergence(found, likeliest, logs), abs=2e-4, rel=1e-3)


def test_gradients_lead_to_the_baseline() -> None:
    random = np.random.default_rng(0)
    baseline = random.standard_normal(N_VOCABULARY).astype(np.float32)
    likeliest, logs = find_likeliest(baseline)
    logits = torch.zeros(1, N_VOCABULARY, requires_grad=True)
    divergences = []
    for _ in range(60):
        divergence = row_divergence(logits, likeliest[None], logs[None]).sum()
        (gradient,) = torch.autograd.grad(divergence, logits)
        logits = (logits - 50 * gradient).detach().requires_grad_()
        divergences.append(float(divergence.detach()))
    assert divergences[-1] < 0.05 * divergences[0]
