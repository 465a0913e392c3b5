"""A training that starts from the same seed starts from the same weights."""

from pathlib import Path

import torch

from sottovoce.optimize.openvino.export import TorchWhisper
from sottovoce.train.decoder.model import Method, TrainableWhisper


def adapters(folder: Path, *, seed: int, state: int) -> torch.Tensor:
    """Return all adapters at the start, in a process whose generator has another state."""
    torch.manual_seed(state)
    model = TrainableWhisper(TorchWhisper(folder).model, Method.LORA, rank=2, seed=seed)
    return torch.cat([value.detach().flatten() for value in model.parameters.values()])


def test_adapters_start_from_the_seed_alone(tiny: Path) -> None:
    first = adapters(tiny, seed=0, state=1)
    assert torch.equal(first, adapters(tiny, seed=0, state=2))
    assert not torch.equal(first, adapters(tiny, seed=1, state=1))
