"""One audio track in time: its frames, silence where the file has a hole, and what could not be decoded."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame, format_dtypes
from av.audio.stream import AudioStream
from av.container import InputContainer

from sottovoce.errors import InputError
from sottovoce.runtime.audio.container import ADVICE, DurationLimit, error_text

# Speech at a lower rate is not intelligible, and no recorder has a higher one: such headers are wrong.
MIN_RATE_HZ, MAX_RATE_HZ = 4_000, 768_000
# Ambisonics of the seventh order, the largest layout that FFmpeg names.
MAX_CHANNELS = 64
# An encoder's priming may be missing from the audio: 2112 samples of AAC are 0.13 s at 16 kHz.
PRIMING_S = 0.2
# Codecs without priming; containers round durations to milliseconds.
_EXACT_CODECS, _ROUNDING_S = ("flac", "pcm_"), 0.01
# FFmpeg divides the bytes of padded samples by three for each.
_SHARE_OF_PADDED = 24 / 32
# Timestamps that jump further than this leave a hole; less is rounding and priming.
_LEAST_HOLE_S = 0.1
# Speech codecs send nothing in pauses of some tenths of a second.
_NOTED_HOLE_S = 1.0
# AVI has no timestamps: FFmpeg counts chunks or bytes, whatever they last. Its parser of FLAC looks ten frames ahead, and
# gives frames in ASF the times of later ones.
_FORMAT_WITHOUT_TIMES, _FORMAT_WITH_WRONG_TIMES_OF_FLAC = "avi", "asf"

# Formats whose header states the duration; FFmpeg estimates that of other formats from the bit rate.
_FORMATS_WITH_DURATION = frozenset({"aiff", "caf", "flac", "mov,mp4,m4a,3gp,3g2,mj2", "ogg", "w64", "wav"})
# An MP3 starts with a tag, and a frame that is a table of contents. Where files were joined, they stand midway.
_MP3_START_TAG, _MP3_END_TAGS = b"ID3", (b"TAG", b"APETAGEX")
_MP3_TABLES, _MP3_TABLE_WITHIN_BYTES = (b"Xing", b"Info", b"VBRI"), 64

if TYPE_CHECKING:
    from av.packet import Packet

Note = Callable[[str], None]
"""Called with one sentence about the audio that the reader of its text should know."""


class Damaged(StrEnum):
    """What is done with damaged audio."""

    REFUSE = "refuse"
    SKIP = "skip"
    """Leave out what cannot be decoded; refuse audio that ends early, or of which the most is broken."""
    ALLOW = "allow"
    """Take whatever can be decoded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """A part of the track without samples: before its start, or in a hole."""

    rate_hz: int
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackRules:
    """How a track is decoded.

    Attributes:
        label: names the audio in errors and notes.
        is_whole: the file is as long as its header states, so that packets that FFmpeg calls corrupt are not.
        is_padded_pcm: samples are integers of 24 bits in 32, which FFmpeg decodes as floats.
        limit: the longest audio.
        damaged: what is done with damaged audio.
        note: called with what is missing.
    """

    label: str
    is_whole: bool
    is_padded_pcm: bool
    limit: DurationLimit
    damaged: Damaged
    note: Note


class TrackReader:
    """Decodes one track once."""

    def __init__(self, container: InputContainer, stream: AudioStream, rules: TrackRules) -> None:
        self._container = container
        self._stream = stream
        self._rules = rules
        self._codec = (
            stream.codec_context.name
        )  # a decoder that cannot be opened loses it, and PyAV 19 crashes
        self._padded_pcm = _padded_pcm_decoder(stream) if rules.is_padded_pcm else None
        self._stated_s = header_duration_s(container, stream)
        if self._padded_pcm is not None and self._stated_s is not None:
            self._stated_s *= _SHARE_OF_PADDED
        self._end_s: float | None = None
        self._decoded_s = self._silence_s = self._lost_s = 0.0
        self._pending_s = self._longest_hole_s = 0.0
        self._error: Exception | None = None
        self._is_cut = self._failed = False

    def frames(self) -> Iterator[AudioFrame | Silence]:
        """Yield the frames of the track, and silence where its timestamps leave a hole.

        Raises:
            InputError: the audio is damaged, too long, or of a rate or format that is not supported.
        """
        self._check_stated()
        try:
            for packet in read_packets(self._container, self._stream):
                for frame in self._decode(packet):
                    yield from self._in_time(frame)
        except (av.FFmpegError, OSError) as error:
            self._error, self._failed = error, True
        self._check_damage()

    def _check_stated(self) -> None:
        """Refuse a header that states too much; PCM that was written to a pipe states 37 hours."""
        if self._stated_s is not None and not self._codec.startswith("pcm_"):
            self._rules.limit.check(self._stated_s, self._rules.label)

    @property
    def _start_s(self) -> float:
        """Where the film starts, in the time of its timestamps."""
        return (self._container.start_time or 0) / av.time_base

    def _decode(self, packet: "Packet[AudioStream]") -> list[AudioFrame]:
        if packet.size:  # the last packet is empty, and flushes the decoder
            self._is_cut = packet.is_corrupt and not self._rules.is_whole
        if _starts_mp3(self._codec, packet):
            self._stated_s = None  # it was estimated from the bit rate of the first of joined files
        try:
            return packet.decode() if self._padded_pcm is None else self._padded_pcm.decode(packet)
        except (
            av.FFmpegError,
            ValueError,
        ) as error:  # ValueError: PyAV's own where the decoder could not be opened before
            if not _is_mp3_header(self._codec, packet):
                self._error = self._error or error
                self._pending_s += _packet_s(packet)
            return []

    def _in_time(self, frame: AudioFrame) -> Iterator[AudioFrame | Silence]:
        """Yield a frame, after the silence that its timestamp leaves before it."""
        check_frame(frame, self._rules.label)
        hole_s = self._hole_s(frame)
        if self._pending_s:
            self._lost_s += hole_s or self._pending_s
            self._pending_s = 0.0
        else:
            self._silence_s += hole_s
            self._longest_hole_s = max(self._longest_hole_s, hole_s if self._decoded_s else 0.0)
        duration_s = frame.samples / frame.sample_rate
        self._decoded_s += duration_s
        self._rules.limit.check(self._decoded_s + self._silence_s + self._lost_s, self._rules.label)
        if hole_s:
            yield Silence(rate_hz=frame.sample_rate, duration_s=hole_s)
        self._end_s = None if frame.time is None else frame.time + duration_s
        yield frame

    def _hole_s(self, frame: AudioFrame) -> float:
        """Return the silence before a frame; 0 where timestamps are missing or not to be believed."""
        expected_s = self._end_s if self._decoded_s else self._start_s
        if frame.time is None or expected_s is None or self._container.duration is None:
            return 0.0
        if self._decoded_s and not has_times(self._container, self._stream):
            return 0.0
        hole_s = frame.time - expected_s
        is_within = frame.time <= self._start_s + self._container.duration / av.time_base
        least_s = _ROUNDING_S if self._pending_s else _LEAST_HOLE_S
        return hole_s if hole_s > least_s and is_within else 0.0

    def _check_damage(self) -> None:
        """Refuse damaged audio, or note what is missing; see `Damaged`."""
        if not self._decoded_s and (self._error is not None or self._stated_s):
            raise InputError(f"{self._rules.label} cannot be decoded{self._cause}; get a whole copy of it")
        missing_s, ends_early, policy = self._missing_s(), self._ends_early(), self._rules.damaged
        has_holes = self._longest_hole_s >= _NOTED_HOLE_S
        if has_holes and policy is not Damaged.REFUSE:
            self._rules.note(
                f"{self._rules.label} has holes of up to {self._longest_hole_s:.1f} s in its audio; they count as silence"
            )
        if not missing_s and not ends_early and not (has_holes and policy is Damaged.REFUSE):
            return
        is_mostly_broken = missing_s > self._decoded_s
        if policy is Damaged.REFUSE or (policy is Damaged.SKIP and (ends_early or is_mostly_broken)):
            raise InputError(self._refusal()) from self._error
        missing = f"about {max(missing_s, 0.1):.1f} s" if missing_s else "its end"
        self._rules.note(f"{self._rules.label} is damaged: {missing} could not be decoded")

    def _missing_s(self) -> float:
        """Return how much of the audio is missing, as far as that is known."""
        if self._stated_s is None:
            return self._lost_s + self._pending_s
        short_s = self._stated_s - self._decoded_s - self._silence_s
        return max(self._lost_s, short_s if short_s > self._slack_s else 0.0)

    def _ends_early(self) -> bool:
        """Return whether the end of the audio is missing: its last packet is cut off or broken, or its header states more.

        Old taggers leave garbage after the last frame: an error there is ignored where no audio is missing.
        """
        if self._stated_s is None:
            return self._is_cut or self._pending_s > 0 or self._failed
        done_s = self._decoded_s + self._silence_s + self._lost_s
        if self._end_s is not None:
            done_s = max(done_s, self._end_s - self._start_s)
        return self._is_cut or done_s < self._stated_s - self._slack_s

    @property
    def _cause(self) -> str:
        return "" if self._error is None else f" ({error_text(self._error)})"

    @property
    def _slack_s(self) -> float:
        return _ROUNDING_S if self._codec.startswith(_EXACT_CODECS) else PRIMING_S

    def _refusal(self) -> str:
        decoded_s, stated_s = self._decoded_s, self._stated_s
        is_shorter = stated_s is not None and decoded_s < stated_s - _ROUNDING_S
        stated = f", its header states {stated_s:.1f} s" if is_shorter else ""
        what = f"only {decoded_s:.1f} s can be decoded{stated}{self._cause}"
        how = "" if self._rules.damaged is Damaged.REFUSE else ", or take what is left with --allow-damaged"
        return f"{self._rules.label} is damaged: {what}; get a whole copy of it{how}"


def check_frame(frame: AudioFrame, label: str) -> None:
    """Refuse a frame of a rate, a number of channels or a sample format that is not supported.

    Raises:
        InputError: it is refused.
    """
    n_channels = frame.layout.nb_channels
    if not MIN_RATE_HZ <= frame.sample_rate <= MAX_RATE_HZ:
        raise InputError(
            f"{label} has a sample rate of {frame.sample_rate} Hz, "
            f"want {MIN_RATE_HZ} to {MAX_RATE_HZ}; check where it comes from"
        )
    if not 1 <= n_channels <= MAX_CHANNELS:
        raise InputError(f"{label} has {n_channels} channels, want 1 to {MAX_CHANNELS}; {ADVICE}")
    if frame.format.name not in format_dtypes:
        raise InputError(
            f"{label} has the sample format {frame.format.name}, which is not supported; {ADVICE}"
        )


def read_packets(container: InputContainer, stream: AudioStream) -> Iterator["Packet[AudioStream]"]:
    """Yield the packets of a track; the last one is empty.

    Where another stream starts midway, PyAV looks for its last packet after those of this track, and fails.
    """
    with suppress(IndexError):
        yield from container.demux(stream)


def has_times(container: InputContainer, stream: AudioStream) -> bool:
    """Return whether the timestamps of frames can show a hole."""
    kind = container.format.name
    is_wrong = kind == _FORMAT_WITH_WRONG_TIMES_OF_FLAC and stream.codec_context.name == "flac"
    return kind != _FORMAT_WITHOUT_TIMES and not is_wrong


def header_duration_s(container: InputContainer, stream: AudioStream) -> float | None:
    """Return the duration that the header states; None if it is unknown or an estimate."""
    kind = container.format.name
    # The header of an MP3 that states the encoder's delay states the duration too.
    is_stated = kind in _FORMATS_WITH_DURATION or (kind == "mp3" and bool(stream.start_time))
    if is_stated and stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if kind == "matroska,webm" and len(container.streams) == 1 and container.duration is not None:
        return container.duration / av.time_base
    return None


def _padded_pcm_decoder(stream: AudioStream) -> AudioCodecContext:
    decoder = AudioCodecContext.create("pcm_s32le", "r")
    decoder.sample_rate, decoder.layout = stream.sample_rate, stream.layout
    return decoder


def _packet_s(packet: "Packet[AudioStream]") -> float:
    return float(packet.duration * packet.time_base) if packet.duration and packet.time_base else 0.0


def _is_mp3_header(codec: str, packet: "Packet[AudioStream]") -> bool:
    """Return whether a packet holds tags or a table of contents, no audio."""
    is_end = codec.startswith("mp3") and bytes(packet).startswith(_MP3_END_TAGS)
    return is_end or _starts_mp3(codec, packet)


def _starts_mp3(codec: str, packet: "Packet[AudioStream]") -> bool:
    """Return whether a packet is the start of a further MP3, joined to the first."""
    start = bytes(packet)[:_MP3_TABLE_WITHIN_BYTES] if codec.startswith("mp3") else b""
    return start.startswith(_MP3_START_TAG) or any(table in start for table in _MP3_TABLES)
