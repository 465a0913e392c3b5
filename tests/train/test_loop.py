"""The loop brings a model nearer to its teacher, and resumes as if it had not been interrupted."""

import math
from pathlib import Path

import pytest
import torch

from sottovoce.errors import InputError, StageError
from sottovoce.optimize.openvino.export import TorchWhisper
from sottovoce.progress import Reporter, Silent
from sottovoce.runtime.decoding.tokenizer import WhisperTokenizer
from sottovoce.speech.loading import LoadedClip
from sottovoce.terms import ElasticSpec
from sottovoce.train.heal.heal import TrainablePadding
from sottovoce.train.heal.parameters import NAMES, Deltas, Start
from sottovoce.train.loop import (
    MIN_STEPS,
    STATE_NAME,
    LoopSpec,
    Training,
    item_at,
    planned_steps,
    rate_at,
)
from sottovoce.train.variant.gradients import LessonGradients
from sottovoce.train.variant.lessons import LessonBook
from sottovoce.train.variant.loss import Examiner, LossWeights
from sottovoce.train.variant.padding import Padding
from sottovoce.train.variant.whisper import ElasticWhisper
from tests.support.interrupts import CtrlC

N_STEPS = 8
SPEC = LoopSpec(batch_size=2, learning_rate=0.1, average=0.5, n_evaluations=2)


class Setting:
    """A training of the tiny model, and its own measure of the clips that it trains on."""

    def __init__(
        self, examiner: Examiner, start: Start, clips: tuple[LoadedClip, ...], book: LessonBook
    ) -> None:
        self._parts = (start, clips, book, examiner)

    def training(self, folder: Path) -> Training:
        start, clips, book, examiner = self._parts
        deltas = start.no_deltas()
        trainable = TrainablePadding(folder, ElasticSpec(), start, examiner)
        gradients = LessonGradients(trainable, book, clips, deltas, SPEC, LossWeights())
        return Training(folder, SPEC, deltas, gradients)

    def evaluate(self, deltas: Deltas) -> float:
        start, clips, book, examiner = self._parts
        with torch.no_grad():
            found = [examiner.examine(book.read(clip), start.moved(deltas)) for clip in clips]
        return sum(float(each.divergence) for each in found) / sum(each.n_tokens for each in found)


@pytest.fixture(scope="module")
def setting(
    tiny: Path, tiny_run: Path, padding: Padding, clips: tuple[LoadedClip, ...], book: LessonBook
) -> Setting:
    model = TorchWhisper(tiny).model
    special = WhisperTokenizer.load(tiny_run / "fp32-stateful").special
    examiner = Examiner(ElasticWhisper(model), special, model.config.vocab_size)
    return Setting(examiner, Start.of(padding), clips, book)


@pytest.fixture(scope="module")
def trained(setting: Setting, tmp_path_factory: pytest.TempPathFactory) -> Deltas:
    deltas, _ = setting.training(tmp_path_factory.mktemp("whole")).run(N_STEPS, setting.evaluate, Silent())
    return deltas


def test_training_brings_a_model_nearer_to_its_teacher(setting: Setting, trained: Deltas) -> None:
    nothing = {name: torch.zeros_like(delta) for name, delta in trained.items()}
    assert setting.evaluate(trained) < 0.8 * setting.evaluate(nothing)


@pytest.mark.parametrize("at_step", [2, 7])
def test_an_interrupted_training_ends_with_the_same_numbers(
    setting: Setting, trained: Deltas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_step: int
) -> None:
    monkeypatch.setattr("sottovoce.train.loop.SAVE_S", 0.0)
    with pytest.raises(KeyboardInterrupt):
        setting.training(tmp_path).run(N_STEPS, setting.evaluate, CtrlC(at_step))
    resumed, progress = setting.training(tmp_path).run(N_STEPS, setting.evaluate, Silent())
    assert [each.step for each in progress.history] == [0, 4, 8]
    for name in NAMES:
        torch.testing.assert_close(resumed[name], trained[name], rtol=0, atol=0)


def test_a_number_without_gradients_stays_as_it_is_and_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sottovoce.train.loop.SAVE_S", 0.0)

    def run(reporter: Reporter) -> Deltas:
        used, unused = (torch.ones(2, requires_grad=True) for _ in range(2))

        def add_gradients(_: int) -> float:
            loss = used.square().sum()
            loss.backward()
            return float(loss.detach())

        training = Training(tmp_path, SPEC, {"used": used, "unused": unused}, add_gradients)
        return training.run(N_STEPS, lambda found: float(found["used"].detach().square().sum()), reporter)[0]

    with pytest.raises(KeyboardInterrupt):
        run(CtrlC(5))
    found = run(Silent())
    assert found["unused"].tolist() == [1, 1]
    assert found["used"].max() < 1


def test_training_ends_early_where_held_out_speakers_gain_nothing(tmp_path: Path) -> None:
    value = torch.ones(1, requires_grad=True)

    def add_gradients(_: int) -> float:
        value.sum().backward()
        return 0.0

    spec = LoopSpec(n_evaluations=20, patience=3)
    training = Training(tmp_path, spec, {"value": value}, add_gradients)
    best, progress = training.run(20, lambda found: -float(found["value"].detach()), Silent())
    assert best["value"].tolist() == [1]
    assert (progress.best_step, progress.step) == (0, 3)


def test_held_out_speakers_that_cannot_be_measured_end_the_training(tmp_path: Path) -> None:
    training = Training(tmp_path, SPEC, {"value": torch.ones(1, requires_grad=True)}, lambda _: 0.0)
    with pytest.raises(StageError, match="nan nats a token after step 0"):
        training.run(4, lambda _: math.nan, Silent())


def test_a_resumed_training_has_the_steps_of_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    assert planned_steps(path, None, lambda: 70) == 70
    assert planned_steps(path, None, lambda: 90) == 70
    assert planned_steps(path, 8, lambda: 90) == 8
    assert planned_steps(tmp_path / "other.json", None, lambda: -5) == MIN_STEPS


def test_a_damaged_checkpoint_is_named(setting: Setting, tmp_path: Path) -> None:
    (tmp_path / STATE_NAME).write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"state.safetensors is damaged .*--restart"):
        setting.training(tmp_path).run(N_STEPS, setting.evaluate, Silent())


def test_the_rate_rises_then_falls_to_nothing() -> None:
    rates = [rate_at(step, 200) for step in range(200)]
    assert rates.index(max(rates)) == 5
    assert max(rates) == pytest.approx(1.0)
    assert rates[:6] == sorted(rates[:6])
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[-1] < 0.001


def test_an_epoch_takes_each_item_once_in_an_order_of_its_own() -> None:
    drawn = [item_at("abcdefgh", place, 0) for place in range(16)]
    assert sorted(drawn[:8]) == sorted(drawn[8:]) == list("abcdefgh")
    assert drawn[:8] != drawn[8:]
