"""Copies of clips: the same for the same draw, and never longer than what is masked allows."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.speech.conditions import speech_spectrum
from sottovoce.train.decoder.augment import MAX_MASKED_BINS, augment_wave, mask_features
from tests.support.tones import tone

WAVE = tone(1.0)
SPECTRUM = speech_spectrum([WAVE])


@given(st.integers(0, 1000))
def test_a_copy_depends_on_its_draw_alone(seed: int) -> None:
    one, again = (augment_wave(WAVE, SPECTRUM, np.random.default_rng(seed)) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    assert 0.85 * WAVE.size < one.size < 1.15 * WAVE.size
    assert np.abs(one).max() <= 1.0


@given(st.integers(0, 1000), st.integers(1, 3000))
def test_masks_leave_most_of_the_speech_and_all_of_the_padding(seed: int, n_frames: int) -> None:
    features = np.random.default_rng(seed).standard_normal((1, 80, 3000)).astype(np.float32)
    masked = mask_features(features, n_frames, np.random.default_rng(seed))
    np.testing.assert_array_equal(masked[:, :, n_frames:], features[:, :, n_frames:])
    is_kept = masked[0, :, :n_frames] == features[0, :, :n_frames]
    assert is_kept.any(axis=1).sum() >= 80 - 2 * MAX_MASKED_BINS
    assert is_kept.any(axis=0).mean() >= 0.85 or n_frames < 20
