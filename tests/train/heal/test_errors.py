"""What `heal` refuses before any work."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sottovoce.errors import InputError, SpecError
from sottovoce.progress import Silent
from sottovoce.runs import Run, read_run
from sottovoce.runtime.model.elastic import PaddingStates
from sottovoce.speech.clips import ClipSet
from sottovoce.terms import ElasticSpec
from sottovoce.train.heal.heal import HealSpec, heal
from sottovoce.train.variant.padding import Padding
from sottovoce.train.variant.report import QAT_REPORT


@pytest.fixture(scope="module")
def run(tiny_run: Path, padding: Padding, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Copy the run, and give its variant int8 padding states."""
    folder = tmp_path_factory.mktemp("run") / "run"
    shutil.copytree(tiny_run, folder)
    spec = ElasticSpec(silence_centroids=len(padding.states))
    PaddingStates.save(folder / "int8", spec, padding.states.astype(np.float16), padding.clusters)
    return read_run(folder)


def spec(tiny: Path) -> HealSpec:
    return HealSpec(variant="int8", n_steps=1, checkpoint=str(tiny))


def test_a_variant_without_padding_states_is_refused(run: Run, tiny: Path, speech: ClipSet) -> None:
    with pytest.raises(
        SpecError, match=r"fp16 has no padding states to train; name another one with --variant: int8$"
    ):
        heal(run, [speech], replace(spec(tiny), variant="fp16"), Silent())


def test_the_only_variant_with_padding_states_is_trained(
    tiny_run: Path, padding: Padding, speech: ClipSet, tmp_path: Path
) -> None:
    shutil.copytree(tiny_run, tmp_path / "run")
    spec = ElasticSpec(silence_centroids=len(padding.states))
    PaddingStates.save(tmp_path / "run/fp16", spec, padding.states.astype(np.float16), padding.clusters)
    with pytest.raises(SpecError, match="--name fp16 is the variant that is trained"):
        heal(read_run(tmp_path / "run"), [speech], HealSpec(name="fp16"), Silent())


def test_a_name_that_is_taken_is_refused_before_the_work(run: Run, tiny: Path, speech: ClipSet) -> None:
    with pytest.raises(InputError, match="fp16 exists already; choose another --name"):
        heal(run, [speech], replace(spec(tiny), name="fp16"), Silent())


@pytest.mark.parametrize("name", ["calibration", "search", "a/b", "../other", "Mine"])
def test_a_name_that_no_variant_can_have_is_refused(run: Run, tiny: Path, speech: ClipSet, name: str) -> None:
    with pytest.raises(SpecError, match=f"--name {name}: "):
        heal(run, [speech], replace(spec(tiny), name=name), Silent(), force=True)


@pytest.mark.parametrize("name", ["fp32", "fp16"])
def test_only_a_trained_variant_is_replaced(run: Run, tiny: Path, speech: ClipSet, name: str) -> None:
    with pytest.raises(InputError, match=f"{name} was not trained by heal or qat"):
        heal(run, [speech], replace(spec(tiny), name=name), Silent(), force=True)


def test_a_trained_variant_is_not_trained_anew(run: Run, tiny: Path, speech: ClipSet, tmp_path: Path) -> None:
    folder = shutil.copytree(run.folder, tmp_path / "run")
    (folder / "int8" / QAT_REPORT).write_text("{}")
    with pytest.raises(SpecError, match="int8 was trained already"):
        heal(read_run(folder), [speech], spec(tiny), Silent())


def test_a_checkpoint_that_is_gone_is_named(run: Run, speech: ClipSet) -> None:
    with pytest.raises(SpecError, match="name it with --checkpoint"):
        heal(run, [speech], HealSpec(variant="int8"), Silent())


def test_too_little_speech_is_refused(run: Run, tiny: Path, speech: ClipSet) -> None:
    with pytest.raises(InputError, match="want at least 120 s of 3"):
        heal(run, [speech], spec(tiny), Silent())
