"""Open audio that nobody vouches for: regular files, formats of audio, bounded memory.

FFmpeg reads hundreds of formats. Some of them are lists of other files or addresses, some are screens and cameras,
and many believe the sizes that a file states.
"""

import ctypes
import io
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

import av
from av.container import InputContainer

from sottovoce.errors import InputError

ADVICE = "convert it, for example with: ffmpeg -i IN -ac 1 -ar 16000 OUT.flac"

FORMATS = (
    "aac,ac3,ac4,act,aiff,amr,amrnb,amrwb,ape,asf,au,avi,avr,caf,dhav,dsf,dss,dts,dtshd,eac3,flac,flv,g729,gsm,gxf,iff,"
    "ilbc,ircam,loas,matroska,mov,mp3,mpc,mpc8,mpeg,mpegts,mxf,nistsphere,nsv,nut,ogg,oma,paf,pvf,qcp,rm,rso,sds,sol,"
    "sox,svag,tak,truehd,tta,voc,w64,wav,wsd,wtv,wv,xwma"
)
"""Containers of sound, and of films with sound. None of them leads to another file, a device or the network."""

MAX_STREAMS = 64
"""A film with all its languages and subtitles has some forty."""

MAX_ALLOCATION_BYTES = 100 * 1024 * 1024
"""Of one piece of FFmpeg's memory; its own limit is 2 GB. The index of an MP4 takes 24 bytes a packet: 24 hours at 48 kHz."""

FREE_S = 600.0
"""Any file may decode to so much."""

LEANEST_BYTES_PER_S = 50
"""What speech takes at least: the leanest codec for it, Codec 2, has 450 bit/s. Compressed silence takes next to nothing,
and can promise years."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DurationLimit:
    """How long audio may be.

    Attributes:
        seconds: at most.
        excess: what longer audio is said to be.
    """

    seconds: float
    excess: str

    def check(self, decoded_s: float, label: str) -> None:
        """Refuse audio that is longer.

        Raises:
            InputError: it is.
        """
        if decoded_s > self.seconds:
            raise InputError(f"{label} {self.excess}")


def duration_limit(file: BinaryIO, max_s: float | None, *, longest_s: float, advice: str) -> DurationLimit:
    """Return how long the audio in a file may be.

    Args:
        file: read from its start afterwards.
        max_s: what a user asked for; None: `longest_s`, and no more than speech could take so few bytes for.
        longest_s: without a wish of the user.
        advice: what to do about longer audio.
    """
    n_bytes = file.seek(0, io.SEEK_END)
    file.seek(0)
    plausible_s = max(FREE_S, n_bytes / LEANEST_BYTES_PER_S)
    if max_s is None and plausible_s < longest_s:
        excess = f"holds more than {plausible_s:.0f} s in {n_bytes} bytes, which no speech does; {advice}"
        return DurationLimit(seconds=plausible_s, excess=excess)
    seconds = longest_s if max_s is None else max_s
    return DurationLimit(seconds=seconds, excess=f"is longer than {seconds:g} s; {advice}")


def open_source(source: Path | bytes, label: str) -> BinaryIO:
    """Open a file, or the bytes of one, for reading.

    Raises:
        InputError: there is nothing, or no regular file: a pipe would be waited for, a device may never end.
    """
    if isinstance(source, bytes):
        return io.BytesIO(source)
    try:
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
            f"{label} cannot be opened ({reason(error)}); check the path and its rights"
        ) from error


def open_container(file: BinaryIO, label: str) -> InputContainer:
    """Let FFmpeg find out what a file is.

    Raises:
        InputError: it is none of `FORMATS`, or broken.
    """
    try:
        return probed(file)
    except av.ArgumentError as error:  # what FFmpeg says of a format that is not among those asked for
        raise InputError(
            f"{label} is no audio that FFmpeg can read (not a format of sound); {ADVICE}"
        ) from error
    except (av.FFmpegError, OSError) as error:
        raise InputError(f"{label} is no audio that FFmpeg can read ({reason(error)}); {ADVICE}") from error


def probed(file: BinaryIO) -> InputContainer:
    """Open a container with FFmpeg.

    Raises:
        av.FFmpegError: it cannot be read.
    """
    _limit_allocations()
    return av.open(file, "r", options=dict(_options()), metadata_errors="ignore")


def reason(error: Exception) -> str:
    """Say in a few words why a library refused something."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


@cache
def _options() -> Mapping[str, str]:
    """Return FFmpeg's options: nothing but the bytes given is read, and no picture is decoded to see what it is."""
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
    """Bound each allocation of FFmpeg: it fills what a file claims to hold before it looks for it.

    A WAV of 100 bytes can claim a title of 2 GB, an MP4 of 10 kB an index of 3 GB. FFmpeg has no option for it, and
    PyAV does not pass its function on, but the symbol is where PyAV's own modules find it. Where it is not, the
    limits on streams and formats stand alone.
    """
    limit = getattr(ctypes.CDLL(import_module("av._core").__file__), "av_max_alloc", None)
    if limit is not None:
        limit(ctypes.c_size_t(MAX_ALLOCATION_BYTES))
