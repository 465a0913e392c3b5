"""A record of few transcripts: the other clips have the prompt alone."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sottovoce.calibrate.audit import read_recorded_clips, read_report
from sottovoce.calibrate.store import TRANSCRIBED_KEY, CalibrationStore
from sottovoce.errors import InputError
from sottovoce.optimize.pipeline import calibrate_again, quantize_again
from sottovoce.progress import Silent
from sottovoce.recipes.load import load_recipe, override_recipe
from sottovoce.runs import Run, read_run
from sottovoce.speech.sets import read_speech
from sottovoce.storage.artifacts import MANIFEST_NAME, read_manifest
from tests.support.torture import model_files

N_CLIPS, N_TRANSCRIBED = 4, 1


@pytest.fixture(scope="module")
def sparse(tiny_run: Path, tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Hold a copy of the run whose record has one transcript."""
    folder = tmp_path_factory.mktemp("sparse") / "run"
    shutil.copytree(tiny_run, folder)
    run = read_run(folder)
    recipe = override_recipe(run.recipe, [f"calibration.n_transcribed_clips={N_TRANSCRIBED}"])
    calibrate_again(run, read_speech(str(tones)), recipe, Silent())
    return read_run(folder)


def test_the_first_clips_are_transcribed_and_of_the_others_the_prompt_is_recorded(
    sparse: Run, record: Path
) -> None:
    whole, part = CalibrationStore(record), CalibrationStore(sparse.calibration_folder)
    assert len(part.entries) == len(whole.entries) == N_CLIPS
    for number, (expected, found) in enumerate(zip(whole.entries, part.entries, strict=True)):
        n_tokens = expected.n_tokens if number < N_TRANSCRIBED else expected.n_prompt
        assert found == expected.model_copy(update={"n_tokens": n_tokens})
        before, after = whole.read(expected), part.read(found)
        np.testing.assert_array_equal(after.features, before.features)
        np.testing.assert_array_equal(after.encoder_states, before.encoder_states)
        np.testing.assert_array_equal(after.token_ids, before.token_ids[:, :n_tokens])


def test_the_language_of_a_clip_is_detected_whether_it_is_transcribed_or_not(
    sparse: Run, tones: Path, tmp_path: Path
) -> None:
    shutil.copytree(sparse.folder, tmp_path / "run")
    run, speech = read_run(tmp_path / "run"), read_speech(str(tones))
    unknown = tuple(replace(clip, language=None) for clip in speech.clips)
    calibrate_again(run, replace(speech, clips=unknown), run.recipe, Silent())
    entries = CalibrationStore(run.calibration_folder).entries
    assert [entry.n_prompt for entry in entries] == [1, 4] * N_CLIPS
    assert [entry.n_steps > 0 for entry in entries] == [False, True, *[False] * 2 * (N_CLIPS - N_TRANSCRIBED)]


def test_the_audit_describes_the_texts_of_the_transcribed_clips(sparse: Run) -> None:
    assert read_manifest(sparse.calibration_folder).facts[TRANSCRIBED_KEY] == N_TRANSCRIBED
    report = read_report(sparse.calibration_folder)
    assert report is not None
    assert (report.coverage.n_clips, report.coverage.n_transcribed_clips) == (N_CLIPS, N_TRANSCRIBED)
    assert [found.n_clips for found in report.convergence] == [N_CLIPS, N_TRANSCRIBED]
    steps = [clip.n_steps for clip in read_recorded_clips(sparse.calibration_folder)]
    assert steps[:N_TRANSCRIBED] != [None]
    assert steps[N_TRANSCRIBED:] == [None] * (N_CLIPS - N_TRANSCRIBED)


@pytest.mark.parametrize("name", ["int8-fast", pytest.param("int8-weights", marks=pytest.mark.large)])
def test_a_recipe_that_needs_no_tokens_gives_the_same_bytes(
    name: str, sparse: Run, tiny_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_run, tmp_path / "whole")
    made = [
        quantize_again(run, load_recipe(name), Silent()) for run in (read_run(tmp_path / "whole"), sparse)
    ]
    whole, part = (weights_of(run, name) for run in made)
    assert {f"{name}/openvino_{component}_model.bin" for component in ("encoder", "decoder")} <= whole.keys()
    assert part == whole


def weights_of(run: Run, variant: str) -> dict[str, str]:
    files = model_files(run.folder).items()
    return {name: digest for name, digest in files if name.startswith(variant) and name.endswith(".bin")}


@pytest.mark.parametrize("name", ["int8", "int4-decoder"])
def test_a_recipe_that_needs_more_tokens_says_how_to_record_them(
    name: str, sparse: Run, tones: Path, tmp_path: Path
) -> None:
    shutil.copytree(sparse.folder, tmp_path / "run")
    run = read_run(tmp_path / "run")
    before = model_files(run.folder)
    with pytest.raises(InputError) as caught:
        quantize_again(run, load_recipe(name), Silent())
    override = f"calibration.n_transcribed_clips={N_CLIPS}"
    assert str(caught.value) == (
        f"{run.folder}/calibration has the tokens of 1 of 4 clips, {name} is quantized by those of all; record them "
        f"with `sottovoce calibrate {run.folder} --data SPEECH --set {override}`"
    )
    assert model_files(run.folder) == before
    calibrate_again(run, read_speech(str(tones)), override_recipe(run.recipe, [override]), Silent())
    CalibrationStore(run.calibration_folder).check_transcripts(load_recipe(name).quantize)


def test_a_record_of_an_earlier_version_has_the_tokens_of_all_clips(record: Path, tmp_path: Path) -> None:
    folder = tmp_path / "calibration"
    shutil.copytree(record, folder)
    manifest = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
    del manifest["facts"][TRANSCRIBED_KEY]
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest), encoding="utf-8")
    CalibrationStore(folder).check_transcripts(load_recipe("int8").quantize)
    report = read_report(folder)
    assert report is not None
    assert report.coverage.n_transcribed_clips == report.coverage.n_clips == N_CLIPS
