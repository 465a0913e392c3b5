"""Log-mel features agree with transformers, whose features equal those of openai-whisper."""

from functools import cache

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import WhisperFeatureExtractor

from sottovoce.runtime.audio.constants import HOP_SAMPLES, SAMPLE_RATE_HZ, WINDOW_FRAMES, WINDOW_SAMPLES
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.audio.features import LOWEST_FEATURE, Features, log_mel
from tests.support.tones import tone

TOLERANCE = 1e-4
REACH_FRAMES = 3
"""Frames after the last whole frame of a wave that its samples still reach."""

LONGEST = WINDOW_SAMPLES + SAMPLE_RATE_HZ

N_MELS = (80, 128)


@cache
def extractor(n_mels: int) -> WhisperFeatureExtractor:
    return WhisperFeatureExtractor(feature_size=n_mels)


def lowest_feature(features: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> float:
    """Return the lowest feature of a clip: 8 decades of power below its peak, but not below digital silence."""
    return max(float(features.max()) - 2.0, LOWEST_FEATURE)


def expected(wave: Wave, n_mels: int) -> Features:
    extracted: Features = extractor(n_mels)(
        wave, sampling_rate=SAMPLE_RATE_HZ, return_tensors="np"
    ).input_features
    return extracted


def noise(loudness: float) -> Wave:
    samples = loudness * np.random.default_rng(0).standard_normal(LONGEST)
    return np.asarray(samples, dtype=np.float32)


def speechlike() -> Wave:
    """Synthesize voiced syllables with pauses between them and soft noise."""
    time_s = np.arange(LONGEST) / SAMPLE_RATE_HZ
    pitch = 2 * np.pi * 120 * time_s + np.sin(2 * np.pi * 3 * time_s)
    voice = sum(np.sin(k * pitch) / k for k in range(1, 12))
    samples = 0.2 * voice * np.maximum(0, np.sin(2 * np.pi * 1.7 * time_s)) + noise(1e-3)
    return np.asarray(samples, dtype=np.float32)


WAVES: dict[str, Wave] = {
    "noise": noise(0.1),
    "soft noise": noise(1e-5),
    "speechlike": speechlike(),
    "tone": tone(LONGEST / SAMPLE_RATE_HZ),
    "silence": np.zeros(LONGEST, dtype=np.float32),
    "constant": np.ones(LONGEST, dtype=np.float32),
}


@pytest.mark.parametrize("n_mels", N_MELS)
@pytest.mark.parametrize("kind", WAVES)
@pytest.mark.parametrize("n_samples", [0, 1, 2, 121, 159, 199, 200, 201, 16000, 23999])
def test_features_agree_with_transformers(kind: str, n_samples: int, n_mels: int) -> None:
    wave = WAVES[kind][:n_samples]
    features = log_mel(wave, n_mels=n_mels)
    assert features.dtype == np.float32
    assert features.shape == (1, n_mels, WINDOW_FRAMES)
    np.testing.assert_allclose(features, expected(wave, n_mels), atol=TOLERANCE)


@pytest.mark.parametrize("kind", ["speechlike", "constant"])
@pytest.mark.parametrize("missing", [201, 41, 40, 1, 0, -1, -SAMPLE_RATE_HZ])
def test_the_end_of_a_full_window_agrees_with_transformers(kind: str, missing: int) -> None:
    wave = WAVES[kind][: WINDOW_SAMPLES - missing]
    np.testing.assert_allclose(log_mel(wave, n_mels=80), expected(wave, 80), atol=TOLERANCE)


def test_a_click_after_the_last_frame_does_not_raise_the_peak() -> None:
    wave = 0.01 * WAVES["noise"][:WINDOW_SAMPLES]
    wave[-3:] = 1.0
    np.testing.assert_allclose(log_mel(wave, n_mels=80), expected(wave, 80), atol=TOLERANCE)


@settings(max_examples=15)
@given(n_samples=st.integers(0, LONGEST), kind=st.sampled_from(sorted(WAVES)), n_mels=st.sampled_from(N_MELS))
@example(n_samples=WINDOW_SAMPLES - 1, kind="noise", n_mels=128)
def test_features_of_any_length_agree_with_transformers(n_samples: int, kind: str, n_mels: int) -> None:
    wave = WAVES[kind][:n_samples]
    np.testing.assert_allclose(log_mel(wave, n_mels=n_mels), expected(wave, n_mels), atol=TOLERANCE)


@settings(max_examples=15)
@given(
    n_samples=st.integers(0, WINDOW_SAMPLES - REACH_FRAMES * HOP_SAMPLES),
    extra=st.integers(0, 300),
    kind=st.sampled_from(sorted(WAVES)),
)
def test_fewer_frames_have_the_same_values_if_they_cover_the_wave(
    n_samples: int, extra: int, kind: str
) -> None:
    wave = WAVES[kind][:n_samples]
    n_frames = min(WINDOW_FRAMES, n_samples // HOP_SAMPLES + REACH_FRAMES + extra)
    full = log_mel(wave, n_mels=80)
    short = log_mel(wave, n_mels=80, n_frames=n_frames)
    np.testing.assert_array_equal(short, full[:, :, :n_frames])
    assert lowest_feature(short) == pytest.approx(lowest_feature(full), abs=1e-6)


@settings(max_examples=15)
@given(n_samples=st.integers(0, 5 * SAMPLE_RATE_HZ), kind=st.sampled_from(sorted(WAVES)))
def test_frames_of_padding_have_the_lowest_feature(n_samples: int, kind: str) -> None:
    features = log_mel(WAVES[kind][:n_samples], n_mels=80)
    padding = features[:, :, n_samples // HOP_SAMPLES + REACH_FRAMES :]
    np.testing.assert_allclose(padding, lowest_feature(features), atol=1e-6)
    assert features.min() >= lowest_feature(features) - 1e-6


def test_silence_has_the_lowest_feature() -> None:
    silence = np.zeros(16000, dtype=np.float32)
    features = log_mel(silence, n_mels=80)
    np.testing.assert_allclose(features, LOWEST_FEATURE)
    assert lowest_feature(features) == LOWEST_FEATURE


def test_a_wave_longer_than_the_frames_is_truncated() -> None:
    wave = WAVES["speechlike"][:32000]
    np.testing.assert_array_equal(
        log_mel(wave, n_mels=80, n_frames=100), log_mel(wave[:16000], n_mels=80, n_frames=100)
    )


def test_the_wave_is_not_changed() -> None:
    wave = WAVES["speechlike"][:WINDOW_SAMPLES]
    before = wave.copy()
    log_mel(wave, n_mels=80)
    np.testing.assert_array_equal(wave, before)


@given(level_db=st.floats(-60, 40), kind=st.sampled_from(sorted(WAVES)))
def test_only_audio_of_another_level_is_scaled(level_db: float, kind: str) -> None:
    wave = (WAVES[kind][: 3 * SAMPLE_RATE_HZ] * 10 ** (level_db / 20)).astype(np.float32)
    as_is = log_mel(wave, n_mels=80, n_frames=300)
    scaled = log_mel(wave, n_mels=80, n_frames=300, to_ordinary_level=True)
    if 0.86 <= as_is.max() <= 1.49:
        np.testing.assert_array_equal(scaled, as_is)
    elif as_is.max() > -0.2 and not 0.84 <= as_is.max() <= 1.51:
        assert scaled.max() == pytest.approx(1.1, abs=1e-3)


@pytest.mark.parametrize("level_db", [-50, -40, 30])
def test_far_quieter_or_louder_speech_has_the_features_of_ordinary_speech(level_db: float) -> None:
    wave = WAVES["speechlike"][: 3 * SAMPLE_RATE_HZ]
    far = (wave * 10 ** (level_db / 20)).astype(np.float32)
    as_is = log_mel(wave, n_mels=80, n_frames=300)
    scaled = log_mel(far, n_mels=80, n_frames=300, to_ordinary_level=True)
    np.testing.assert_allclose(scaled - scaled.max(), as_is - as_is.max(), atol=1e-3)


def test_silence_and_dither_stay_below_speech() -> None:
    dither = (2.0**-16 * np.random.default_rng(1).standard_normal(SAMPLE_RATE_HZ)).astype(np.float32)
    nothing = np.zeros(SAMPLE_RATE_HZ, np.float32)
    assert log_mel(nothing, n_mels=80, n_frames=100, to_ordinary_level=True).max() == LOWEST_FEATURE
    assert log_mel(dither, n_mels=80, n_frames=100, to_ordinary_level=True).max() < 0.85
