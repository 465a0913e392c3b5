"""Sounds without speech: every word that an engine finds in them is a hallucination."""

from dataclasses import dataclass

import numpy as np

from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave

LENGTH_S = 10.0
HUM_HZ = 50.0
N_HARMONICS = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sound:
    """A sound without speech, with its name in tables; `wave` is float32, shape (n_samples,), 16 kHz."""

    name: str
    wave: Wave

    @property
    def length_s(self) -> float:
        """Length in seconds."""
        return len(self.wave) / SAMPLE_RATE_HZ


def make_sounds(*, seed: int) -> tuple[Sound, ...]:
    """Make silence, microphone hiss, louder noise, pink noise, mains hum and knocks, each 10 s long.

    The levels in the names are RMS, in dB of full scale.
    """
    rng = np.random.default_rng(seed)
    n_samples = round(LENGTH_S * SAMPLE_RATE_HZ)
    white = rng.standard_normal(n_samples)
    return (
        Sound(name="digital silence", wave=np.zeros(n_samples, dtype=np.float32)),
        _sound("microphone hiss, -60 dB", white, -60),
        _sound("white noise, -30 dB", rng.standard_normal(n_samples), -30),
        _sound("pink noise, -20 dB", _pink(rng.standard_normal(n_samples)), -20),
        _sound("mains hum, -30 dB", _hum(n_samples), -30),
        _sound("knocks in noise, -30 dB", white + 30 * _knocks(n_samples, rng), -30),
    )


def _sound(name: str, samples: np.ndarray, level_db: float) -> Sound:
    rms = float(np.sqrt(np.mean(samples**2)))
    scaled = samples * (10 ** (level_db / 20) / rms)
    return Sound(name=name, wave=np.clip(scaled, -1, 1).astype(np.float32))


def _pink(white: np.ndarray) -> np.ndarray:
    """Filter white noise so that its power halves with each octave."""
    spectrum = np.fft.rfft(white)
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    spectrum[0] = 0
    return np.fft.irfft(spectrum, n=len(white))


def _hum(n_samples: int) -> np.ndarray:
    seconds = np.arange(n_samples) / SAMPLE_RATE_HZ
    tones = [np.sin(2 * np.pi * HUM_HZ * k * seconds) / k for k in range(1, N_HARMONICS + 1)]
    return np.asarray(np.sum(tones, axis=0))


def _knocks(n_samples: int, rng: np.random.Generator) -> np.ndarray:
    """Return a decaying burst about every second."""
    samples = np.zeros(n_samples)
    burst = np.exp(-np.arange(SAMPLE_RATE_HZ // 20) / (SAMPLE_RATE_HZ / 200))
    for second in range(int(LENGTH_S) - 1):
        start = int((second + rng.random() / 2) * SAMPLE_RATE_HZ)
        samples[start : start + len(burst)] += burst * rng.standard_normal(len(burst))
    return samples
