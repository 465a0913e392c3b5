"""A benchmark reports clips that calibration or a search has used."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from sottovoce.benchmark.clips.overlap import note_overlap
from sottovoce.benchmark.clips.select import hash_clips
from sottovoce.calibrate.audit import RECORDED_CLIPS_NAME
from sottovoce.calibrate.store import CalibrationStore
from sottovoce.errors import InputError
from sottovoce.optimize.search.report import JUDGED_NAME, read_judged_clips, write_judged_clips
from sottovoce.runs import read_run
from sottovoce.speech.clips import Clip
from sottovoce.speech.loading import LoadedClip, load_clips
from sottovoce.speech.sets import read_speech
from sottovoce.storage.artifacts import read_manifest, write_manifest
from tests.support.notes import Notes
from tests.support.tones import tone


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


@pytest.fixture(scope="module")
def recorded(tones: Path, record: Path) -> LoadedClip:
    """Hold a clip that was recorded."""
    ids = CalibrationStore(record).clip_ids()
    clips = [clip for clip in read_speech(str(tones)).clips if clip.clip_id in ids]
    return load_clips(clips[:1], wanted=None).loaded[0]


def notes_of(run: Path, *clips: LoadedClip, measured: tuple[str, ...] = ("fp32", "int8")) -> list[str]:
    notes = Notes()
    folders = {run / name for name in measured}
    note_overlap(read_run(run), hash_clips(clips), folders, notes)
    return notes.texts


def other(clip_id: str) -> LoadedClip:
    """Return a clip with audio that nothing has used."""
    return LoadedClip(clip=Clip(clip_id=clip_id, audio=b""), wave=tone(0.5, pitch_hz=999))


def renamed(clip: LoadedClip, clip_id: str) -> LoadedClip:
    return replace(clip, clip=replace(clip.clip, clip_id=clip_id))


def test_recorded_samples_are_reported_under_any_id(tiny_run: Path, recorded: LoadedClip) -> None:
    (note,) = notes_of(tiny_run, other("000000"), renamed(recorded, "000001"))
    assert note.startswith("1 of 2 clips, first 000001, were recorded for calibration")


def test_other_audio_under_a_recorded_id_is_not_reported(tiny_run: Path, recorded: LoadedClip) -> None:
    assert notes_of(tiny_run, other(recorded.clip.clip_id)) == []


def test_a_record_without_hashes_is_compared_by_id(run: Path, recorded: LoadedClip) -> None:
    (run / "calibration" / RECORDED_CLIPS_NAME).unlink()
    (note,) = notes_of(run, other(recorded.clip.clip_id), other("another"))
    assert note.startswith(f"1 of 2 clips, first {recorded.clip.clip_id}, were recorded")


def test_clips_that_a_search_used_are_reported(run: Path) -> None:
    judged = other("judged")
    (run / "search").mkdir()
    write_judged_clips([judged, judged], run / "search")
    assert [clip.clip_id for clip in read_judged_clips(run)] == ["judged"]
    (note,) = notes_of(run, renamed(judged, "measured"))
    assert note.startswith("1 of 1 clips, first measured, chose among the trials of the search")


def test_a_damaged_list_of_judged_clips_is_an_input_error(run: Path) -> None:
    (run / "search").mkdir()
    (run / "search" / JUDGED_NAME).write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"judged\.jsonl is damaged"):
        notes_of(run, other("any"))


def test_a_measured_variant_whose_record_is_gone_is_reported(run: Path) -> None:
    assert notes_of(run, other("any")) == []
    record = run / "calibration"
    write_manifest(record, read_manifest(record).model_copy(update={"name": "other speech"}))
    (note,) = notes_of(run, other("any"))
    assert note.startswith("int8 was quantized from a calibration record that ")
    assert "sottovoce quantize" in note
    assert notes_of(run, other("any"), measured=("fp32", "fp16")) == []
    shutil.rmtree(record)
    assert len(notes_of(run, other("any"))) == 1
