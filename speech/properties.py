"""Properties of clips: loudness, signal-to-noise ratio, speaker, hashes of audio and text."""

import hashlib
import unicodedata

import numpy as np
from numpy.typing import NDArray

from sottovoce.runtime.audio.decode import Wave
from sottovoce.speech.clips import Clip

SNR_FRAME_SAMPLES = 320
"""20 ms, the window of NIST's stnr."""
NOISE_SHARE, SPEECH_SHARE = 0.15, 0.95
"""Quantiles of the levels of the frames that count as noise and as speech."""
QUIETEST_DBFS = -96.0
"""Quantization noise of 16 bits: the level of digital silence."""

MIN_TEXT_CHARACTERS = 12
"""Shorter references ("yes", "turn on the light") occur in several clips by chance."""


def loudness_dbfs(wave: Wave) -> float:
    """Return the RMS level of a wave in dB of full scale, at least -96."""
    power = np.mean(np.square(wave, dtype=np.float64), keepdims=True) if wave.size else np.zeros(1)
    return float(_level_db(power)[0])


def estimate_snr_db(wave: Wave) -> float:
    """Estimate the signal-to-noise ratio of speech, in dB.

    It is the 95 % quantile of the levels of frames of 20 ms, minus the 15 % quantile. Pauses count as noise: speech
    without pauses is underestimated.

    Args:
        wave: float32, shape (n_samples,), 16 kHz.

    Returns:
        0 or more; 0 for steady noise and for waves of a single frame.

    Source: quantiles of the histogram of frame energies, as in the quick method of NIST's `stnr`; 95 and
    15 % as in ISIP's signal_to_noise.
    """
    n_frames = max(1, wave.size // SNR_FRAME_SAMPLES)
    frames = wave[: n_frames * SNR_FRAME_SAMPLES].astype(np.float64).reshape(n_frames, -1)
    levels = _level_db(frames.var(axis=1))
    noise, speech = np.quantile(levels, [NOISE_SHARE, SPEECH_SHARE])
    return float(speech - noise)


def _level_db(power: NDArray[np.float64]) -> NDArray[np.float64]:
    least = 10 ** (QUIETEST_DBFS / 10)
    return np.asarray(10 * np.log10(np.maximum(power, least)))


def sha256_of_wave(wave: Wave) -> str:
    """Hash samples: the same audio in two lossless files has the same hash."""
    return hashlib.sha256(wave.astype("<f4").tobytes()).hexdigest()


def sha256_of_text(text: str | None) -> str | None:
    """Hash a normalized reference; None if it is unknown or shorter than `MIN_TEXT_CHARACTERS`."""
    normalized = normalize_text(text or "")
    if len(normalized) < MIN_TEXT_CHARACTERS:
        return None
    return hashlib.sha256(normalized.encode()).hexdigest()


def normalize_text(text: str) -> str:
    """Fold case, width and accents, and keep letters, digits and single spaces.

    Coarser than Whisper's normalizers, which only scoring needs.
    """
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    kept = (
        character if unicodedata.category(character)[0] in "LN" else " "
        for character in folded
        if unicodedata.category(character)[0] != "M"
    )
    return " ".join("".join(kept).split())


def speaker_of(clip: Clip) -> str | None:
    """Return SOURCE/SPEAKER: the name of a speaker is unique in its source only."""
    return None if clip.speaker is None else f"{clip.source or ''}/{clip.speaker}"
