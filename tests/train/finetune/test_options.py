"""How options of the command line become settings of a training."""

import sys
from pathlib import Path

import pytest

from sottovoce.errors import InputError
from sottovoce.train.decoder.model import LEARNING_RATES, Method
from sottovoce.train.finetune.spec import FinetuneSpec
from tests.support.commands import run_command
from tests.support.tones import write_tone_set


def spec_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *options: object) -> FinetuneSpec:
    """Return what `finetune` is called with."""
    given: list[FinetuneSpec] = []

    def stop(*values: object, **_: object) -> None:
        given.extend(value for value in values if isinstance(value, FinetuneSpec))
        raise InputError("stop")

    monkeypatch.setattr("sottovoce.train.finetune.finetune.finetune", stop)
    speech = write_tone_set(tmp_path / "speech", n_clips=1, duration_s=0.1)
    found = run_command("finetune", "base", "--data", speech, "--out", tmp_path / "mine", *options)
    assert found.error == "stop"
    (spec,) = given
    return spec


@pytest.mark.parametrize("method", Method)
def test_each_method_has_a_learning_rate_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: Method
) -> None:
    spec = spec_of(tmp_path, monkeypatch, f"--{method}", "--seed", 3)
    assert FinetuneSpec(method=method).training.learning_rate == LEARNING_RATES[method]
    assert spec.training.learning_rate == LEARNING_RATES[method]
    assert spec.training.seed == 3


def test_a_learning_rate_of_0_is_taken_as_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert spec_of(tmp_path, monkeypatch, "--learning-rate", 0).training.learning_rate == 0


def test_only_adapters_need_peft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    assert spec_of(tmp_path, monkeypatch, "--full").method is Method.FULL
    found = run_command("finetune", "base", "--data", tmp_path, "--out", tmp_path / "mine")
    assert found.error.startswith("peft is not installed; it is needed for `sottovoce finetune`")
