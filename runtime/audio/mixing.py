"""From the frames of a track to a wave: one channel, 16 kHz."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import soxr
from av.audio.frame import AudioFrame, format_dtypes
from av.audio.plane import AudioPlane
from numpy.typing import NDArray

from sottovoce.errors import InputError
from sottovoce.runtime.audio.constants import BLOCK_SAMPLES, SAMPLE_RATE_HZ
from sottovoce.runtime.audio.track import Note, Silence

# 24 dB over full scale: louder samples are integers stored as floats, not a float recording.
MAX_PEAK = 16.0

# Channels cancel where their average has less than this share of the power that unrelated channels leave, and no
# longer where it has four times as much.
_CANCELS_BELOW, _ADDS_ABOVE = 0.1, 0.4
_MEMORY_S = 0.5
# -70 dBFS: channels that are silent do not cancel.
_LEAST_POWER = 1e-7


class Downmixer:
    """Averages the channels of a track; takes the loudest where they cancel each other out."""

    def __init__(self, label: str, note: Note) -> None:
        self._label = label
        self._note = note
        self._power: NDArray[np.float64] | None = None
        self._mean_power = 0.0
        self._channel: int | None = None
        self._is_noted = False

    def mix(self, frame: AudioFrame) -> NDArray[np.float32]:
        """Return a frame as one channel: float32, shape (n_samples,), full scale is 1.

        Raises:
            InputError: samples are not finite, or far over full scale.
        """
        channels = read_channels(frame)
        stored, n_channels = channels.dtype, channels.shape[0]
        if stored.kind == "f":
            _check_floats(channels, self._label)
        mean = channels.mean(axis=0, dtype=np.float64)
        if n_channels > 1:
            self._watch(
                to_full_scale(channels, stored),
                to_full_scale(mean, stored),
                frame.samples / frame.sample_rate,
            )
        chosen = mean if n_channels == 1 or self._channel is None else channels[self._channel]
        return to_full_scale(chosen, stored).astype(np.float32)

    def _watch(self, channels: NDArray[Any], mean: NDArray[np.float64], duration_s: float) -> None:
        """Follow the power of the channels and of their average, over about half a second."""
        power = np.var(channels, axis=1, dtype=np.float64)
        keep = math.exp(-duration_s / _MEMORY_S)
        if self._power is None or self._power.size != power.size:
            self._power, self._mean_power, self._channel, keep = power, 0.0, None, 0.0
        self._power = keep * self._power + (1 - keep) * power
        self._mean_power = keep * self._mean_power + (1 - keep) * float(np.var(mean))
        if float(self._power.mean()) < _LEAST_POWER:
            return
        share = self._mean_power * power.size / float(self._power.mean())
        if share > _ADDS_ABOVE:
            self._channel = None
        elif share < _CANCELS_BELOW and self._channel is None:
            self._channel = int(np.argmax(self._power))
            if not self._is_noted:
                self._note(
                    f"{self._label}: its channels cancel each other out; channel {self._channel + 1} is used alone"
                )
                self._is_noted = True


def read_channels(frame: AudioFrame) -> NDArray[Any]:
    """Return the samples of a frame as they are stored: shape (n_channels, n_samples).

    `AudioFrame.to_ndarray` and `planes` of PyAV read beyond the planes of eight or more planar channels, which crashes.
    """
    n_channels = frame.layout.nb_channels
    if not frame.format.is_planar:
        return _read_plane(frame, 0, frame.samples * n_channels).reshape(-1, n_channels).T
    return np.stack([_read_plane(frame, channel, frame.samples) for channel in range(n_channels)])


def _read_plane(frame: AudioFrame, index: int, n_values: int) -> NDArray[Any]:
    plane: Any = AudioPlane(frame, index)  # a buffer, which its type stub does not say
    return np.frombuffer(plane, np.dtype(format_dtypes[frame.format.name]), n_values)


def resample(frames: Iterable[AudioFrame | Silence], downmixer: Downmixer) -> Iterator[NDArray[np.float32]]:
    """Yield a track block by block: float32, shape (n_samples,), 16 kHz. The rate may change midway.

    Raises:
        InputError: samples are not finite, or far over full scale.
    """
    rate_hz: int | None = None
    resampler: soxr.ResampleStream | None = None
    for frame in frames:
        new_rate_hz = frame.rate_hz if isinstance(frame, Silence) else frame.sample_rate
        if new_rate_hz != rate_hz:
            yield from _flush(resampler)
            rate_hz, resampler = new_rate_hz, new_resampler(new_rate_hz)
        waves = _zeros(frame) if isinstance(frame, Silence) else iter((downmixer.mix(frame),))
        for wave in waves:
            yield wave if resampler is None else resampler.resample_chunk(wave)
    yield from _flush(resampler)


def new_resampler(rate_hz: int) -> soxr.ResampleStream | None:
    """Return what brings one channel to 16 kHz; None where it has that rate."""
    if rate_hz == SAMPLE_RATE_HZ:
        return None
    return soxr.ResampleStream(rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32", quality="HQ")


def _flush(resampler: soxr.ResampleStream | None) -> Iterator[NDArray[np.float32]]:
    if resampler is not None:
        yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def _zeros(silence: Silence) -> Iterator[NDArray[np.float32]]:
    left = round(silence.duration_s * silence.rate_hz)
    while left > 0:
        yield np.zeros(min(left, BLOCK_SAMPLES), np.float32)
        left -= BLOCK_SAMPLES


def to_full_scale(samples: NDArray[Any], stored: np.dtype[Any]) -> NDArray[Any]:
    """Scale samples stored in a type so that full scale is 1."""
    match stored.kind:
        case "f":
            return samples
        case "u":  # only 8 bits are stored unsigned, silence is 128
            return (samples.astype(np.float64) - 128) / 128
        case _:
            return samples / 2.0 ** (8 * stored.itemsize - 1)


def _check_floats(samples: NDArray[Any], label: str) -> None:
    peak = float(np.abs(samples).max(initial=0.0))
    if not np.isfinite(peak):
        raise InputError(
            f"{label} holds samples that are not finite numbers; create it again from its source"
        )
    if peak > MAX_PEAK:
        raise InputError(f"{label} has samples up to {peak:.4g} where full scale is 1; scale it to [-1, 1]")
