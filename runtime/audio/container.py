"""Open untrusted audio with FFmpeg: regular files only, audio formats only, bounded memory.

FFmpeg reads hundreds of formats. Some are lists of other files or addresses, some are screens and cameras, and many
decoders trust the sizes that a file states.
"""

import ctypes
import io
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Protocol

import av
from av.container import InputContainer

from sottovoce.errors import InputError
from sottovoce.storage.spelling import existing_spelling

ADVICE = "convert it, for example with: ffmpeg -i IN -ac 1 -ar 16000 OUT.flac"

FORMATS = (
    "aac,ac3,ac4,act,aiff,amr,amrnb,amrwb,ape,asf,au,avi,avr,caf,dhav,dsf,dss,dts,dtshd,eac3,flac,flv,g729,gsm,gxf,iff,"
    "ilbc,ircam,loas,matroska,mov,mp3,mpc,mpc8,mpeg,mpegts,mxf,nistsphere,nsv,nut,ogg,oma,paf,pvf,qcp,rm,rso,sds,sol,"
    "sox,svag,tak,truehd,tta,voc,w64,wav,wsd,wtv,wv,xwma"
)
"""Containers of audio, and of video with audio. None of them refers to another file, a device or the network."""

MAX_STREAMS = 64
"""A film with all its languages and subtitles has about forty."""

MAX_ALLOCATION_BYTES = 100 * 1024 * 1024
"""For one allocation by FFmpeg, which itself allows 2 GB. The index of an MP4 takes 24 bytes a packet: this suffices for
24 hours at 48 kHz."""

PLAUSIBLE_S = 600.0
"""A file of any size may decode to this much audio."""

MIN_BYTES_PER_S = 50
"""Of speech: the most economical codec, Codec 2, has 450 bit/s. Compressed silence takes almost no bytes, and a small
file can decode to years of it."""


class Readable(Protocol):
    """What FFmpeg reads: a file, or a stream that cannot seek."""

    def read(self, n_bytes: int, /) -> bytes:
        """Return at most so many bytes; none at the end."""


ANY_METADATA: Mapping[str, Any] = (
    {} if int(av.__version__.partition(".")[0]) >= 19 else {"metadata_errors": "ignore"}  # noqa: PLR2004 - of PyAV
)
"""For titles that are no UTF-8, which PyAV takes as they are from version 19 on (for Python 3.12 and newer), without an argument."""

NO_OPTIONS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class DurationLimit:
    """The longest audio that is decoded, and the end of the error message for longer audio."""

    max_s: float
    message: str

    def check(self, decoded_s: float, label: str) -> None:
        """Refuse longer audio.

        Raises:
            InputError: the audio is longer.
        """
        if decoded_s > self.max_s:
            raise InputError(f"{label} {self.message}")


def duration_limit(
    file: BinaryIO, max_s: float | None, *, default_max_s: float, advice: str
) -> DurationLimit:
    """Return how long the audio in a file may be, and rewind the file.

    Args:
        max_s: the user's limit. None: `default_max_s`, or less if so few bytes cannot hold so much speech.
        advice: what to do about longer audio.
    """
    n_bytes = file.seek(0, io.SEEK_END)
    file.seek(0)
    plausible_s = max(PLAUSIBLE_S, n_bytes / MIN_BYTES_PER_S)
    if max_s is None and plausible_s < default_max_s:
        message = f"holds more than {plausible_s:.0f} s in {n_bytes} bytes, which cannot be speech; {advice}"
        return DurationLimit(max_s=plausible_s, message=message)
    max_s = default_max_s if max_s is None else max_s
    return DurationLimit(max_s=max_s, message=f"is longer than {max_s:g} s; {advice}")


def open_source(source: Path | bytes, label: str) -> BinaryIO:
    """Open a file, whichever way its accents are written, or the bytes of one, for reading.

    Raises:
        InputError: the file is missing or not a regular file: opening a pipe blocks, and a device may never end.
    """
    if isinstance(source, bytes):
        return io.BytesIO(source)
    try:
        source = existing_spelling(source)
        mode = source.stat().st_mode
        if stat.S_ISDIR(mode):
            raise InputError(f"{label} is a folder; give an audio file")
        if not stat.S_ISREG(mode):
            raise InputError(
                f"{label} is a pipe or a device, want a file; give - and redirect it to standard input"
            )
        return source.open("rb")
    except FileNotFoundError as error:
        raise InputError(f"{label} does not exist; check the path") from error
    except (OSError, ValueError) as error:
        raise InputError(
            f"{label} cannot be opened ({error_text(error)}); check the path and its permissions"
        ) from error


def open_container(
    file: Readable, label: str, *, samples: str | None = None, options: Mapping[str, str] = NO_OPTIONS
) -> InputContainer:
    """Open a file with FFmpeg, which detects its format.

    Args:
        file: seekable or not.
        label: names the audio in errors.
        samples: FFmpeg's name of raw samples, such as `s16le`, which nothing can detect.
        options: more of FFmpeg's options.

    Raises:
        InputError: the format is not one of `FORMATS`, or the file is damaged.
    """
    try:
        return open_with_ffmpeg(file, samples, options)
    except av.ArgumentError as error:  # FFmpeg's error for a format that is not in the whitelist
        raise InputError(
            f"{label} is not audio that FFmpeg can read (not an audio format); {ADVICE}"
        ) from error
    except (av.FFmpegError, OSError) as error:
        raise InputError(
            f"{label} is not audio that FFmpeg can read ({error_text(error)}); {ADVICE}"
        ) from error


def open_with_ffmpeg(
    file: Readable, samples: str | None = None, options: Mapping[str, str] = NO_OPTIONS
) -> InputContainer:
    """Open a container; see `open_container`.

    Raises:
        av.FFmpegError: FFmpeg cannot read it.
    """
    _limit_allocations()
    allowed = {} if samples is None else {"format_whitelist": samples}
    container: InputContainer = av.open(
        file, "r", format=samples, options={**_options(), **allowed, **options}, **ANY_METADATA
    )
    return container


def error_text(error: Exception) -> str:
    """Return a library's error message in a few words."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


@cache
def _options() -> Mapping[str, str]:
    """Return options with which FFmpeg reads only the given bytes, and decodes no picture to detect the format."""
    codecs = (name for name in av.codecs_available if _is_audio_decoder(name))
    return {
        "protocol_whitelist": "none",
        "format_whitelist": FORMATS,
        "codec_whitelist": ",".join(codecs),
        "max_streams": str(MAX_STREAMS),
    }


def _is_audio_decoder(name: str) -> bool:
    try:
        return av.Codec(name, "r").type == "audio"
    except ValueError:  # an encoder
        return False


@cache
def _limit_allocations() -> None:
    """Limit each allocation by FFmpeg in the whole process: it allocates the size that a file states before it reads the content.

    A WAV of 100 bytes can state a title of 2 GB, an MP4 of 10 kB an index of 3 GB. FFmpeg has no option for this, and
    PyAV does not wrap the function, but PyAV's own modules link to it. Where the symbol cannot be found, only the
    limits on streams and formats apply.
    """
    limit = getattr(ctypes.CDLL(import_module("av._core").__file__), "av_max_alloc", None)
    if limit is not None:
        limit(ctypes.c_size_t(MAX_ALLOCATION_BYTES))
