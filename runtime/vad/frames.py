"""Frames of 32 ms, and the interface of a voice activity detector."""

import math
from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import InputError
from sottovoce.runtime.audio.constants import BLOCK_SAMPLES, SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave

Probabilities = NDArray[np.float32]
"""Of speech, one a frame: shape (n_frames,), 0 to 1."""

Frames = NDArray[np.float32]
"""Samples: shape (n_frames, FRAME_SAMPLES)."""

FRAME_SAMPLES = 512
"""What Silero's network takes at 16 kHz."""

FRAME_S = FRAME_SAMPLES / SAMPLE_RATE_HZ

QUIET_DBFS, ORDINARY_DBFS = -30.0, -20.0
"""Of the loudest tenth of a second, RMS: below the first, audio is raised to the second before the network, which overlooks
quiet speech (docs/lab-notes.md)."""

MAX_GAIN_DB = 60.0


def gain_of(level: float) -> np.float32:
    """Return the factor that brings quiet audio to an ordinary level; 1 for other audio, and for silence.

    Args:
        level: of the audio; see `loudest_level`.
    """
    level_dbfs = 20 * math.log10(max(level, 1e-9))
    if level == 0.0 or level_dbfs >= QUIET_DBFS:
        return np.float32(1.0)
    return np.float32(10 ** (min(ORDINARY_DBFS - level_dbfs, MAX_GAIN_DB) / 20))


class VoiceActivity(Protocol):
    """A voice activity detector: how likely is each frame of a stream speech?"""

    @property
    def name(self) -> str:
        """The network and the package that its weights come from."""
        ...

    def probabilities(self, chunk: Wave, *, is_last: bool = False) -> Probabilities:
        """Return the probability of speech for each frame that the chunk completes.

        The result does not depend on how the stream is cut into chunks: samples that do not fill a frame wait
        for the next chunk. Memory does not grow with the stream.

        Args:
            chunk: float32, shape (n_samples,), 16 kHz, of any length.
            is_last: pad the last frame with zeros, then reset.

        Returns:
            float32, shape (n_frames,), 0 to 1; frame `i` of a stream covers 32 ms from `i * FRAME_S`.

        Raises:
            InputError: the chunk is not one-dimensional or not finite.
        """
        ...

    def reset(self) -> None:
        """Prepare for a new stream."""
        ...

    def new_stream(self) -> "VoiceActivity":
        """Return a detector for another stream, with a state of its own."""
        ...


class Framer:
    """Cuts a stream into frames, whatever the sizes of its chunks."""

    def __init__(self) -> None:
        self._rest: Wave = np.zeros(0, np.float32)

    def blocks(self, chunk: Wave, *, is_last: bool = False) -> Iterator[Frames]:
        """Yield the frames that a chunk completes, at most `BLOCK_SAMPLES` at once: shape (n_frames, FRAME_SAMPLES).

        Raises:
            InputError: the chunk is not one-dimensional or not finite.
        """
        if chunk.ndim != 1:
            raise InputError(f"audio for voice activity detection has shape {chunk.shape}, want (n_samples,)")
        if not np.isfinite(chunk).all():
            raise InputError("audio for voice activity detection holds samples that are not finite numbers")
        start = 0
        while self._rest.size + chunk.size - start >= BLOCK_SAMPLES:
            end = start + BLOCK_SAMPLES - self._rest.size
            yield self._after_rest(chunk[start:end]).reshape(-1, FRAME_SAMPLES)
            self._rest, start = self._rest[:0], end
        samples = self._after_rest(chunk[start:])
        if is_last:
            samples = np.pad(samples, (0, -samples.size % FRAME_SAMPLES))
        n_whole = samples.size - samples.size % FRAME_SAMPLES
        self._rest = samples[n_whole:].copy()
        if n_whole:
            yield samples[:n_whole].reshape(-1, FRAME_SAMPLES)

    def reset(self) -> None:
        """Drop the samples of an incomplete frame."""
        self._rest = np.zeros(0, np.float32)

    def _after_rest(self, samples: Wave) -> Wave:
        return np.concatenate([self._rest, samples], dtype=np.float32)
