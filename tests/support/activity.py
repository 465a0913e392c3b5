"""Voice activity that a test can foresee."""

import numpy as np

from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.vad.frames import Framer, Probabilities

LOUD = 0.01
"""Largest amplitude of a frame that counts as speech, and what is above."""


class LoudIsSpeech:
    """Takes a tone for speech, and next to nothing for none."""

    name = "loud"

    def __init__(self) -> None:
        self._framer = Framer()

    def probabilities(self, chunk: Wave, *, is_last: bool = False) -> Probabilities:
        """Return 1 for each loud frame, 0 for others: float32, shape (n_frames,)."""
        blocks = self._framer.blocks(chunk, is_last=is_last)
        loud = [np.abs(frames).max(axis=-1) >= LOUD for frames in blocks]
        return np.concatenate([np.zeros(0, np.float32), *loud]).astype(np.float32)

    def reset(self) -> None:
        """Drop the stream."""
        self._framer.reset()

    def new_stream(self) -> "LoudIsSpeech":
        """Return a detector for another stream."""
        return LoudIsSpeech()
