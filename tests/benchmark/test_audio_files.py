"""Clips written as MP3, and sounds without speech."""

from pathlib import Path

import numpy as np
import pytest

from sottovoce.benchmark.clips.audio_files import write_audio
from sottovoce.benchmark.clips.sounds import Sound, make_sounds
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import decode_audio
from sottovoce.speech.clips import Clip
from sottovoce.speech.loading import LoadedClip
from tests.support.tones import tone


def test_a_clip_keeps_its_sound_and_its_file_name_is_a_number(tmp_path: Path) -> None:
    wave = tone(3.0)
    clip = LoadedClip(clip=Clip(clip_id="../../evil", audio=b"", text="x"), wave=wave)
    files = write_audio(tmp_path, [clip], ["../../evil"])
    assert files == {"../../evil": "audio/0001.mp3"}
    decoded = decode_audio(tmp_path / files["../../evil"])
    assert len(decoded) == pytest.approx(len(wave), abs=0.2 * SAMPLE_RATE_HZ)
    assert _strongest_hz(decoded) == pytest.approx(_strongest_hz(wave), abs=3)
    assert (tmp_path / files["../../evil"]).stat().st_size < 20_000


def test_without_changed_clips_there_is_no_folder(tmp_path: Path) -> None:
    assert write_audio(tmp_path, [], []) == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sound", make_sounds(seed=0), ids=lambda sound: sound.name)
def test_a_sound_has_the_level_in_its_name(sound: Sound) -> None:
    assert sound.wave.dtype == np.float32
    assert sound.length_s == 10
    assert np.abs(sound.wave).max() <= 1
    level_db = sound.name.partition(", ")[2].removesuffix(" dB")
    if level_db:
        rms = np.sqrt(np.mean(sound.wave.astype(float) ** 2))
        assert 20 * np.log10(rms) == pytest.approx(float(level_db), abs=0.5)
    else:
        assert not sound.wave.any()


def test_sounds_are_the_same_for_a_seed() -> None:
    for one, other in zip(make_sounds(seed=1), make_sounds(seed=1), strict=True):
        assert np.array_equal(one.wave, other.wave)


def _strongest_hz(wave: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(wave))
    return float(np.argmax(spectrum) * SAMPLE_RATE_HZ / len(wave))
