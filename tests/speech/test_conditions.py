"""Listening conditions: what each does to a wave, measured on tones and noise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave
from sottovoce.speech.conditions import (
    MP3_BIT_RATE,
    add_noise,
    apply_condition,
    change_level,
    change_speed,
    encode_mp3,
    over_telephone,
    reverberate,
    speech_shaped_noise,
    speech_spectrum,
    through_mp3,
)
from sottovoce.speech.properties import loudness_dbfs
from sottovoce.terms import Condition
from tests.support.tones import tone

SPEEDS = {Condition.SPEED_09: 0.9, Condition.SPEED_11: 1.1}


def sine(frequency_hz: float, *, length_s: float = 1.0, peak: float = 0.5) -> Wave:
    seconds = np.arange(round(length_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return np.asarray(peak * np.sin(2 * np.pi * frequency_hz * seconds), dtype=np.float32)


def middle(wave: Wave) -> Wave:
    """Leave out the ends, where filters start and stop."""
    return wave[wave.size // 4 : -wave.size // 4]


def pitch_hz(wave: Wave) -> float:
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(wave.size)))
    return float(np.argmax(spectrum)) * SAMPLE_RATE_HZ / wave.size


@pytest.mark.parametrize("condition", Condition)
def test_a_condition_keeps_length_scale_and_repeats_itself(condition: Condition) -> None:
    wave = tone(1.3)
    noise = speech_shaped_noise(speech_spectrum([wave]), wave.size, seed=1)
    found = apply_condition(condition, wave, noise)
    assert found.dtype == np.float32
    assert found.size == pytest.approx(wave.size / SPEEDS.get(condition, 1.0), abs=1)
    assert np.abs(found).max() <= 1
    assert np.array_equal(found, apply_condition(condition, wave, noise))
    assert np.array_equal(found, wave) == (condition is Condition.CLEAN)


@pytest.mark.parametrize(
    ("condition", "change_db"), [(Condition.LEVEL_MINUS_40, -40), (Condition.LEVEL_MINUS_20, -20)]
)
def test_levels_fall_by_what_their_names_say(condition: Condition, change_db: float) -> None:
    wave = tone(0.5)
    assert loudness_dbfs(apply_condition(condition, wave, wave)) - loudness_dbfs(wave) == pytest.approx(
        change_db, abs=0.01
    )


def test_loud_speech_is_clipped_at_full_scale() -> None:
    found = apply_condition(Condition.LEVEL_PLUS_20, sine(200), sine(200))
    assert np.mean(np.abs(found) == 1) > 0.8  # ten times 0.5, of which all but the steep parts is over 1


@settings(max_examples=20, deadline=None)
@given(snr_db=st.floats(-10, 40), gain_db=st.floats(-60, 0), noise_db=st.floats(-60, 0))
def test_noise_has_the_given_ratio_at_every_level(snr_db: float, gain_db: float, noise_db: float) -> None:
    wave = change_level(sine(300), gain_db)
    noise = change_level(speech_shaped_noise(np.ones(257), wave.size + 100, seed=3), noise_db)
    added = add_noise(wave, noise, snr_db=snr_db).astype(np.float64) - wave
    power_db = [10 * np.log10(np.mean(np.square(each, dtype=np.float64))) for each in (wave, added)]
    assert power_db[0] - power_db[1] == pytest.approx(snr_db, abs=0.1)


def test_noise_has_the_spectrum_of_the_speech_whatever_its_level() -> None:
    speech = [sine(500, peak=0.5), change_level(sine(3000, peak=0.5), -40)]
    noise = speech_shaped_noise(speech_spectrum(speech), 10 * SAMPLE_RATE_HZ, seed=0)
    power = np.abs(np.fft.rfft(noise)) ** 2
    frequencies_hz = np.fft.rfftfreq(noise.size, 1 / SAMPLE_RATE_HZ)
    shares = [power[np.abs(frequencies_hz - centre) < 100].sum() / power.sum() for centre in (500, 3000)]
    assert shares == pytest.approx([0.5, 0.5], abs=0.05)


def test_another_seed_is_another_noise() -> None:
    first, again, other = (speech_shaped_noise(np.ones(257), 1000, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert abs(np.corrcoef(first, other)[0, 1]) < 0.2


@pytest.mark.parametrize(
    ("frequency_hz", "lowest_db", "highest_db"),
    [(100, -100, -40), (1000, -0.5, 0.5), (3300, -0.5, 0.5), (6000, -100, -40)],
)
def test_a_telephone_passes_its_band_alone(frequency_hz: float, lowest_db: float, highest_db: float) -> None:
    wave = sine(frequency_hz)
    change_db = loudness_dbfs(middle(over_telephone(wave))) - loudness_dbfs(middle(wave))
    assert lowest_db <= change_db <= highest_db


def test_a_telephone_adds_the_noise_of_eight_bits_at_every_level() -> None:
    """Mu-law keeps about 37 dB over 30 dB of level, where 8 linear bits lose as much as the level falls."""
    for peak in (0.5, 0.05):
        wave = sine(1000, peak=peak)
        error = middle(over_telephone(wave)) - middle(wave)
        assert 30 < loudness_dbfs(middle(wave)) - loudness_dbfs(error) < 45


def test_a_room_decays_by_60_db_in_its_reverberation_time() -> None:
    """The slope of Schroeder's backward integral from -5 to -25 dB, as ISO 3382 measures it."""
    click = np.zeros(SAMPLE_RATE_HZ, dtype=np.float32)
    click[0] = 0.5
    energy = np.cumsum(np.square(reverberate(click, rt60_s=0.6)[1:], dtype=np.float64)[::-1])[::-1]
    decay_db = 10 * np.log10(energy / energy[0])
    start, end = (int(np.argmax(decay_db < level_db)) for level_db in (-5, -25))
    assert 3 * (end - start) / SAMPLE_RATE_HZ == pytest.approx(0.6, abs=0.03)


def test_a_room_smears_speech_and_keeps_its_level() -> None:
    wave = np.concatenate([sine(300, length_s=0.5), np.zeros(SAMPLE_RATE_HZ // 2, dtype=np.float32)])
    found = reverberate(wave)
    assert loudness_dbfs(found) == pytest.approx(loudness_dbfs(wave), abs=0.1)
    assert loudness_dbfs(found[9600:11200]) > loudness_dbfs(found[:8000]) - 40


def test_mp3_keeps_times_and_has_its_bit_rate() -> None:
    wave = np.concatenate([np.zeros(8000, dtype=np.float32), sine(440, length_s=1.5)])
    encoded = encode_mp3(wave, bit_rate=MP3_BIT_RATE)
    assert len(encoded) == pytest.approx(MP3_BIT_RATE / 8 * 2, rel=0.25)
    found = through_mp3(wave)
    assert loudness_dbfs(found[:7000]) < -60
    assert loudness_dbfs(found[9000:]) == pytest.approx(loudness_dbfs(wave[9000:]), abs=1)


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_speed_changes_length_and_pitch_alike(factor: float) -> None:
    found = change_speed(sine(440), factor)
    assert found.size == pytest.approx(SAMPLE_RATE_HZ / factor, abs=1)
    assert pitch_hz(found) == pytest.approx(440 * factor, abs=2)
