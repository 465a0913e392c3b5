"""Sounds without speech, made of random numbers and sines."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave

Sound = NDArray[np.float64]


def noise(kind: str, duration_s: float, *, peak: float = 0.3, seed: int = 0) -> Wave:
    """Make a sound of `NOISES`: float32, shape (n_samples,), 16 kHz."""
    sound = NOISES[kind](round(duration_s * SAMPLE_RATE_HZ), np.random.default_rng(seed))
    return np.asarray(peak * sound / np.abs(sound).max(), np.float32)


def _times_s(n_samples: int) -> Sound:
    return np.arange(n_samples) / SAMPLE_RATE_HZ


def _coloured(n_samples: int, random: Generator, *, slope: float) -> Sound:
    """Make noise whose power falls with the frequency to the power of `slope`."""
    spectrum = np.fft.rfft(random.standard_normal(n_samples))
    return np.fft.irfft(
        spectrum / np.maximum(np.fft.rfftfreq(n_samples) * n_samples, 20) ** (slope / 2), n_samples
    )


def _band(n_samples: int, random: Generator, low_hz: float, high_hz: float) -> Sound:
    """Make noise between two frequencies."""
    spectrum = np.fft.rfft(random.standard_normal(n_samples))
    frequencies_hz = np.fft.rfftfreq(n_samples, 1 / SAMPLE_RATE_HZ)
    return np.fft.irfft(spectrum * ((low_hz < frequencies_hz) & (frequencies_hz < high_hz)), n_samples)


def _hum(n_samples: int, random: Generator) -> Sound:
    wave = 0.05 * random.standard_normal(n_samples)
    for k in range(1, 9):
        wave += np.sin(2 * np.pi * 50 * k * _times_s(n_samples)) / k
    return wave


def _clicks(n_samples: int, random: Generator) -> Sound:
    """Make a click of 2 ms every half second or so."""
    wave = np.zeros(n_samples)
    for start in np.cumsum(random.integers(4_000, 9_000, n_samples // 4_000)):
        end = min(start + 300, n_samples)
        wave[start:end] += (random.standard_normal(300) * np.exp(-np.arange(300) / 30))[: max(0, end - start)]
    return wave


def _applause(n_samples: int, random: Generator) -> Sound:
    """Make sixty claps a second, each of noise around 1 kHz that fades in 10 ms."""
    wave = np.zeros(n_samples + 2_000)
    clap = _band(2_000, random, 700, 4_000) * np.exp(-np.arange(2_000) / 160)
    for start in random.integers(0, n_samples, n_samples * 60 // SAMPLE_RATE_HZ):
        wave[start : start + 2_000] += random.uniform(0.2, 1) * clap * random.choice([-1, 1])
    return wave[:n_samples]


def _breath(n_samples: int, random: Generator) -> Sound:
    """Make breaths in and out, of 1.5 s each."""
    phase: Sound = np.sin(2 * np.pi * _times_s(n_samples) / 3)
    breathed_in, breathed_out = _band(n_samples, random, 300, 2_500), _band(n_samples, random, 150, 1_200)
    loudness: Sound = np.abs(phase) ** 3
    return loudness * np.where(phase > 0, breathed_in, breathed_out)


def _friction(n_samples: int, random: Generator) -> Sound:
    """Make rubbing: noise in strokes, four a second."""
    strokes: Sound = np.abs(np.sin(2 * np.pi * 2 * _times_s(n_samples))) ** 4
    return strokes * _band(n_samples, random, 800, 6_000)


def _tones(n_samples: int, random: Generator) -> Sound:
    """Make a new tone every quarter of a second."""
    steps_hz = random.uniform(100, 3_000, n_samples // 4_000 + 1)
    phases = 2 * np.pi * np.cumsum(np.repeat(steps_hz, 4_000)[:n_samples]) / SAMPLE_RATE_HZ
    return np.asarray(np.sin(phases))


def _guitar(n_samples: int, random: Generator) -> Sound:
    """Pluck a string every half second (Karplus and Strong 1983)."""
    wave = np.zeros(n_samples + SAMPLE_RATE_HZ)
    for start in range(0, n_samples, 8_000):
        period = round(SAMPLE_RATE_HZ / (82.4 * 2 ** (random.integers(0, 24) / 12)))
        string = random.uniform(-1, 1, period)
        rounds = []
        for _ in range(SAMPLE_RATE_HZ // period):
            rounds.append(string)
            string = 0.4985 * (string + np.roll(string, 1))
        plucked = np.concatenate(rounds)
        wave[start : start + plucked.size] += plucked
    return wave[:n_samples]


def _birds(n_samples: int, random: Generator) -> Sound:
    """Make chirps of 0.1 s that glide from 4 to 2 kHz, with pauses."""
    wave = np.zeros(n_samples + 1_600)
    glide = np.sin(2 * np.pi * np.cumsum(np.linspace(4_000, 2_000, 1_600)) / SAMPLE_RATE_HZ) * np.hanning(
        1_600
    )
    for start in np.cumsum(random.integers(2_000, 9_000, n_samples // 2_000)):
        if start < n_samples:
            wave[start : start + 1_600] += glide
    return wave[:n_samples]


NOISES: Mapping[str, Callable[[int, Generator], Sound]] = {
    "white": lambda n, random: random.standard_normal(n),
    "pink": lambda n, random: _coloured(n, random, slope=1),
    "brown": lambda n, random: _coloured(n, random, slope=2),
    "hum": _hum,
    "clicks": _clicks,
    "tones": _tones,
    "applause": _applause,
    "breath": _breath,
    "friction": _friction,
    "guitar": _guitar,
    "birds": _birds,
}
"""Of so many samples."""
