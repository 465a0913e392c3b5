"""Which audio track of a file is decoded."""

from itertools import chain
from typing import BinaryIO

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer

from sottovoce.errors import InputError
from sottovoce.runtime.audio.container import ADVICE, open_container
from sottovoce.runtime.audio.mixing import read_channels, to_full_scale
from sottovoce.runtime.audio.track import Note, check_frame, read_packets

_PROBED_S = 600.0
"""A track without a sound in its first ten minutes is silent."""

_LEAST_STD = 10 ** (-60 / 20)
"""-60 dBFS, of a frame: louder than the silence of an unused track."""


def choose_track(file: BinaryIO, label: str, note: Note) -> int | None:
    """Return the number, from 1, of the track to decode, and rewind the file; None for FFmpeg's choice.

    That is the default track, unless it is silent and another one is not.
    """
    with open_container(file, label) as container:
        best = container.streams.best("audio")
        best_index = None if best is None else best.index
        indexes = [track.index for track in container.streams.audio]
    file.seek(0)
    if best_index is None or len(indexes) < 2:  # noqa: PLR2004
        return None
    default = indexes.index(best_index) + 1
    numbers = [default, *(number for number in range(1, len(indexes) + 1) if number != default)]
    audible = next((number for number in numbers if _is_audible(file, number, label)), default)
    if audible != default:
        note(f"{label}: audio track {default} is silent; track {audible} is used")
    return audible


def find_track(container: InputContainer, number: int | None, label: str) -> AudioStream:
    """Return an audio track by its number, from 1; None for FFmpeg's choice.

    Raises:
        InputError: there is no such track, or its codec is unknown.
    """
    tracks = list(container.streams.audio)
    if number is not None and not 1 <= number <= len(tracks):
        have = f"{len(tracks)} audio track" + ("" if len(tracks) == 1 else "s")
        raise InputError(f"{label} has {have}, no track {number}; choose one of them")
    # FFmpeg finds no best track where it could not detect the parameters, as in the shortest files.
    best = container.streams.best("audio") or next(iter(tracks), None)
    stream = best if number is None else tracks[number - 1]
    if not isinstance(stream, AudioStream):
        kinds = ", ".join(sorted({other.type for other in container.streams})) or "none"
        raise InputError(f"{label} has no audio to decode (its streams: {kinds}); give a file with sound")
    if stream.codec_context is None:
        raise InputError(f"{label} has audio in an unknown codec; {ADVICE}")
    if stream.codec_context.name == "flac":
        stream.codec_context.options = {"err_detect": "crccheck+explode"}
    _forget_channel_order(stream)
    return stream


def _forget_channel_order(stream: AudioStream) -> None:
    """Replace an order of channels that the file lists, as CAF and AIFF may, by the usual one for their number.

    PyAV 18 and before frees such a list with each frame, and crashes. Here it frees the list once, where the number is read.
    """
    n_channels = stream.codec_context.layout.nb_channels
    if n_channels:
        stream.codec_context.layout = f"{n_channels} channels"


def _is_audible(file: BinaryIO, number: int, label: str) -> bool:
    """Return whether a track has sound in its first minutes, and rewind the file."""
    try:
        with open_container(file, label) as container:
            packets = read_packets(container, find_track(container, number, label))
            for frame in chain.from_iterable(packet.decode() for packet in packets):
                check_frame(frame, label)
                if _std(frame) > _LEAST_STD:
                    return True
                if frame.time is not None and frame.time > _PROBED_S:
                    return False
    except (av.FFmpegError, InputError):
        return False  # a broken track; decoding reports it if no other has sound
    finally:
        file.seek(0)
    return False


def _std(frame: AudioFrame) -> float:
    """Return the level of a frame without DC offset, full scale is 1."""
    channels = read_channels(frame)
    return float(np.std(to_full_scale(channels, channels.dtype), dtype=np.float64))
