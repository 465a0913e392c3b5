"""Weights between the checkpoint's and the trained ones, and the choice between them."""

from pathlib import Path

import pytest
import torch

from sottovoce.optimize.openvino.export import TorchWhisper
from sottovoce.train.decoder.model import Method, TrainableWhisper
from sottovoce.train.finetune.averaging import Average, best_share, measure_averages


def averages() -> tuple[Average, ...]:
    return measure_averages(lambda share: (2.0 - 1.5 * share, 0.1 + share**2))


def test_weights_are_measured_from_the_checkpoint_to_what_was_trained() -> None:
    assert [each.share for each in averages()] == pytest.approx([tenth / 10 for tenth in range(11)])
    assert averages()[-1] == Average(share=1.0, held_out=0.5, rehearsed=1.1)


@pytest.mark.parametrize(("limit", "share"), [(0.0, 0.0), (0.05, 0.2), (0.3, 0.5), (2.0, 1.0)])
def test_as_much_is_taken_of_the_training_as_forgets_little_enough(limit: float, share: float) -> None:
    assert best_share(averages(), limit) == share


def test_more_of_a_training_that_went_too_far_is_not_taken() -> None:
    went_too_far = measure_averages(lambda share: ((share - 0.6) ** 2, 0.0))
    assert best_share(went_too_far, 1.0) == 0.6


def test_without_rehearsal_the_model_is_what_was_trained() -> None:
    assert best_share((), 0.0) == 1.0


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
