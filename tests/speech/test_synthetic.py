"""The speech that comes with sottovoce."""

import pytest

from sottovoce.calibrate.record import select_calibration
from sottovoce.recipes.load import load_recipe
from sottovoce.speech.clips import count_by
from sottovoce.speech.loading import load_clips
from sottovoce.speech.sets import read_speech
from sottovoce.speech.synthetic import demo_speech

SPEECH = read_speech(str(demo_speech()))
CALIBRATION = load_recipe("int8-fast").calibration


def test_a_multilingual_model_is_calibrated_in_six_languages_without_data() -> None:
    chosen = select_calibration(SPEECH, CALIBRATION, english_only=False).expected
    assert count_by(clip.language for clip in chosen) == {
        "en": 24,
        "de": 2,
        "es": 2,
        "fr": 2,
        "it": 2,
        "ja": 2,
    }


def test_an_english_only_model_is_calibrated_in_english_alone() -> None:
    chosen = select_calibration(SPEECH, CALIBRATION, english_only=True).expected
    assert count_by(clip.language for clip in chosen) == {"en": 24}


def test_evaluation_on_the_own_speech_stays_english() -> None:
    assert count_by(clip.language for clip in SPEECH.of_split("eval").clips) == {"en": 24}


def test_every_clip_in_another_language_is_decoded_at_its_stated_length() -> None:
    others = [clip for clip in SPEECH.clips if clip.language != "en"]
    loaded = load_clips(others, wanted=None)
    assert not loaded.rejected
    assert [len(one.wave) / 16_000 for one in loaded.loaded] == [
        pytest.approx(clip.duration_s, abs=0.001) for clip in others
    ]
