"""A benchmark says when it measures on what its variants come from."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from sottovoce.benchmark.clips.overlap import note_overlap
from sottovoce.calibrate.audit import RECORDED_CLIPS_NAME
from sottovoce.calibrate.store import CalibrationStore
from sottovoce.errors import InputError
from sottovoce.optimize.search.report import JUDGED_NAME, read_judged_clips, write_judged_clips
from sottovoce.runs import read_run
from sottovoce.speech.clips import Clip
from sottovoce.speech.loading import LoadedClip, LoadedClips, load_clips
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
    note_overlap(read_run(run), LoadedClips(loaded=clips, rejected=()), folders, notes)
    return notes.texts


def other(clip_id: str) -> LoadedClip:
    """Return audio that nothing has heard, under an id."""
    return LoadedClip(clip=Clip(clip_id=clip_id, audio=b""), wave=tone(0.5, pitch_hz=999))


def renamed(clip: LoadedClip, clip_id: str) -> LoadedClip:
    return replace(clip, clip=replace(clip.clip, clip_id=clip_id))


def test_recorded_samples_are_told_under_any_name(tiny_run: Path, recorded: LoadedClip) -> None:
    (told,) = notes_of(tiny_run, other("000000"), renamed(recorded, "000001"))
    assert told.startswith("1 of 2 clips, 000001 first, were recorded for calibration")


def test_another_clip_of_the_same_id_is_no_leak(tiny_run: Path, recorded: LoadedClip) -> None:
    assert notes_of(tiny_run, other(recorded.clip.clip_id)) == []


def test_a_record_that_knows_ids_only_goes_by_them(run: Path, recorded: LoadedClip) -> None:
    (run / "calibration" / RECORDED_CLIPS_NAME).unlink()
    (told,) = notes_of(run, other(recorded.clip.clip_id), other("another"))
    assert told.startswith(f"1 of 2 clips, {recorded.clip.clip_id} first, were recorded")


def test_clips_that_a_search_judged_by_are_told(run: Path) -> None:
    judged = other("judged")
    (run / "search").mkdir()
    write_judged_clips([judged, judged], run / "search")
    assert [clip.clip_id for clip in read_judged_clips(run)] == ["judged"]
    (told,) = notes_of(run, renamed(judged, "measured"))
    assert told.startswith("1 of 1 clips, measured first, chose among the trials of the search")


def test_a_damaged_list_of_judged_clips_is_named(run: Path) -> None:
    (run / "search").mkdir()
    (run / "search" / JUDGED_NAME).write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"judged\.jsonl is damaged"):
        notes_of(run, other("any"))


def test_a_variant_of_a_record_that_is_gone_is_told_where_it_is_measured(run: Path) -> None:
    assert notes_of(run, other("any")) == []
    record = run / "calibration"
    write_manifest(record, read_manifest(record).model_copy(update={"name": "other speech"}))
    (told,) = notes_of(run, other("any"))
    assert told.startswith("int8 was quantized from a calibration record that ")
    assert "sottovoce quantize" in told
    assert notes_of(run, other("any"), measured=("fp32", "fp16")) == []
    shutil.rmtree(record)
    assert len(notes_of(run, other("any"))) == 1
