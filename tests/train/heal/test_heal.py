"""`heal` on the tiny model: it comes nearer to the baseline, resumes, and leaves the variant that it trains as it was."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sottovoce.errors import InputError, StageError
from sottovoce.optimize.openvino.elastic import make_elastic
from sottovoce.progress import Advance, Silent
from sottovoce.runs import Run, read_run
from sottovoce.runtime import TranscribeOptions, load
from sottovoce.runtime.model.elastic import PaddingStates
from sottovoce.runtime.model.layout import component_path
from sottovoce.speech.clips import ClipSet
from sottovoce.storage.artifacts import list_files, read_manifest, write_manifest
from sottovoce.storage.resumable import resumable_path
from sottovoce.terms import Component, ElasticSpec
from sottovoce.train.heal.heal import HealSpec, heal
from sottovoce.train.loop import LoopSpec
from sottovoce.train.variant.padding import Padding
from sottovoce.train.variant.report import HEAL_REPORT, HealReport
from tests.support.interrupts import CtrlC
from tests.support.torture import model_files

N_STEPS = 12
LOOP = LoopSpec(batch_size=2, learning_rate=0.05, n_evaluations=2)

pytestmark = pytest.mark.usefixtures("_little_speech")


@pytest.fixture
def run(fast_run: Path, tmp_path: Path) -> Run:
    """Copy the run, to be changed."""
    folder = tmp_path / "run"
    shutil.copytree(fast_run, folder)
    return read_run(folder)


@pytest.fixture
def float_run(tiny_run: Path, padding: Padding, tmp_path: Path) -> Run:
    """Hold a run whose variant `elastic` has a float encoder with random padding: made in no time."""
    import openvino

    folder = tmp_path / "run"
    shutil.copytree(tiny_run, folder)
    elastic = folder / "elastic"
    shutil.copytree(tiny_run / "fp32-stateful", elastic)
    encoder = openvino.Core().read_model(component_path(tiny_run / "fp32", Component.ENCODER))
    make_elastic(encoder, padding.keys)
    openvino.save_model(encoder, component_path(elastic, Component.ENCODER), compress_to_fp16=False)
    spec = ElasticSpec(silence_centroids=len(padding.states))
    PaddingStates.save(elastic, spec, padding.states.astype(np.float16), padding.clusters)
    recipe = read_manifest(folder / "int8").recipe
    new = {"name": elastic.name, "recipe": recipe, "files": list_files(elastic)}
    write_manifest(elastic, read_manifest(elastic).model_copy(update=new))
    return read_run(folder)


def spec(tiny: Path) -> HealSpec:
    return HealSpec(n_steps=N_STEPS, checkpoint=str(tiny), threads=1, loop=LOOP)


@pytest.fixture(scope="module")
def healed(
    fast_run: Path, tiny: Path, speech: ClipSet, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Run, HealReport]:
    folder = tmp_path_factory.mktemp("healed") / "run"
    shutil.copytree(fast_run, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sottovoce.train.speech.MIN_AUDIO_S", 10.0)
        report = heal(read_run(folder), [speech], spec(tiny), Silent())
    return read_run(folder), report


def test_random_padding_is_replaced_by_what_the_baseline_has_there(
    float_run: Run, tiny: Path, speech: ClipSet
) -> None:
    report = heal(float_run, [speech], replace(spec(tiny), variant="elastic", n_steps=1), Silent())
    assert report.kept
    assert report.after.divergence < 0.5 * report.before.divergence
    assert report.divergence_delta.value == pytest.approx(report.after.divergence - report.before.divergence)
    assert report.divergence_delta.high < 0
    healed = read_run(float_run.folder).variant("elastic-healed")
    assert (healed.folder / HEAL_REPORT).read_text(encoding="utf-8") == report.model_dump_json(
        indent=2
    ) + "\n"
    assert report.words is None  # no tone has a transcript
    assert not resumable_path(healed.folder).exists()


def test_word_errors_are_counted_where_held_out_clips_have_transcripts(
    float_run: Run, tiny: Path, speech: ClipSet
) -> None:
    baseline = load(float_run.folder / "fp32")
    options = TranscribeOptions(language="en", without_timestamps=True, temperature=0.0, vad_filter=False)
    clips = tuple(
        replace(clip, text=baseline.transcribe(clip.audio, options).text if i % 2 else None)
        for i, clip in enumerate(speech.clips)
    )
    report = heal(
        float_run,
        [ClipSet(name="tones", clips=clips)],
        replace(spec(tiny), variant="elastic", n_steps=1),
        Silent(),
    )
    words = report.words
    assert words is not None
    assert words.n_clips == 1  # of the two clips of the speaker that is held out
    assert words.baseline.errors == 0
    assert words.baseline.reference_words > 0
    assert words.before.errors > 0  # its padding is random
    assert words.delta.value == pytest.approx(words.after.wer - words.before.wer)


class Meddler(Silent):
    """Changes a file of the run when training begins, as another command may."""

    def __init__(self, path: Path, old: str, new: str) -> None:
        self._change = (path, old, new)

    @contextmanager
    def progress(self, what: str, total: int | None) -> Iterator[Advance]:
        if what == "train":
            path, old, new = self._change
            path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
        with super().progress(what, total) as advance:
            yield advance


def test_a_variant_that_was_replaced_meanwhile_is_not_mixed_with_its_successor(
    float_run: Run, tiny: Path, speech: ClipSet
) -> None:
    manifest = float_run.folder / "elastic" / "manifest.json"
    meddler = Meddler(manifest, '"made_by": "', '"made_by": "another ')
    with pytest.raises(StageError, match=r"elastic was made again while it was trained.*--restart"):
        heal(float_run, [speech], replace(spec(tiny), variant="elastic", n_steps=1), meddler)
    assert not (float_run.folder / "elastic-healed").exists()


def test_what_another_command_changed_in_the_run_meanwhile_is_kept(
    float_run: Run, tiny: Path, speech: ClipSet
) -> None:
    meddler = Meddler(float_run.folder / "recipe.yaml", "classic recipe", "classic, changed recipe")
    heal(float_run, [speech], replace(spec(tiny), variant="elastic", n_steps=1), meddler)
    assert read_run(float_run.folder).recipe.description.startswith("The classic, changed recipe")


@pytest.mark.large
def test_the_variant_is_nearer_to_the_baseline_on_speakers_that_did_not_train(
    healed: tuple[Run, HealReport], speech: ClipSet
) -> None:
    run, report = healed
    assert report.kept
    assert report.after.divergence < 0.9 * report.before.divergence
    assert report.n_held_out_clips == 2
    assert [each.step for each in report.history] == [0, N_STEPS // 2, N_STEPS]
    assert "int8-fast-healed" in {variant.name for variant in run.variants}
    audio = speech.clips[0].audio
    assert isinstance(audio, Path)
    assert load(run.folder / "int8-fast-healed").transcribe(audio).duration_s == pytest.approx(2.0)


@pytest.mark.large
def test_the_run_still_stands_for_the_variant_that_was_trained(
    healed: tuple[Run, HealReport], fast_run: Path
) -> None:
    run, _ = healed
    assert run.recipe.quantize.name == "int8-fast"
    assert model_files(run.folder / "int8-fast") == model_files(fast_run / "int8-fast")
    assert not resumable_path(run.folder / "int8-fast-healed").exists()


@pytest.mark.large
@pytest.mark.parametrize("at_step", [3, 9])
def test_an_interrupted_training_ends_with_the_same_variant(
    run: Run,
    tiny: Path,
    speech: ClipSet,
    healed: tuple[Run, HealReport],
    monkeypatch: pytest.MonkeyPatch,
    at_step: int,
) -> None:
    monkeypatch.setattr("sottovoce.train.loop.SAVE_S", 0.0)
    with pytest.raises(KeyboardInterrupt):
        heal(run, [speech], spec(tiny), CtrlC(at_step))
    assert resumable_path(run.folder / "int8-fast-healed").is_dir()
    report = heal(run, [speech], spec(tiny), Silent())
    assert report == healed[1]
    name = "int8-fast-healed"
    assert model_files(run.folder / name) == model_files(healed[0].folder / name)


@pytest.mark.large
def test_an_interrupted_training_with_other_settings_is_refused(
    run: Run, tiny: Path, speech: ClipSet
) -> None:
    with pytest.raises(KeyboardInterrupt):
        heal(run, [speech], spec(tiny), CtrlC(1))
    with pytest.raises(
        InputError, match=r"unfinished training with other settings \(length: 12 steps, now 13"
    ):
        heal(run, [speech], replace(spec(tiny), n_steps=13), Silent())
