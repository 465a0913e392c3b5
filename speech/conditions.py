"""Listening conditions: what microphones, rooms and channels do to speech, as functions from wave to wave.

A wave is float32, shape (n_samples,), 16 kHz, values in [-1, 1]. Each function is deterministic.
"""

import io
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import soxr
from numpy.typing import NDArray

from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave, decode_audio
from sottovoce.terms import Condition

Floats = NDArray[np.float64]

SPECTRUM_SAMPLES = 512
"""Frame of 32 ms: bins of 31 Hz resolve formants and the pitch of a voice."""

TELEPHONE_RATE_HZ = 8_000
TELEPHONE_BAND_HZ, TELEPHONE_GAIN = (200, 300, 3400, 4000), (0, 1, 1, 0)
"""300 to 3400 Hz pass (ITU-T G.712), with slopes on both sides."""
MU = 255
"""ITU-T G.711: 8 bits on a logarithmic scale."""

ROOM_SEED = 0
ROOM_RT60_S = 0.6
"""A meeting room: the REVERB challenge's larger rooms have 0.5 and 0.7 s."""

MP3_BIT_RATE = 16_000


def apply_condition(condition: Condition, wave: Wave, noise: Wave) -> Wave:
    """Return a wave under a condition; what exceeds full scale is clipped, as in a file of integers.

    Args:
        condition: level in dB relative to the wave, SNR in dB, speed as a factor.
        wave: not empty.
        noise: of any level, at least as long as the wave; only the SNR conditions use it.
    """
    return np.asarray(np.clip(_EFFECTS[condition](wave, noise), -1, 1), dtype=np.float32)


def change_level(wave: Wave, gain_db: float) -> Wave:
    """Multiply a wave by a gain in dB."""
    return np.asarray(wave * 10 ** (gain_db / 20), dtype=np.float32)


def add_noise(wave: Wave, noise: Wave, *, snr_db: float) -> Wave:
    """Add noise, scaled so that the power of the whole wave is `snr_db` above that of the noise; both are not silent."""
    noise = noise[: wave.size]
    ratio = _power(wave) / _power(noise)
    return np.asarray(wave + noise * np.sqrt(ratio / 10 ** (snr_db / 10)), dtype=np.float32)


def speech_spectrum(waves: Iterable[Wave]) -> Floats:
    """Return the long-term average power spectrum of speech, each wave at the same level.

    Returns:
        float64, shape (257,), 0 to 8 kHz, of arbitrary scale.

    Source: Byrne et al. 1994, "An international comparison of long-term average speech spectra" (JASA 96).
    """
    window = np.hanning(SPECTRUM_SAMPLES)
    total = np.zeros(SPECTRUM_SAMPLES // 2 + 1)
    for wave in waves:
        padded = np.pad(wave.astype(np.float64), (0, SPECTRUM_SAMPLES))
        frames = np.lib.stride_tricks.sliding_window_view(padded, SPECTRUM_SAMPLES)[:: SPECTRUM_SAMPLES // 2]
        total += np.sum(np.abs(np.fft.rfft(frames * window)) ** 2, axis=0) / max(_power(wave), 1e-12)
    return total


def speech_shaped_noise(spectrum: Floats, n_samples: int, *, seed: int) -> Wave:
    """Make steady noise with a power spectrum as `speech_spectrum` returns it, at a level of -20 dBFS.

    It masks speech more than noise of other spectra does: the usual masker of listening tests.
    Source: Dreschler et al. 2001, "ICRA noises" (Audiology 40).
    """
    white = np.fft.rfft(np.random.default_rng(seed).standard_normal(n_samples))
    gain = np.interp(
        np.linspace(0, 1, white.size), np.linspace(0, 1, spectrum.size), np.sqrt(np.maximum(spectrum, 0))
    )
    shaped = np.fft.irfft(white * gain, n=n_samples)
    return np.asarray(shaped * (0.1 / np.sqrt(_power(shaped))), dtype=np.float32)


def over_telephone(wave: Wave) -> Wave:
    """Send a wave over a telephone line: 300 to 3400 Hz at 8 kHz, in 8 bits by mu-law.

    Sources: ITU-T G.712 (band), ITU-T G.711 (mu-law).
    """
    narrow = soxr.resample(wave, SAMPLE_RATE_HZ, TELEPHONE_RATE_HZ)
    frequencies_hz = np.fft.rfftfreq(narrow.size, 1 / TELEPHONE_RATE_HZ)
    gain = np.interp(frequencies_hz, TELEPHONE_BAND_HZ, TELEPHONE_GAIN)
    line = np.clip(np.fft.irfft(np.fft.rfft(narrow) * gain, n=narrow.size), -1, 1)
    compressed = np.sign(line) * np.log1p(MU * np.abs(line)) / np.log1p(MU)
    coded = np.round(compressed * (MU // 2)) / (MU // 2)
    expanded = np.sign(coded) * np.expm1(np.abs(coded) * np.log1p(MU)) / MU
    return _fit(soxr.resample(expanded.astype(np.float32), TELEPHONE_RATE_HZ, SAMPLE_RATE_HZ), wave.size)


def reverberate(wave: Wave, *, rt60_s: float = ROOM_RT60_S) -> Wave:
    """Play a wave in a room and record it where direct and reflected sound are equally strong; level and length stay.

    The room response is one impulse, then noise that decays by 60 dB in `rt60_s`.

    Source: Polack 1988, the statistical model of late reverberation, as in Lebart et al. 2001 (Acta Acustica 87).
    """
    seconds = np.arange(1, round(rt60_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    noise = np.random.default_rng(ROOM_SEED).standard_normal(seconds.size)
    reflections = noise * 10 ** (-3 * seconds / rt60_s)
    response = np.concatenate([[1.0], reflections / np.linalg.norm(reflections)])
    size = wave.size + response.size - 1
    recorded = np.fft.irfft(np.fft.rfft(wave, size) * np.fft.rfft(response, size), size)[: wave.size]
    return np.asarray(recorded * np.sqrt(_power(wave) / max(_power(recorded), 1e-20)), dtype=np.float32)


def change_speed(wave: Wave, factor: float) -> Wave:
    """Play a wave faster or slower, with its pitch: the length is divided by `factor`.

    Source: Ko et al. 2015, "Audio augmentation for speech recognition" (speed perturbation by 0.9 and 1.1).
    """
    return np.asarray(soxr.resample(wave, SAMPLE_RATE_HZ * factor, SAMPLE_RATE_HZ), dtype=np.float32)


def through_mp3(wave: Wave, *, bit_rate: int = MP3_BIT_RATE) -> Wave:
    """Encode a wave as MP3 and decode it; length and times stay."""
    return _fit(decode_audio(encode_mp3(wave, bit_rate=bit_rate), name="MP3"), wave.size)


def encode_mp3(wave: Wave, *, bit_rate: int) -> bytes:
    """Encode a wave as an MP3 file; `bit_rate` is in bits per second."""
    import av

    samples = np.round(np.clip(wave, -1, 1) * np.iinfo(np.int16).max).astype(np.int16)
    target = io.BytesIO()
    with av.open(target, "w", format="mp3") as file:
        stream = file.add_stream("mp3", rate=SAMPLE_RATE_HZ, layout="mono")
        stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(samples[None, :], format="s16p", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        for packet in (*stream.encode(frame), *stream.encode(None)):
            file.mux(packet)
    return target.getvalue()


def _power(wave: NDArray[np.floating]) -> float:
    return float(np.mean(np.square(wave, dtype=np.float64)))


def _fit(wave: Wave, n_samples: int) -> Wave:
    """Cut a wave, or add silence, so that it has `n_samples`."""
    return np.pad(wave[:n_samples], (0, max(0, n_samples - wave.size)))


_EFFECTS: Mapping[Condition, Callable[[Wave, Wave], Wave]] = {
    Condition.CLEAN: lambda wave, _: wave,
    Condition.LEVEL_MINUS_40: lambda wave, _: change_level(wave, -40),
    Condition.LEVEL_MINUS_20: lambda wave, _: change_level(wave, -20),
    Condition.LEVEL_PLUS_20: lambda wave, _: change_level(wave, 20),
    Condition.SNR_20: lambda wave, noise: add_noise(wave, noise, snr_db=20),
    Condition.SNR_10: lambda wave, noise: add_noise(wave, noise, snr_db=10),
    Condition.SNR_5: lambda wave, noise: add_noise(wave, noise, snr_db=5),
    Condition.TELEPHONE: lambda wave, _: over_telephone(wave),
    Condition.REVERBERATION: lambda wave, _: reverberate(wave),
    Condition.MP3: lambda wave, _: through_mp3(wave),
    Condition.SPEED_09: lambda wave, _: change_speed(wave, 0.9),
    Condition.SPEED_11: lambda wave, _: change_speed(wave, 1.1),
}
