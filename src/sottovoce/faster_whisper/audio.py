"""Audio of every kind that programs give: a path, an open file or samples."""

from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import InputError, SpecError
from sottovoce.runtime.audio import decode
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import DecodeOptions, Wave
from sottovoce.runtime.audio.stream import check_wave
from sottovoce.runtime.audio.track import Damaged

Audio = str | Path | BinaryIO | bytes | NDArray[np.floating]
"""A path, a file opened in binary mode, the bytes of one, or samples: floats, shape (n_samples,), 16 kHz."""

SKIP_DAMAGE = DecodeOptions(damaged=Damaged.SKIP)


def decode_audio(
    input_file: Audio,
    sampling_rate: int = SAMPLE_RATE_HZ,
    split_stereo: bool = False,
) -> Wave:
    """Decode a file into samples.

    Returns:
        float32, shape (n_samples,), 16 kHz, values in [-1, 1].

    Raises:
        InputError: the audio cannot be read.
        SpecError: another rate or separate channels are wanted.
    """
    if sampling_rate != SAMPLE_RATE_HZ:
        raise SpecError(f"sampling_rate={sampling_rate} is not supported: want {SAMPLE_RATE_HZ}")
    if split_stereo:
        raise SpecError("split_stereo=True is not supported: channels are averaged; leave it out")
    return read_wave(input_file)


def read_wave(audio: Audio) -> Wave:
    """Return audio as float32, shape (n_samples,), 16 kHz.

    Raises:
        InputError: the audio cannot be read, or holds no floats.
    """
    if isinstance(audio, np.ndarray):
        if not np.issubdtype(audio.dtype, np.floating):
            raise InputError(f"the audio has the type {audio.dtype}, want floats in [-1, 1] at 16 kHz")
        return check_wave(audio.astype(np.float32, copy=False), "the audio")
    if isinstance(audio, str | Path):
        return decode.decode_audio(Path(audio), SKIP_DAMAGE)
    return decode.decode_audio(
        audio if isinstance(audio, bytes) else audio.read(), SKIP_DAMAGE, name="the audio"
    )
