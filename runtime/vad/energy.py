"""Voice activity from the energy of frames; needs nothing but NumPy."""

import numpy as np
from numpy.typing import NDArray

from sottovoce.runtime.audio.decode import SILENCE_DBFS, Wave
from sottovoce.runtime.vad.frames import Framer, Frames, Probabilities

FLOOR_FRAMES, FLOOR_SHARE = 312, 0.1
"""The noise floor is the level that a tenth of the frames of the last 10 s do not exceed: speech pauses that often, and
steady noise counts as speech no longer than that."""

SPEECH_ABOVE_DB, SLOPE_DB = 9.0, 4.0
"""The probability is 0.5 this far above the floor, and 0.35 at 0.62 * SLOPE_DB less. Chosen on the clips of split
calib, alone and in white and kitchen noise, as the fastest that misses little of what Silero finds."""


class EnergyVoiceActivity:
    """Counts as speech what is louder than the noise floor of the last ten seconds.

    Intermittent noise counts as speech; so does steady noise, until the floor has risen to it. Soft speech in loud
    noise is missed.
    """

    name = "energy"

    def __init__(self) -> None:
        self._framer = Framer()
        self.reset()

    def probabilities(self, chunk: Wave, *, is_last: bool = False) -> Probabilities:
        """Return the probability of speech for each frame that the chunk completes; see `VoiceActivity`."""
        found = [self._infer(frames) for frames in self._framer.blocks(chunk, is_last=is_last)]
        if is_last:
            self.reset()
        return np.concatenate([np.zeros(0, np.float32), *found])

    def new_stream(self) -> "EnergyVoiceActivity":
        """Return a detector for another stream."""
        return EnergyVoiceActivity()

    def reset(self) -> None:
        """Drop the stream and its noise floor."""
        self._framer.reset()
        self._past_dbfs = np.full(FLOOR_FRAMES - 1, SILENCE_DBFS)

    def _infer(self, frames: Frames) -> Probabilities:
        levels_dbfs = np.concatenate([self._past_dbfs, _level_dbfs(frames)])
        self._past_dbfs = levels_dbfs[len(frames) :]
        past = np.lib.stride_tricks.sliding_window_view(levels_dbfs, FLOOR_FRAMES)
        rank = round(FLOOR_SHARE * FLOOR_FRAMES)
        floor_dbfs = np.maximum(np.partition(past, rank, axis=1)[:, rank], SILENCE_DBFS)
        above_db = levels_dbfs[FLOOR_FRAMES - 1 :] - floor_dbfs
        return (1.0 / (1.0 + np.exp((SPEECH_ABOVE_DB - above_db) / SLOPE_DB))).astype(np.float32)


def _level_dbfs(frames: Frames) -> NDArray[np.float64]:
    """Return RMS levels without DC offset, shape (n_frames,), at least -100 dBFS."""
    power: NDArray[np.float64] = np.var(frames, axis=1, dtype=np.float64)
    return 10.0 * np.log10(np.maximum(power, 1e-10))
