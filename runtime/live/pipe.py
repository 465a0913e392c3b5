"""The bytes of a live stream as they arrive, and what they are: raw samples, a WAV or another container."""

import os
import select
import string
import threading
from contextlib import suppress
from dataclasses import dataclass
from struct import unpack

from sottovoce.errors import InputError
from sottovoce.runtime.audio.decode import STREAMED_RIFF_SIZE

GROWTH_S = 0.1
"""Between two looks for the growth of a file that is followed."""

_READ_BYTES = 1 << 16
_HEAD_BYTES = 64
_MAX_HEADER_BYTES = 1 << 20
"""A WAV whose samples start later is left to FFmpeg."""

_MAGIC = (
    (0, b"fLaC"), (0, b"OggS"), (0, b"\x1aE\xdf\xa3"), (0, b"ID3"), (4, b"ftyp"), (0, b"FORM"), (0, b"caff"),
    (0, b".snd"), (0, b"#!AMR"), (0, b"wvpk"), (0, b"FLV"), (0, b"MAC "), (0, b"TTA1"),
    (0, b"\x00\x00\x01\xba"), (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"), (0, b"RIFF"), (0, b"RF64"), (0, b"riff"),
)  # fmt: skip
"""Offset and first bytes of containers, as in the list of the program `file`."""

_TS_SYNC, _TS_BYTES = 0x47, 188
_TEXT = frozenset(string.printable.encode())

_PCM = {
    (1, 8): "u8",
    (1, 16): "s16le",
    (1, 24): "s24le",
    (1, 32): "s32le",
    (3, 32): "f32le",
    (3, 64): "f64le",
    (6, 8): "alaw",
    (7, 8): "mulaw",
}
"""FFmpeg's names of samples, by the format tag and the bits of a WAV."""

_EXTENSIBLE = 0xFFFE

_MP3_KBPS = (
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
)
_MP3_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
"""Layer III of MPEG-2 and of MPEG-1; rates by the header's version (ISO/IEC 11172-3, 13818-3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawFormat:
    """How raw samples are stored.

    Attributes:
        encoding: FFmpeg's name, such as `s16le`.
        rate_hz: of each channel.
        n_channels: interleaved.
    """

    encoding: str = "s16le"
    rate_hz: int = 16_000
    n_channels: int = 1


class Pipe:
    """Reads a pipe or a file as far as it goes; `stop` ends it from any thread."""

    def __init__(self, descriptor: int, *, follows: bool = False) -> None:
        """Take a descriptor, which `close` closes.

        Args:
            descriptor: open for reading.
            follows: the end of the file is not the end: more will be written.
        """
        self._descriptor = descriptor
        self._follows = follows
        self._head = b""
        self._n_left: int | None = None
        self._stopped = threading.Event()
        reader, writer = os.pipe()
        self._wake_reader, self._wake_writer = os.fdopen(reader, "rb"), os.fdopen(writer, "wb", buffering=0)

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """End the stream: reads give what arrived, then nothing."""
        self._stopped.set()
        with suppress(ValueError):  # it is closed
            self._wake_writer.write(b"\0")

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._descriptor)
        self._wake_reader.close()
        self._wake_writer.close()

    def peek(self, n_bytes: int) -> bytes:
        """Return the next bytes, fewer only at the end, and keep them for `read`."""
        while len(self._head) < n_bytes and (more := self._receive()):
            self._head += more
        return self._head[:n_bytes]

    def read(self, n_bytes: int = _READ_BYTES) -> bytes:
        """Return at least one byte and at most `n_bytes`; none at the end."""
        if self._n_left == 0:
            while self._receive():  # its writer would fail if the pipe were closed
                pass
            return b""
        found = self._head or self._receive()
        if self._n_left is not None:
            n_bytes = min(n_bytes, self._n_left)
            self._n_left -= min(n_bytes, len(found))
        self._head = found[n_bytes:]
        return found[:n_bytes]

    def skip(self, n_bytes: int) -> None:
        """Drop bytes that `peek` returned."""
        self._head = self._head[n_bytes:]

    def end_after(self, n_bytes: int) -> None:
        """End the stream after so many more bytes, unless it is followed."""
        self._n_left = None if self._follows else n_bytes

    def _receive(self) -> bytes:
        """Wait for bytes."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        poll.register(self._wake_reader, select.POLLIN)
        while not self.is_stopped:
            if self._descriptor not in dict(poll.poll()):
                continue
            found = os.read(self._descriptor, _READ_BYTES)
            if found or not self._follows:
                return found
            self._stopped.wait(GROWTH_S)
        return b""


def detect_format(pipe: Pipe, raw: RawFormat, label: str) -> RawFormat | None:
    """Return how the samples of a stream are stored, from its first bytes; None: FFmpeg finds out.

    A WAV of plain samples is read as those: FFmpeg's own reader waits for 64 KB, which are 2 s of speech. Its header
    states no length, or a false one, where it was written to a pipe.

    Args:
        pipe: at its start; behind the header of such a WAV afterwards.
        raw: of bytes that no container starts with.
        label: names the audio in errors.

    Raises:
        InputError: there is nothing, or text.
    """
    head = pipe.peek(_HEAD_BYTES)
    if not head:
        raise InputError(f"{label} holds no audio: 0 bytes; check what writes to it")
    if head.startswith(b"RIFF") and head[8:12] == b"WAVE":
        return _skip_wav_header(pipe)
    if any(head[at : at + len(magic)] == magic for at, magic in _MAGIC) or _is_mpeg(pipe, head):
        return None
    if _TEXT.issuperset(head):
        raise InputError(f"{label} is text, want audio; it starts with {head[:20].decode()!r}")
    return raw


def _skip_wav_header(pipe: Pipe) -> RawFormat | None:
    samples: RawFormat | None = None
    at = 12
    while at < _MAX_HEADER_BYTES:
        head = pipe.peek(at + 8)[at:]
        if len(head) < 8:  # noqa: PLR2004 - name and size of a chunk
            return None
        name, size = unpack("<4sI", head)
        if name == b"data":
            if samples is None:
                return None
            pipe.skip(at + 8)
            if 0 < size < STREAMED_RIFF_SIZE:
                pipe.end_after(size)
            return samples
        if name == b"fmt ":
            samples = _wav_samples(pipe.peek(at + 8 + min(size, _HEAD_BYTES))[at + 8 :])
        at += 8 + size + size % 2
    return None


def _wav_samples(chunk: bytes) -> RawFormat | None:
    if len(chunk) < 16:  # noqa: PLR2004 - of the shortest format
        return None
    tag, n_channels, rate_hz, _, _, bits = unpack("<HHIIHH", chunk[:16])
    if tag == _EXTENSIBLE:
        tag = int.from_bytes(chunk[24:26], "little")
    encoding = _PCM.get((tag, bits))
    return None if encoding is None else RawFormat(encoding=encoding, rate_hz=rate_hz, n_channels=n_channels)


def _is_mpeg(pipe: Pipe, head: bytes) -> bool:
    """Return whether two packets of MPEG follow each other: one header may be samples."""
    if head[0] == _TS_SYNC:
        n_bytes, n_same = _TS_BYTES, 1
    else:
        n_bytes, n_same = _frame_bytes(head), 2
    following = pipe.peek(n_bytes + n_same)[n_bytes:]
    return n_bytes > 0 and following == head[:n_same]


def _frame_bytes(head: bytes) -> int:
    """Return the length of an MP3 or AAC (ADTS) frame by its header; 0 if it is none."""
    if len(head) < 6 or head[0] != 0xFF:  # noqa: PLR2004
        return 0
    if head[1] & 0xF6 == 0xF0:  # noqa: PLR2004
        return (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    rate, kbps = head[2] >> 2 & 3, head[2] >> 4
    if head[1] < 0xE0 or layer != 1 or version == 1 or rate == 3 or kbps == 15:  # noqa: PLR2004
        return 0
    is_mpeg1 = version == 3  # noqa: PLR2004
    n_bits = _MP3_KBPS[is_mpeg1][kbps] * 1000 * (144 if is_mpeg1 else 72)
    return n_bits // _MP3_HZ[version][rate] + (head[2] >> 1 & 1)
