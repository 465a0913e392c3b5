"""Where the audio of a live transcription is from: a stream of bytes, a file, a microphone."""

import os
import stat
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer

from sottovoce.errors import InputError, SpecError
from sottovoce.runtime.audio.container import error_text, open_container
from sottovoce.runtime.audio.decode import DecodeOptions, Wave, stream_audio
from sottovoce.runtime.audio.mixing import Downmixer, resample
from sottovoce.runtime.audio.track import (
    MAX_CHANNELS,
    MAX_RATE_HZ,
    MIN_RATE_HZ,
    Damaged,
    Note,
    Silence,
    check_frame,
    has_times,
    read_packets,
)
from sottovoce.runtime.audio.track_choice import find_track
from sottovoce.runtime.live.pipe import Pipe, RawFormat, detect_format
from sottovoce.terms import STDIN, STDIN_NAME

LEAST_HOLE_S, LONGEST_HOLE_S = 0.1, 10.0
"""Timestamps that jump by so much leave a hole, which becomes silence: some codecs send nothing in pauses. Longer jumps
are a clock that was set."""

_PROMPT: Mapping[str, str] = {"analyzeduration": "100000"}
"""FFmpeg's options (microseconds): by default it reads up to 5 s before it gives the first sample."""


class Source(Protocol):
    """Audio that arrives."""

    @property
    def label(self) -> str:
        """Names the audio in messages."""

    def blocks(self, note: Note) -> Iterator[Wave]:
        """Yield the audio as it arrives; for one thread.

        Args:
            note: called with one sentence that the user should know.

        Yields:
            float32, shape (n_samples,), 16 kHz, values in [-1, 1].

        Raises:
            InputError: it cannot be read, or no further.
        """

    def stop(self) -> None:
        """End the audio; from any thread, and from the handler of a signal."""


class StreamSource:
    """Raw samples or a container from a pipe, standard input, or a file that grows."""

    def __init__(self, pipe: Pipe, label: str, raw: RawFormat | None = None) -> None:
        """Take a stream.

        Args:
            pipe: its bytes.
            label: names it in messages.
            raw: how its samples are stored if it is no container; None: as 16-bit samples of 16 kHz.
        """
        self._label = label
        self._pipe = pipe
        self._raw = raw

    @property
    def label(self) -> str:
        """Names the audio in messages."""
        return self._label

    def stop(self) -> None:
        """End the audio."""
        self._pipe.stop()

    def blocks(self, note: Note) -> Iterator[Wave]:
        """Yield the audio; see `Source`."""
        try:
            yield from self._decoded(note)
        except InputError:
            if not self._pipe.is_stopped:  # else a container was cut where it was stopped
                raise
        finally:
            self._pipe.close()

    def _decoded(self, note: Note) -> Iterator[Wave]:
        raw = self._raw or RawFormat()
        found = detect_format(self._pipe, raw, self._label)
        if self._raw is not None and found is not self._raw:
            note(f"{self._label} is not raw PCM: its own rate and channels are used")
        options = _PROMPT
        if found is not None:
            options = {"sample_rate": str(found.rate_hz), "ch_layout": f"{found.n_channels} channels"}
        samples = None if found is None else found.encoding
        with open_container(self._pipe, self._label, samples=samples, options=options) as container:
            for block in resample(self._frames(container, note), Downmixer(self._label, note)):
                yield np.clip(block, -1.0, 1.0)

    def _frames(self, container: InputContainer, note: Note) -> Iterator[AudioFrame | Silence]:
        """Yield the frames, and silence where their timestamps leave a hole."""
        end_s: float | None = None
        stream = find_track(container, None, self._label)
        is_timed = has_times(container, stream)
        for frame in self._decode(container, stream, note):
            check_frame(frame, self._label)
            hole_s = 0.0
            if is_timed and frame.time is not None and end_s is not None:
                hole_s = frame.time - end_s
            if LEAST_HOLE_S < hole_s <= LONGEST_HOLE_S:
                yield Silence(rate_hz=frame.sample_rate, duration_s=hole_s)
            yield frame
            end_s = None if frame.time is None else frame.time + frame.samples / frame.sample_rate

    def _decode(self, container: InputContainer, stream: AudioStream, note: Note) -> Iterator[AudioFrame]:
        is_noted = False
        try:
            for packet in read_packets(container, stream):
                try:
                    yield from packet.decode()
                except av.FFmpegError:
                    if not is_noted:
                        note(f"{self._label} is damaged: parts that cannot be decoded are left out")
                    is_noted = True
        except (av.FFmpegError, OSError) as error:
            raise InputError(f"{self._label} cannot be read further ({error_text(error)})") from error


class FileSource:
    """A file that is complete, read as fast as it is transcribed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stopped = threading.Event()

    @property
    def label(self) -> str:
        """Names the audio in messages."""
        return str(self._path)

    def stop(self) -> None:
        """End the audio."""
        self._stopped.set()

    def blocks(self, note: Note) -> Iterator[Wave]:
        """Yield the audio; see `Source`."""
        for block in stream_audio(self._path, DecodeOptions(damaged=Damaged.SKIP), note=note):
            if self._stopped.is_set():
                return
            yield block


def open_audio(name: str, raw: RawFormat | None = None, *, follows: bool = False) -> Source:
    """Open audio that is named on the command line.

    Args:
        name: a path, or `-` for standard input.
        raw: how samples of no container are stored; None: 16-bit samples of 16 kHz, of pipes only.
        follows: a file grows, until it is stopped.

    Raises:
        SpecError: a rate or a number of channels that is not supported.
        InputError: it does not exist, or is neither a file nor a pipe.
    """
    if raw is not None:
        _check_raw(raw)
    if name == STDIN:
        if sys.stdin is None or sys.stdin.isatty():
            raise InputError(
                "standard input is closed or a terminal, want audio; pipe it: arecord -f S16_LE -r 16000 -c 1 | sottovoce ... -"
            )
        return StreamSource(Pipe(os.dup(sys.stdin.fileno())), STDIN_NAME, raw)
    path = Path(name)
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode) and raw is None and not follows:
            return FileSource(path)
        if not stat.S_ISREG(mode) and not stat.S_ISFIFO(mode):
            raise InputError(
                f"{name} is neither a file nor a pipe; give one of them, or - for standard input"
            )
        # A pipe that nothing writes to yet must not block here.
        pipe = Pipe(os.open(path, os.O_RDONLY | os.O_NONBLOCK), follows=follows and stat.S_ISREG(mode))
    except FileNotFoundError as error:
        raise InputError(f"{name} does not exist; check the path") from error
    except OSError as error:
        raise InputError(f"{name} cannot be opened ({error_text(error)}); check its permissions") from error
    return StreamSource(pipe, name, raw)


def _check_raw(raw: RawFormat) -> None:
    if not MIN_RATE_HZ <= raw.rate_hz <= MAX_RATE_HZ:
        raise SpecError(f"--rate is {raw.rate_hz}, want {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz")
    if not 1 <= raw.n_channels <= MAX_CHANNELS:
        raise SpecError(f"--channels is {raw.n_channels}, want 1 to {MAX_CHANNELS}")
