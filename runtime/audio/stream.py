"""Audio as a stream of blocks: a file, its bytes, or a wave."""

from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np

from sottovoce.errors import InputError
from sottovoce.runtime.audio.constants import BLOCK_SAMPLES, SAMPLE_RATE_HZ, WINDOW_SAMPLES
from sottovoce.runtime.audio.decode import DecodeOptions, Wave, ignore, is_silent, stream_audio
from sottovoce.runtime.audio.track import Note
from sottovoce.runtime.clock import PhaseClock
from sottovoce.runtime.transcript import Phase


def read_blocks(
    audio: Path | str | bytes | Wave, name: str | None, options: DecodeOptions, note: Note = ignore
) -> Generator[Wave, None, None]:
    """Yield audio block by block; a wave that fits into a window is one block.

    Args:
        audio: a file, the bytes of one, or a wave.
        name: of the audio in error messages.
        options: how a file is decoded; of a wave only its length is checked.
        note: called with a sentence about what is missing or was chosen.

    Raises:
        InputError: the audio cannot be read, is not a valid wave, or is longer.
    """
    if isinstance(audio, np.ndarray):
        label = name or "the wave given"
        yield from _split_wave(check_wave(audio, label), label, options.max_s)
        return
    yield from stream_audio(Path(audio) if isinstance(audio, str) else audio, options, name=name, note=note)


def _split_wave(wave: Wave, label: str, max_s: float | None) -> Iterator[Wave]:
    """Split a long wave into blocks, so that a reader which looks ahead never copies all the rest."""
    if max_s is not None and wave.size > max_s * SAMPLE_RATE_HZ:
        raise InputError(
            f"{label} is {wave.size / SAMPLE_RATE_HZ:.0f} s long, more than the {max_s:g} s allowed"
        )
    step = max(1, wave.size) if wave.size <= WINDOW_SAMPLES else BLOCK_SAMPLES
    for begin in range(0, max(1, wave.size), step):
        yield wave[begin : begin + step]


def check_wave(wave: Wave, label: str) -> Wave:
    """Return the wave if it is float32, shape (n_samples,), and finite.

    Raises:
        InputError: it is not.
    """
    if wave.ndim != 1 or wave.dtype != np.float32:
        raise InputError(
            f"{label} has shape {wave.shape} and type {wave.dtype}, want (n_samples,) and float32 at 16 kHz"
        )
    if not np.isfinite(wave).all():
        raise InputError(f"{label} holds samples that are not finite numbers")
    return wave


class BlockStream:
    """A stream of blocks, with the number of samples read, the time that reading takes, and whether all are silent."""

    def __init__(self, blocks: Generator[Wave, None, None], clock: PhaseClock) -> None:
        self._blocks = blocks
        self._clock = clock
        self.n_samples = 0
        self.is_silent = True

    def __iter__(self) -> Iterator[Wave]:
        return self

    def __next__(self) -> Wave:
        with self._clock.time(Phase.AUDIO, 0):
            block = next(self._blocks)
        self.n_samples += block.size
        self.is_silent = self.is_silent and is_silent(block)
        return block

    def read(self, n_samples: int | None = None) -> Wave:
        """Read blocks until the stream has given `n_samples` in all; by default to its end."""
        waves: list[Wave] = []
        while (n_samples is None or self.n_samples < n_samples) and (block := next(self, None)) is not None:
            waves.append(block)
        return np.concatenate([np.zeros(0, np.float32), *waves])

    def close(self) -> None:
        """Close the audio; there are no blocks afterwards."""
        self._blocks.close()

    def prepend(self, first: Wave) -> Iterator[Wave]:
        """Yield what was read already, then the rest."""
        yield first
        yield from self
