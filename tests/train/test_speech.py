"""Which clips train, and which measure."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.errors import InputError
from sottovoce.progress import Silent
from sottovoce.speech.clips import Clip, ClipSet
from sottovoce.speech.loading import LoadedClip
from sottovoce.speech.sets import read_speech
from sottovoce.train.speech import MAX_HELD_OUT, divide, load_division, training_clips
from tests.support.notes import Notes
from tests.support.tones import write_tone_set


def clips_of(speakers: list[int]) -> list[LoadedClip]:
    wave = np.zeros(1600, dtype=np.float32)
    return [
        LoadedClip(clip=Clip(clip_id=f"c{i}", audio=b"", source="s", speaker=f"p{speaker}"), wave=wave)
        for i, speaker in enumerate(speakers)
    ]


@given(speakers=st.lists(st.integers(0, 9), min_size=2, max_size=60), seed=st.integers(0, 5))
def test_no_speaker_trains_and_measures(speakers: list[int], seed: int) -> None:
    clips = clips_of([0, 1, *speakers])
    division = divide(clips, seed)
    training, held_out = (
        {clip.clip.speaker for clip in part} for part in (division.training, division.held_out)
    )
    assert training
    assert held_out
    assert not training & held_out
    assert len(division.held_out) <= MAX_HELD_OUT
    assert len(division.clips) == len(clips)


@pytest.mark.parametrize("n_clips", [0, 1, 9])
def test_of_one_speaker_nothing_is_held_out(n_clips: int) -> None:
    division = divide(clips_of([0] * n_clips), 0)
    assert (len(division.training), len(division.held_out)) == (n_clips, 0)


def test_of_few_clips_one_is_held_out() -> None:
    assert len(divide(clips_of([0, 1]), 0).held_out) == 1


@pytest.mark.parametrize("seed", range(6))
def test_a_speaker_with_most_of_the_clips_trains(seed: int) -> None:
    division = divide(clips_of([0] * 90 + [1] * 6 + [2] * 4), seed)
    assert {clip.clip.speaker for clip in division.training} >= {"p0"}
    assert 0 < len(division.held_out) <= 10


def test_clips_beyond_those_that_are_measured_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speech = read_speech(str(write_tone_set(tmp_path, n_clips=10, splits=())))
    monkeypatch.setattr("sottovoce.train.speech.MIN_AUDIO_S", 1.0)
    monkeypatch.setattr("sottovoce.train.speech.MAX_HELD_OUT", 1)
    reporter = Notes()
    division = load_division([speech], english_only=False, seed=0, reporter=reporter)
    assert len(division.clips) == 9
    assert "of held-out speakers, at most 1 clips are measured on: 1 left out" in reporter.texts


def test_the_seed_alone_decides_who_is_held_out() -> None:
    clips = clips_of([0, 0, 1, 1, 2, 2, 3, 3, 4, 4])
    assert {clip.clip.clip_id for clip in divide(clips, 3).held_out} == {
        clip.clip.clip_id for clip in divide(clips[::-1], 3).held_out
    }


def test_clips_for_evaluation_never_train(tmp_path: Path) -> None:
    speech = read_speech(str(write_tone_set(tmp_path, splits=("train", "calib", "eval"))))
    assert {clip.split for clip in training_clips(speech, english_only=False)} == {"train", "calib"}
    only = ClipSet(name="tones", clips=speech.of_split("eval").clips)
    with pytest.raises(InputError, match="no clips of the splits train or calib"):
        training_clips(only, english_only=False)


def test_an_english_model_does_not_train_on_german(tmp_path: Path) -> None:
    speech = read_speech(str(write_tone_set(tmp_path, language="de")))
    with pytest.raises(InputError, match="has no English clips"):
        training_clips(speech, english_only=True)


def test_too_little_speech_is_refused_with_how_much_is_enough(tmp_path: Path) -> None:
    speech = read_speech(str(write_tone_set(tmp_path, splits=())))
    with pytest.raises(InputError, match=r"8 s of 3 speakers, want at least 120 s of 3.*30 minutes"):
        load_division([speech], english_only=False, seed=0, reporter=Silent())
