"""Which audio track of a file is decoded."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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


@contextmanager
def open_track(
    file: BinaryIO, number: int | None, label: str, note: Note
) -> Iterator[tuple[InputContainer, AudioStream]]:
    """Open a file and one of its tracks; most files have a single one, and are opened once.

    Args:
        file: at its start.
        number: of the track, from 1; None takes the default track, unless it is silent and another one is not.
        label: names the audio in errors and notes.
        note: called where another track than the default one is taken.

    Raises:
        InputError: FFmpeg cannot read the file, there is no such track, or its codec is unknown.
    """
    with ExitStack() as stack:
        container = stack.enter_context(open_container(file, label))
        if number is None and len(container.streams.audio) > 1:
            number = _choose_track(container, file, label, note)
            stack.pop_all().close()
            file.seek(0)
            container = stack.enter_context(open_container(file, label))
        yield container, find_track(container, number, label)


def _choose_track(container: InputContainer, file: BinaryIO, label: str, note: Note) -> int | None:
    """Return the number of the first track with sound, the default one first; None for FFmpeg's choice."""
    best = container.streams.best("audio")
    if best is None:
        return None
    indexes = [track.index for track in container.streams.audio]
    default = indexes.index(best.index) + 1
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
    """Return whether a track has sound in its first minutes."""
    file.seek(0)
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
    return False


def _std(frame: AudioFrame) -> float:
    """Return the level of a frame without DC offset, full scale is 1."""
    channels = read_channels(frame)
    return float(np.std(to_full_scale(channels, channels.dtype), dtype=np.float64))
