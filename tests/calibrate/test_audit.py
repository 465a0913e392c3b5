"""The doctor's report on a record: written with it, read, shown, and held against a benchmark."""

import json
import re
import shutil
from pathlib import Path

import pytest

from sottovoce.benchmark.run import benchmark
from sottovoce.benchmark.spec import BenchmarkSpec
from sottovoce.calibrate.audit import DOCTOR_NAME, RECORDED_CLIPS_NAME, read_recorded_clips, read_report
from sottovoce.calibrate.coverage import Topic
from sottovoce.calibrate.forecast import minutes
from sottovoce.calibrate.store import CalibrationStore
from sottovoce.cli.inspection import inspect_run
from sottovoce.errors import InputError
from sottovoce.optimize.pipeline import calibrate_again
from sottovoce.progress import Silent
from sottovoce.recipes.load import override_recipe
from sottovoce.runs import check_files, read_run
from sottovoce.speech.sets import read_speech
from sottovoce.storage.artifacts import read_manifest
from sottovoce.terms import Component
from tests.support.commands import output_of
from tests.support.notes import Notes


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


def test_a_record_holds_the_report_and_its_manifest_lists_it(record: Path) -> None:
    manifest = read_manifest(record)
    assert {DOCTOR_NAME, RECORDED_CLIPS_NAME} <= {entry.path for entry in manifest.files}
    check_files(record, manifest)
    report = read_report(record)
    assert report is not None
    assert report.schema_version == 1
    assert report.coverage.n_clips == manifest.facts["n_clips"] == 4


def test_the_report_covers_what_was_recorded(record: Path) -> None:
    report, clips = read_report(record), read_recorded_clips(record)
    store = CalibrationStore(record)
    assert report is not None
    assert [clip.clip_id for clip in clips] == [entry.clip_id for entry in store.entries]
    assert [clip.n_steps for clip in clips] == [entry.n_steps for entry in store.entries]
    assert report.coverage.audio_s == pytest.approx(sum(entry.audio_s for entry in store.entries))
    assert report.coverage.languages == {"en": 4}
    assert report.coverage.loudness.median == pytest.approx(-13, abs=1)


def test_ranges_of_encoder_and_steps_are_followed_with_the_alpha_of_the_recipe(record: Path) -> None:
    report = read_report(record)
    assert report is not None
    encoder, steps = report.convergence
    assert (encoder.component, steps.component) == (Component.ENCODER, Component.DECODER_WITH_PAST)
    assert (encoder.smooth_quant_alpha, steps.smooth_quant_alpha) == (0.8, None)
    assert (encoder.is_quantized, steps.is_quantized) == (True, False)  # steps are quantized on the fly
    for found in (encoder, steps):
        assert found.n_clips == 4
        assert all(one.low <= 0 <= one.high for one in found.ranges)
    assert {"layers.0.fc1", "layers.1.fc1", "conv1"} <= {one.name for one in encoder.ranges}


def test_ranges_that_the_recipe_does_not_record_are_not_followed(run: Path, tones: Path) -> None:
    read = read_run(run)
    changed = ["calibration.n_clips=2", "quantize.dynamic_quantization_group_size=32"]
    encoder = "quantize.components.encoder"
    changed += [f"{encoder}.dynamic_activations=['.*fc2/.*']"]
    changed += [f"{encoder}.keep_float=[{{reason: raw, types: [Convolution]}}]"]
    calibrate_again(read, read_speech(str(tones)), override_recipe(read.recipe, changed), Silent())
    report = read_report(run / "calibration")
    assert report is not None
    names = {one.name for one in report.convergence[0].ranges}
    assert "layers.1.fc1" in names
    assert not any("fc2" in name or "conv" in name for name in names)


def test_english_tones_for_a_multilingual_model_are_warned_of(record: Path) -> None:
    report = read_report(record)
    assert report is not None
    (finding,) = [finding for finding in report.findings if finding.topic is Topic.LANGUAGE]
    assert "all 4 clips are en" in finding.text


def test_the_evaluation_split_of_the_same_manifest_is_compared(record: Path) -> None:
    report = read_report(record)
    assert report is not None
    assert report.leaks is not None
    assert (report.leaks.split, report.leaks.n_clips) == ("eval", 4)
    assert report.leaks.same_audio == ()
    # write_tone_set gives each speaker a clip of both splits.
    assert len(report.leaks.same_speaker) == 4


def test_a_calibration_clip_that_is_evaluated_too_is_found(run: Path, tones: Path, tmp_path: Path) -> None:
    shutil.copytree(tones.parent, tmp_path / "speech")
    manifest = tmp_path / "speech" / "manifest.jsonl"
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    shutil.copy(tmp_path / "speech" / rows[0]["audio"], tmp_path / "speech" / "copy.wav")
    rows.append(rows[0] | {"id": "copy", "audio": "copy.wav", "split": "eval"})
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    read = read_run(run)
    calibrate_again(read, read_speech(str(manifest)), read.recipe, Silent())
    report = read_report(run / "calibration")
    assert report is not None
    assert report.leaks is not None
    assert [(pair.evaluation, pair.calibration) for pair in report.leaks.same_audio] == [
        ("copy", rows[0]["id"])
    ]
    assert "1 of 5 clips of split eval are calibration clips" in report.findings[0].text


def test_time_is_forecast_before_recording_and_measured(run: Path, tones: Path) -> None:
    read, notes = read_run(run), Notes()
    facts = calibrate_again(read, read_speech(str(tones)), read.recipe, notes).facts
    forecast_s = float(str(facts["forecast_recording_s"])) + float(str(facts["forecast_examination_s"]))
    assert forecast_s > 0
    assert float(str(facts["recording_s"])) > 0
    assert float(str(facts["examination_s"])) > 0
    (note,) = [text for text in notes.texts if text.startswith("recording 4 clips: forecast")]
    assert minutes(forecast_s) in note


def test_activations_that_stay_float_are_followed_without_smoothing(run: Path, tones: Path) -> None:
    read = read_run(run)
    recipe = override_recipe(
        read.recipe, ["quantize.components.decoder_with_past.scheme=float", "calibration.n_clips=2"]
    )
    calibrate_again(read, read_speech(str(tones)), recipe, Silent())
    report = read_report(run / "calibration")
    assert report is not None
    assert [(found.is_quantized, found.smooth_quant_alpha) for found in report.convergence] == [
        (True, 0.8),
        (False, None),
    ]
    assert not any("decoder" in finding.text for finding in report.findings)


def test_inspect_shows_the_report_to_people_and_programs(tiny_run: Path) -> None:
    shown = output_of("inspect", tiny_run)
    for part in (
        "Loudness, dBFS",
        "Settled after",
        "Leaks of calibration into 4 clips of split eval",
        "warning: ",
    ):
        assert part in shown
    assert re.search(r"│ Audio +│ +0 │ none", shown)
    report = read_report(tiny_run / "calibration")
    assert report is not None
    assert json.loads(output_of("inspect", tiny_run, "--json"))["doctor"] == report.model_dump(mode="json")


def test_calibrate_shows_the_report_to_people(run: Path, tones: Path) -> None:
    shown = output_of("calibrate", run, "--data", tones, "--set", "calibration.n_clips=2")
    assert shown.startswith("recorded 2 clips")
    assert re.search(r"2 clips, \d+ s, recorded", shown)
    assert "all 2 clips are en" in " ".join(shown.split())


def test_a_record_from_before_the_doctor_is_read_without_a_report(run: Path) -> None:
    for name in (DOCTOR_NAME, RECORDED_CLIPS_NAME):
        (run / "calibration" / name).unlink()
    assert read_report(run / "calibration") is None
    assert read_recorded_clips(run / "calibration") == ()
    assert inspect_run(read_run(run)).doctor is None


@pytest.mark.parametrize("damage", [b"{", b'{"schema_version": 2}', b"\xff"])
def test_a_damaged_report_is_an_input_error(record: Path, tmp_path: Path, damage: bytes) -> None:
    folder = Path(shutil.copytree(record, tmp_path / "record"))
    (folder / DOCTOR_NAME).write_bytes(damage)
    (folder / RECORDED_CLIPS_NAME).write_bytes(damage)
    with pytest.raises(InputError, match=r"doctor\.json is damaged or of another version"):
        read_report(folder)
    with pytest.raises(InputError, match=r"clips\.jsonl is damaged"):
        read_recorded_clips(folder)


def test_a_benchmark_finds_calibration_clips_under_other_names(
    tiny_run: Path, tones: Path, tmp_path: Path
) -> None:
    recorded = read_recorded_clips(tiny_run / "calibration")[0]
    row = next(
        row
        for row in map(json.loads, tones.read_text(encoding="utf-8").splitlines())
        if row["id"] == recorded.clip_id
    )
    shutil.copy(tones.parent / row["audio"], tmp_path / "copy.wav")
    (tmp_path / "renamed.jsonl").write_text(
        json.dumps({"id": "renamed", "audio": "copy.wav", "text": "a text", "language": "en"}),
        encoding="utf-8",
    )
    notes = Notes()
    results = benchmark(
        read_run(tiny_run),
        read_speech(str(tmp_path / "renamed.jsonl")),
        BenchmarkSpec(passes=1, warm_up_clips=1, threads=1),
        tmp_path / "results",
        force=False,
        reporter=notes,
    )
    assert any(
        text.startswith("1 of 1 clips, first renamed, were recorded for calibration") for text in notes.texts
    )
    assert results.doctor == read_report(tiny_run / "calibration")
