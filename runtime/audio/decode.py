"""Decode audio into what Whisper takes: one channel, 16 kHz, float32, from any format that FFmpeg reads."""

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import InputError
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.container import (
    DurationLimit,
    duration_limit,
    open_source,
    open_with_ffmpeg,
)
from sottovoce.runtime.audio.mixing import Downmixer, resample
from sottovoce.runtime.audio.track import Damaged, Note, TrackReader, TrackRules, header_duration_s
from sottovoce.runtime.audio.track_choice import open_track

Wave = NDArray[np.float32]

# 1.4 GB as a wave.
MAX_DURATION_S = 6 * 3600.0
# A long stream takes time, not memory.
MAX_STREAM_S = 24 * 3600.0
# 16-bit dither is near -93 dBFS. Speech recorded 55 dB too low is near -65 in its loudest tenth of a second, and is understood.
SILENCE_DBFS = -80.0
_LEVEL_SAMPLES = SAMPLE_RATE_HZ // 10

STREAMED_RIFF_SIZE = 0x7F000000
"""Size in the header of a WAV that was written to a pipe, where the writer cannot go back: 0, 2 GiB or 4 GiB."""

# Some writers count the header in the size, some do not.
_RIFF_HEADER_BYTES = 256
# The chunk `fmt ` of a WAV lies in its first bytes: tag, channels, rate, bytes a second, bytes a block, bits, size of the rest,
# valid bits, channel mask, kind of samples.
_HEAD_BYTES = 8192
_EXTENSIBLE, _TAG_EXTENSIBLE, _KIND_PCM = struct.Struct("<HHIIHHHHIH"), 0xFFFE, 1
_PADDED_BITS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeOptions:
    """How a file is decoded.

    Attributes:
        max_s: longer audio is refused while it is decoded. None: 6 hours as a wave, 24 hours as a stream, or less if so
            few bytes cannot hold so much speech.
        damaged: what is done with damaged audio.
        track: number of the audio track, from 1; None takes the default one, or another if that is silent.
    """

    max_s: float | None = None
    damaged: Damaged = Damaged.REFUSE
    track: int | None = None


def ignore(_note: str) -> None:
    """Take a note, and do nothing with it."""


def decode_audio(
    source: Path | bytes,
    options: DecodeOptions = DecodeOptions(),
    *,
    name: str | None = None,
    note: Note = ignore,
) -> Wave:
    """Decode a file, or the bytes of one, into a wave.

    Channels are averaged, unless they cancel each other out. Audio that starts later than the film, and holes in it,
    become silence. Duration and rate in the header are only compared with the decoded audio. Audio that ends before its
    header says is refused: the transcript of half a clip looks like the error of a bad model. A cut is not detected in
    formats that state no duration: Ogg cut between pages, raw AAC or AC-3 cut between frames.

    Args:
        source: audio, or video with an audio track, in any format that FFmpeg reads.
        options: limits, track, and what is done with damaged audio.
        name: of the audio in error messages; by default the path.
        note: called with a sentence about what is missing or was chosen.

    Returns:
        float32, shape (n_samples,), 16 kHz, values in [-1, 1], never empty.

    Raises:
        InputError: missing, unreadable, not audio, damaged, empty, not finite, without such a track, or with an
            implausible rate, duration or number of channels.
    """
    label = _label(source, name)
    with _open_blocks(source, label, options, MAX_DURATION_S, "cut it into pieces", note) as blocks:
        wave: Wave = np.concatenate([np.zeros(0, np.float32), *blocks])
    _check_not_empty(wave.size, label)
    return np.clip(wave, -1.0, 1.0, out=wave)


def stream_audio(
    source: Path | bytes,
    options: DecodeOptions = DecodeOptions(),
    *,
    name: str | None = None,
    note: Note = ignore,
) -> Iterator[Wave]:
    """Decode a file, or the bytes of one, block by block, in constant memory.

    Arguments and errors are those of `decode_audio`; damage may be found only after some blocks.

    Yields:
        float32, shape (n_samples,), 16 kHz, values in [-1, 1]; joined they are the wave of `decode_audio`.
    """
    n_samples = 0
    label = _label(source, name)
    advice = "cut it into pieces, or allow its length with --max-hours"
    with _open_blocks(source, label, options, MAX_STREAM_S, advice, note) as blocks:
        for block in blocks:
            n_samples += block.size
            yield np.clip(block, -1.0, 1.0)
    _check_not_empty(n_samples, label)


def stated_duration_s(source: Path | bytes) -> float | None:
    """Return the duration that the header states, for progress only; None if it states none or cannot be read."""
    try:
        with open_source(source, "") as file, open_with_ffmpeg(file) as container:
            stream = next(iter(container.streams.audio), None)
            return None if stream is None else header_duration_s(container, stream)
    except (InputError, av.FFmpegError, OSError):
        return None  # decoding reports the error


def is_silent(wave: Wave) -> bool:
    """Return whether a wave is too quiet to hold speech: under -80 dBFS in its loudest tenth of a second.

    The level is RMS without DC offset; that of a whole recording depends on its pauses.
    """
    return loudest_level(wave) < 10 ** (SILENCE_DBFS / 20)


def loudest_level(wave: Wave) -> float:
    """Return the RMS of the loudest tenth of a second, without DC offset: 0 to 1, 0 for an empty wave."""
    if wave.size == 0:
        return 0.0
    n_tenths = max(1, wave.size // _LEVEL_SAMPLES)
    tenths = wave[: n_tenths * _LEVEL_SAMPLES].reshape(n_tenths, -1)
    return float(np.std(tenths, axis=1, dtype=np.float64).max())


def _label(source: Path | bytes, name: str | None) -> str:
    return name or (str(source) if isinstance(source, Path) else "the audio given")


@contextmanager
def _open_blocks(
    source: Path | bytes, label: str, options: DecodeOptions, default_max_s: float, advice: str, note: Note
) -> Iterator[Iterator[Wave]]:
    """Open a source; give its blocks at 16 kHz, which are decoded on demand."""
    with open_source(source, label) as file:
        limit = duration_limit(file, options.max_s, default_max_s=default_max_s, advice=advice)
        rules = _rules(file, label, limit, options, note)
        with open_track(file, options.track, label, note) as (container, stream):
            reader = TrackReader(container, stream, rules)
            yield resample(reader.frames(), Downmixer(label, note))


def _rules(
    file: BinaryIO, label: str, limit: DurationLimit, options: DecodeOptions, note: Note
) -> TrackRules:
    return TrackRules(
        label=label,
        is_whole=_is_whole_riff(file),
        is_padded_pcm=_is_padded_pcm(file),
        limit=limit,
        damaged=options.damaged,
        note=note,
    )


def _check_not_empty(n_samples: int, label: str) -> None:
    if not n_samples:
        raise InputError(f"{label} holds no audio: 0 samples; check where it comes from")


def _is_whole_riff(file: BinaryIO) -> bool:
    """Return whether a WAV file is as long as its RIFF header states, or that header states no size."""
    head = file.read(8)
    n_bytes = file.seek(0, io.SEEK_END)
    file.seek(0)
    size = int.from_bytes(head[4:], "little")
    is_streamed = size == 0 or size >= STREAMED_RIFF_SIZE
    return head[:4] == b"RIFF" and (is_streamed or size - n_bytes <= _RIFF_HEADER_BYTES)


def _is_padded_pcm(file: BinaryIO) -> bool:
    """Return whether a WAV holds integers of 24 bits in 32 (`WAVEFORMATEXTENSIBLE` with PCM's GUID).

    FFmpeg takes them for the floats of 24 bits that an old editor wrote, with a plain header.
    """
    head = file.read(_HEAD_BYTES)
    file.seek(0)
    at = head.find(b"fmt ") + 8
    if head[8:12] != b"WAVE" or not 8 <= at <= len(head) - _EXTENSIBLE.size:  # noqa: PLR2004
        return False
    tag, n_channels, _, _, block_bytes, n_bits, _, n_valid, _, kind = _EXTENSIBLE.unpack_from(head, at)
    is_pcm = tag == _TAG_EXTENSIBLE and kind == _KIND_PCM
    return is_pcm and block_bytes == 4 * n_channels and _PADDED_BITS in (n_bits, n_valid)
