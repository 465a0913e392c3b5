"""What a microphone, a room and a hurried speaker change, drawn at random; and SpecAugment.

Sources: speed perturbation, Ko et al. 2015, "Audio Augmentation for Speech Recognition"; SpecAugment, Park et al. 2019
(arXiv:1904.08779), with the time masks that adapt to the length of Park et al. 2020 (arXiv:1912.05533).
"""

import numpy as np

from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.audio.features import Features
from sottovoce.speech.conditions import Floats as Spectrum
from sottovoce.speech.conditions import add_noise, change_level, change_speed, speech_shaped_noise

SPEEDS = (0.9, 1.0, 1.1)
SNR_DB = (5.0, 25.0)
NOISY_SHARE = 0.5
GAIN_DB = (-20.0, 6.0)

FREQUENCY_MASKS = 2
MAX_MASKED_BINS = 15
TIME_MASKS = 2
MAX_MASKED_SHARE = 0.05
"""Of the frames of the speech, for each time mask."""


def augment_wave(wave: Wave, spectrum: Spectrum, rng: np.random.Generator) -> Wave:
    """Change speed and level of a clip, and add noise to half of them.

    Args:
        wave: float32, shape (n_samples,), 16 kHz.
        spectrum: of the noise; see `speech_spectrum`.
        rng: draws what changes.

    Returns:
        float32, shape (n_changed_samples,).
    """
    changed = change_speed(wave, float(rng.choice(SPEEDS)))
    if rng.random() < NOISY_SHARE:
        noise = speech_shaped_noise(spectrum, changed.size, seed=int(rng.integers(1 << 31)))
        changed = add_noise(changed, noise, snr_db=rng.uniform(*SNR_DB))
    return np.clip(change_level(changed, rng.uniform(*GAIN_DB)), -1, 1).astype(np.float32)


def mask_features(features: Features, n_frames: int, rng: np.random.Generator) -> Features:
    """Replace bands and spans of log-mel features by their mean.

    Args:
        features: float32, shape (1, n_mels, n_all_frames).
        n_frames: of the speech; the padding behind it is left alone.
        rng: draws what is masked.
    """
    masked = features.copy()
    speech = masked[0, :, :n_frames]
    mean = speech.mean()
    for _ in range(FREQUENCY_MASKS):
        begin, width = _span(speech.shape[0], MAX_MASKED_BINS, rng)
        speech[begin : begin + width] = mean
    for _ in range(TIME_MASKS):
        begin, width = _span(n_frames, int(MAX_MASKED_SHARE * n_frames), rng)
        speech[:, begin : begin + width] = mean
    return masked


def _span(length: int, longest: int, rng: np.random.Generator) -> tuple[int, int]:
    width = int(rng.integers(0, min(length, longest) + 1))
    return int(rng.integers(0, length - width + 1)), width
