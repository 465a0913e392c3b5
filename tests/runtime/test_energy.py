"""Voice activity from the energy of frames."""

import math
import tracemalloc
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sottovoce.errors import InputError
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.vad.energy import EnergyVoiceActivity
from sottovoce.runtime.vad.frames import FRAME_S
from sottovoce.runtime.vad.speech_spans import VadOptions, speech_spans

UNPADDED = VadOptions(speech_pad_s=0.0)


def noise(duration_s: float, *, rms: float) -> Wave:
    n_samples = round(duration_s * SAMPLE_RATE_HZ)
    return (rms * np.random.default_rng(0).standard_normal(n_samples)).astype(np.float32)


def silence(duration_s: float) -> Wave:
    return np.zeros(round(duration_s * SAMPLE_RATE_HZ), np.float32)


def tone(duration_s: float, *, peak: float = 0.1) -> Wave:
    time_s = np.arange(round(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return (peak * np.sin(2 * np.pi * 440.0 * time_s)).astype(np.float32)


def pieces(wave: Wave, cuts: Sequence[int]) -> Iterator[Wave]:
    yield from np.split(wave, sorted(cuts))


def test_energy_finds_a_tone_in_silence() -> None:
    wave = np.concatenate([silence(3.0), tone(2.0), silence(3.0)])

    probabilities = EnergyVoiceActivity().probabilities(wave, is_last=True)
    (found,) = speech_spans(probabilities, UNPADDED)

    assert found.start_s == pytest.approx(3.0, abs=FRAME_S)
    assert found.end_s == pytest.approx(5.0, abs=FRAME_S)


def test_energy_finds_a_tone_above_steady_noise() -> None:
    wave = noise(30.0, rms=0.005)
    wave[20 * SAMPLE_RATE_HZ : 22 * SAMPLE_RATE_HZ] += tone(2.0)

    probabilities = EnergyVoiceActivity().probabilities(wave, is_last=True)
    late = [found for found in speech_spans(probabilities, UNPADDED) if found.start_s > 12.0]

    assert [round(found.start_s) for found in late] == [20]
    assert [round(found.end_s) for found in late] == [22]


def test_steady_noise_counts_as_speech_for_at_most_ten_seconds() -> None:
    probabilities = EnergyVoiceActivity().probabilities(noise(60.0, rms=0.01), is_last=True)

    assert all(found.end_s < 10.5 for found in speech_spans(probabilities))


@pytest.mark.parametrize("offset", [0.0, 0.2], ids=["digital", "with an offset"])
def test_silence_has_no_speech(offset: float) -> None:
    probabilities = EnergyVoiceActivity().probabilities(silence(20.0) + np.float32(offset), is_last=True)

    assert probabilities.size == 625
    assert speech_spans(probabilities) == ()


@given(cuts=st.lists(st.integers(0, 20 * SAMPLE_RATE_HZ), max_size=40))
@example(cuts=list(range(0, 20 * SAMPLE_RATE_HZ, 1600)))
def test_chunks_do_not_change_the_probabilities(cuts: list[int]) -> None:
    wave = noise(20.1, rms=0.003)
    wave[5 * SAMPLE_RATE_HZ : 8 * SAMPLE_RATE_HZ] += tone(3.0, peak=0.05)
    whole = EnergyVoiceActivity().probabilities(wave, is_last=True)

    detector = EnergyVoiceActivity()
    probabilities = [detector.probabilities(piece) for piece in pieces(wave, cuts)]
    probabilities.append(detector.probabilities(silence(0.0), is_last=True))

    np.testing.assert_array_equal(np.concatenate(probabilities), whole)


def test_a_frame_has_its_probability_as_soon_as_it_is_complete() -> None:
    detector = EnergyVoiceActivity()

    sizes = [detector.probabilities(tone(n / SAMPLE_RATE_HZ)).size for n in (511, 1, 1023, 0, 1)]

    assert sizes == [0, 1, 1, 0, 1]


def test_the_detector_is_reset_after_the_last_chunk() -> None:
    detector = EnergyVoiceActivity()
    wave = np.concatenate([noise(12.01, rms=0.01), tone(1.0)])

    first, second = (detector.probabilities(wave, is_last=True) for _ in range(2))

    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_samples_that_are_not_finite_are_refused_and_the_stream_continues(value: float) -> None:
    wave = np.concatenate([silence(1.0), tone(1.01)])
    whole = EnergyVoiceActivity().probabilities(wave, is_last=True)
    broken = tone(1.0)
    broken[100] = value
    detector = EnergyVoiceActivity()

    before = detector.probabilities(wave[:20_000])
    with pytest.raises(InputError, match="not finite"):
        detector.probabilities(broken)
    after = detector.probabilities(wave[20_000:], is_last=True)

    np.testing.assert_array_equal(np.concatenate([before, after]), whole)


def test_a_new_stream_does_not_change_the_first() -> None:
    rng = np.random.default_rng(0)
    wave = rng.standard_normal(100_000).astype(np.float32) * 0.1
    whole = EnergyVoiceActivity().probabilities(wave, is_last=True)
    first = EnergyVoiceActivity()
    before = first.probabilities(wave[:40_000])
    first.new_stream().probabilities(wave[::-1].copy(), is_last=True)
    after = first.probabilities(wave[40_000:], is_last=True)
    np.testing.assert_allclose(np.concatenate([before, after]), whole, atol=1e-6)


def test_two_channels_are_refused() -> None:
    with pytest.raises(InputError, match=r"shape \(2, 16000\)"):
        EnergyVoiceActivity().probabilities(np.zeros((2, 16_000), np.float32))


def test_memory_does_not_grow_with_the_stream() -> None:
    detector = EnergyVoiceActivity()
    chunk = noise(1.2345, rms=0.01)
    detector.probabilities(chunk)
    tracemalloc.start()
    try:
        for _ in range(300):
            detector.probabilities(chunk)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert held < 50_000
