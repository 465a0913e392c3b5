"""Weights between the checkpoint's and the trained ones, and the choice between them."""

from pathlib import Path

import pytest
import torch

from sottovoce.optimize.openvino.export import TorchWhisper
from sottovoce.train.finetune.averaging import Average, best_share, measure_averages
from sottovoce.train.finetune.model import Method, TrainableWhisper


def test_the_share_with_the_smallest_sum_of_losses_is_chosen() -> None:
    averages = measure_averages(lambda share: (2.0 - 1.5 * share, 0.1 + share**2))
    assert [each.share for each in averages] == pytest.approx([tenth / 10 for tenth in range(11)])
    assert averages[-1] == Average(share=1.0, held_out=0.5, rehearsed=1.1)
    assert best_share(averages) == 0.7  # the sum is smallest at 0.75, and 0.7 comes before 0.8


def test_without_averages_the_model_is_what_was_trained() -> None:
    assert best_share(()) == 1.0


@pytest.mark.parametrize("method", [pytest.param(Method.LORA, marks=pytest.mark.large), Method.FULL])
def test_half_a_share_is_half_way_between_the_weights(tiny: Path, method: Method) -> None:
    def merged(share: float) -> dict[str, torch.Tensor]:
        model = TrainableWhisper(TorchWhisper(tiny).model, method, rank=2)
        random = torch.Generator().manual_seed(0)
        trained = {
            name: torch.randn(weight.shape, generator=random) for name, weight in model.parameters.items()
        }
        return dict(model.merged(model.averaged(trained, share)).named_parameters())

    whole, half = merged(1.0), merged(0.5)
    start = dict(TorchWhisper(tiny).model.named_parameters())
    name = "model.decoder.layers.0.fc1.weight"
    assert not torch.equal(whole[name], start[name])
    torch.testing.assert_close(half[name], (start[name] + whole[name]) / 2, rtol=1e-4, atol=1e-4)
