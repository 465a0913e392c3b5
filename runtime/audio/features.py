"""Whisper's log-mel features in NumPy.

Source: `whisper/audio.py` of openai/whisper and `WhisperFeatureExtractor` of transformers: STFT of
25 ms windows every 10 ms, Slaney's mel scale, decimal logarithm, clamped to 8 decades below the clip's
peak, scaled to about -1 to 1.
"""

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from sottovoce.runtime.audio.constants import HOP_SAMPLES, SAMPLE_RATE_HZ, WINDOW_FRAMES
from sottovoce.runtime.audio.decode import Wave

Features = NDArray[np.float32]

N_FFT = 400

LOWEST_POWER = 1e-10
DYNAMIC_RANGE_DECADES = 8.0
LOWEST_FEATURE = -1.5
"""The feature of digital silence: (log10(1e-10) + 4) / 4."""

# Slaney's mel scale: linear below 1 kHz, 15 mels there; logarithmic above, 27 mels for a factor of 6.4.
_HZ_PER_MEL = 200.0 / 3
_KNEE_HZ, _KNEE_MEL = 1000.0, 15.0
_LOG_STEP = np.log(6.4) / 27.0


ORDINARY_PEAK, LEAST_ORDINARY_PEAK, MOST_ORDINARY_PEAK = 1.1, 0.85, 1.5
"""The highest feature of speech: a value that LibriSpeech (0.89 to 1.47) and the synthetic speech of this package (0.86 to
1.11) both reach, and the range in which all of them lie (docs/lab-notes.md)."""

MAX_GAIN = 1e6
"""Of the power, 60 dB: less is left of no speech in 16 bits."""


def log_mel(
    wave: Wave, *, n_mels: int, n_frames: int = WINDOW_FRAMES, to_ordinary_level: bool = False
) -> Features:
    """Compute log-mel features of a wave that is padded with zeros, or cut, to `n_frames`.

    Args:
        wave: float32, shape (n_samples,), 16 kHz.
        n_mels: 80, or 128 for large-v3.
        n_frames: of 10 ms.
        to_ordinary_level: scale a wave that is far quieter or louder than read speech. Whisper does not: a factor of 10
            shifts all features by 0.5.

    Returns:
        float32, shape (1, n_mels, n_frames). Frames of padding have the lowest value: 2.0 below the peak, at
            least -1.5.
    """
    n_samples = n_frames * HOP_SAMPLES
    power = _mel_power(wave[:n_samples], n_mels, n_frames)
    if to_ordinary_level:
        power *= np.float32(_gain_to_ordinary(float(power.max(initial=0.0))))
    logs = np.log10(np.maximum(power, LOWEST_POWER))
    lowest = np.float32(max(float(logs.max(initial=np.log10(LOWEST_POWER))) - DYNAMIC_RANGE_DECADES, -10.0))
    features = np.full((1, n_mels, n_frames), lowest, dtype=np.float32)
    np.maximum(logs, lowest, out=features[0, :, : logs.shape[1]])
    features += 4.0
    features /= 4.0
    return features


def _gain_to_ordinary(highest_power: float) -> float:
    """Return the factor of the power; 1 for ordinary speech and for silence."""
    peak = (math.log10(max(highest_power, LOWEST_POWER)) + 4.0) / 4.0
    if highest_power == 0.0 or LEAST_ORDINARY_PEAK <= peak <= MOST_ORDINARY_PEAK:
        return 1.0
    return min(float(10.0 ** (4.0 * ORDINARY_PEAK - 4.0)) / highest_power, MAX_GAIN)


def _mel_power(wave: Wave, n_mels: int, n_frames: int) -> NDArray[np.float32]:
    """Return mel power, shape (n_mels, at most n_frames), of the frames that touch the wave."""
    half = N_FFT // 2
    n_frames = min(n_frames, -(-(len(wave) + half) // HOP_SAMPLES))
    # transformers pads the 30 s window by reflection: at the start of the wave, and at the end of the window.
    # It drops frame 3,001, which does not count for the peak.
    padded = np.zeros(n_frames * HOP_SAMPLES + N_FFT, dtype=np.float32)
    padded[half : half + len(wave)] = wave
    mirrored = wave[1 : half + 1][::-1]
    padded[half - len(mirrored) : half] = mirrored
    if n_frames == WINDOW_FRAMES:
        padded[-half:] = padded[-2 * half - 1 : -half - 1][::-1]
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP_SAMPLES][:n_frames]
    spectrum = np.fft.rfft(frames * _hann(), axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    return _apply_filters(power.T.astype(np.float32), n_mels)


def _apply_filters(power: NDArray[np.float32], n_mels: int) -> NDArray[np.float32]:
    """Return mel power, shape (n_mels, n_frames), from the power spectrum, shape (201, n_frames).

    A matrix product would call BLAS, whose threads spin after it: the encoder that follows shares its cores with them
    and takes 1.8 times as long (docs/lab-notes.md). Each filter covers only a few neighbouring frequencies.
    """
    mel = np.zeros((n_mels, power.shape[1]), dtype=np.float32)
    for row, (first, weights) in zip(mel, _filter_bands(n_mels), strict=True):
        np.sum(power[first : first + len(weights)] * weights[:, None], axis=0, out=row)
    return mel


@cache
def _filter_bands(n_mels: int) -> tuple[tuple[int, NDArray[np.float32]], ...]:
    """Return, for each filter, its first frequency bin and its weights from there on."""
    bands = []
    for weights in _mel_filters(n_mels):
        (inside,) = np.nonzero(weights)
        first, last = (int(inside[0]), int(inside[-1])) if inside.size else (0, -1)
        bands.append((first, weights[first : last + 1]))
    return tuple(bands)


@cache
def _hann() -> NDArray[np.float32]:
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)).astype(np.float32)


@cache
def _mel_filters(n_mels: int) -> NDArray[np.float32]:
    """Return triangular filters of equal area, shape (n_mels, 201); source: librosa.filters.mel."""
    nyquist_hz = SAMPLE_RATE_HZ / 2
    edges_hz = _mel_to_hz(np.linspace(0.0, _hz_to_mel(nyquist_hz), n_mels + 2))
    bins_hz = np.linspace(0.0, nyquist_hz, N_FFT // 2 + 1)
    widths = np.diff(edges_hz)
    slopes = edges_hz[:, None] - bins_hz[None, :]
    rising = -slopes[:-2] / widths[:-1, None]
    falling = slopes[2:] / widths[1:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    area = 2.0 / (edges_hz[2:] - edges_hz[:-2])
    return (triangles * area[:, None]).astype(np.float32)


def _hz_to_mel(hz: float) -> float:
    return hz / _HZ_PER_MEL if hz < _KNEE_HZ else float(_KNEE_MEL + np.log(hz / _KNEE_HZ) / _LOG_STEP)


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    linear: NDArray[np.float64] = mel * _HZ_PER_MEL
    return np.where(mel < _KNEE_MEL, linear, _KNEE_HZ * np.exp(_LOG_STEP * (mel - _KNEE_MEL)))
