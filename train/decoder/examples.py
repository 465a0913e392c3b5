"""What the decoder is trained on: encoder states of clips and of changed copies of them, on disk.

The encoder is frozen where only the decoder is trained, so that each copy is encoded once for all epochs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import InputError
from sottovoce.progress import Reporter
from sottovoce.runtime.audio.constants import HOP_SAMPLES, WINDOW_FRAMES, WINDOW_SAMPLES
from sottovoce.runtime.audio.features import Features, log_mel
from sottovoce.speech.conditions import Floats as Spectrum
from sottovoce.speech.loading import LoadedClip
from sottovoce.train.decoder.augment import augment_wave, mask_features

STATES = "states"

Encode = Any
"""Takes features, float32, shape (1, n_mels, 3000); returns states, float32, shape (1, 1500, d_model)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopySpec:
    """How clips become examples.

    Attributes:
        n_mels: of the model.
        seed: of what is changed.
        spectrum: of the noise of copies.
    """

    n_mels: int
    seed: int
    spectrum: Spectrum


class ExampleBook:
    """Encoder states, a file for each copy of a clip; written once, so that an interrupted command resumes."""

    def __init__(self, folder: Path, spec: CopySpec) -> None:
        """Open a folder of states, which is made where it is not there."""
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._spec = spec

    def write_missing(
        self, clips: Sequence[LoadedClip], n_copies: int, encode: Encode, reporter: Reporter
    ) -> None:
        """Encode the clips that have no states yet: as they are, and changed copies.

        Args:
            clips: up to 30 s each.
            n_copies: of each clip, with the clip itself.
            encode: the encoder that stays as it is.
            reporter: follows the work.
        """
        wanted = [(clip, number) for number in range(n_copies) for clip in clips]
        missing = [(clip, number) for clip, number in wanted if not self._path(clip, number).is_file()]
        with reporter.progress("encode speech", len(missing)) as advance:
            for clip, number in missing:
                self._write(self._path(clip, number), encode(self.features(clip, number)))
                advance()

    def features(self, clip: LoadedClip, number: int) -> Features:
        """Return the log-mel features of a copy; copy 0 is the clip as it is."""
        if number == 0:
            return log_mel(clip.wave, n_mels=self._spec.n_mels)
        rng = np.random.default_rng((self._spec.seed, number, int(clip.audio_sha256[:8], 16)))
        wave = augment_wave(clip.wave, self._spec.spectrum, rng)
        if wave.size > WINDOW_SAMPLES:
            wave = clip.wave
        n_frames = min(WINDOW_FRAMES, wave.size // HOP_SAMPLES)
        return mask_features(log_mel(wave, n_mels=self._spec.n_mels), n_frames, rng)

    def read(self, clip: LoadedClip, number: int) -> NDArray[np.float16]:
        """Read the states of a copy: float16, shape (1, 1500, d_model).

        Raises:
            InputError: the file is damaged.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        path = self._path(clip, number)
        try:
            states: NDArray[np.float16] = load_file(path)[STATES]
        except (SafetensorError, KeyError) as cause:
            raise InputError(f"{path} is damaged ({cause}); repeat the command with --restart") from cause
        return states

    def _path(self, clip: LoadedClip, number: int) -> Path:
        return self._folder / f"{clip.audio_sha256[:32]}-{number}.safetensors"

    @staticmethod
    def _write(path: Path, states: NDArray[np.float32]) -> None:
        from safetensors.numpy import save

        written = path.with_suffix(".new")
        written.write_bytes(save({STATES: states.astype(np.float16)}))
        written.replace(path)
