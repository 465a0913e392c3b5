"""Missed terms are counted by whole words, as often as they occur; what is forgotten is measured on clips that do not train."""

from pathlib import Path

import numpy as np
import pytest

from sottovoce.errors import InputError
from sottovoce.speech.clips import Clip, ClipSet
from sottovoce.speech.loading import LoadedClip, load_clips
from sottovoce.speech.sets import read_speech
from sottovoce.train.decoder.evaluation import errors_of, general_clips, missed_terms
from sottovoce.train.decoder.labels import LabelledClip
from tests.support.tones import write_tone_set


def clip(text: str) -> LabelledClip:
    loaded = LoadedClip(clip=Clip(clip_id=text, audio=b"", text=text), wave=np.zeros(1, np.float32))
    return LabelledClip(clip=loaded, language="en", prompt=(), labels=())


def test_terms_are_counted_as_whole_words_in_any_capitalization() -> None:
    clips = [clip("Warfarin and warfarin for atrial fibrillation."), clip("A ferritin of nine")]
    texts = ["War for in and warfarin for Atrial Fibrillation", "apoferritin of nine"]
    assert missed_terms(clips, texts, ["warfarin", "atrial fibrillation", "ferritin"]) == (4, 2)


def test_a_term_said_more_often_than_written_makes_up_for_none() -> None:
    assert missed_terms([clip("warfarin"), clip("warfarin")], ["warfarin warfarin", ""], ["warfarin"]) == (
        2,
        1,
    )


def test_word_errors_are_of_normalized_texts() -> None:
    found = errors_of([clip("It's nine."), clip("Two words")], ["it is 9", "two"])
    assert [each.errors for each in found] == [0, 1]


@pytest.fixture
def tones(tmp_path: Path) -> ClipSet:
    """Name six clips, of which every second one is of the split `eval`."""
    return read_speech(str(write_tone_set(tmp_path, duration_s=0.2)))


def measured(general: ClipSet, used: tuple[LoadedClip, ...] = ()) -> list[str]:
    found = general_clips(general, used, english_only=False, seed=0)
    return sorted(each.clip.clip_id for each in found)


def test_what_is_forgotten_is_measured_on_no_clip_that_trains(tones: ClipSet) -> None:
    training = load_clips([clip for clip in tones.clips if clip.split != "eval"], wanted=None).loaded
    assert len(measured(tones)) == 6
    assert measured(tones, training) == ["tone-01", "tone-03", "tone-05"]
    with pytest.raises(InputError, match=r"nothing is left to measure .* give other speech with --general"):
        measured(tones, load_clips(tones.clips, wanted=None).loaded)


def test_what_is_forgotten_is_measured_on_the_split_eval_first(
    tones: ClipSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sottovoce.train.decoder.evaluation.MAX_GENERAL_CLIPS", 3)
    assert measured(tones) == ["tone-01", "tone-03", "tone-05"]
