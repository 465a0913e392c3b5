"""Audio files that lie, break off or want too much: sixty of them, the same bytes each time.

A file is made from parts that are right, with one thing wrong in it, so that the parser gets as far as that.
"""

import io
import os
import re
import struct
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import av
import numpy as np

from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from tests.support.checksums import flac_crc8, flac_crc16, ogg_crc32
from tests.support.tones import tone

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import OutputContainer

Write = Callable[[Path], None]
"""Puts a hostile thing where a path says."""

HUGE = 80_000_000
FLAC_BOMB_FRAMES = 2_100
FLAC_BLOCK = 65_535
FLAC_BOMB_RATE_HZ = 4_000
OPUS_BOMB_PAGES = 1_200
OPUS_RATE_HZ = 48_000
OPUS_SILENCE = bytes([0x1B, 0x02])
"""120 ms: two empty frames of SILK in narrow band."""

PLAYLIST_TARGET = "file:///etc/passwd"


def _speech() -> bytes:
    return (tone(1.0) * 32767).astype("<i2").tobytes()


def _chunk(name: bytes, content: bytes, *, size: int | None = None) -> bytes:
    return name + struct.pack("<I", len(content) if size is None else size) + content


def _format(
    *, kind: int = 1, channels: int = 1, rate_hz: int = 16_000, align: int = 2, bits: int = 16
) -> bytes:
    byte_rate = (rate_hz * align) & 0xFFFFFFFF
    return _chunk(b"fmt ", struct.pack("<HHIIHH", kind, channels, rate_hz, byte_rate, align, bits))


def _wav(
    *,
    form: bytes | None = None,
    before: bytes = b"",
    samples: bytes | None = None,
    data_size: int | None = None,
    riff_size: int | None = None,
) -> bytes:
    content = _speech() if samples is None else samples
    body = b"WAVE" + before + (form or _format()) + _chunk(b"data", content, size=data_size)
    return _chunk(b"RIFF", body, size=riff_size)


def _rf64() -> bytes:
    sizes = _chunk(b"ds64", struct.pack("<QQQI", 1 << 63, (1 << 63) + 5, 1 << 62, 0))
    body = b"WAVE" + sizes + _format() + _chunk(b"data", _speech(), size=0xFFFFFFFF)
    return _chunk(b"RF64", body, size=0xFFFFFFFF)


def wav_title_bomb() -> bytes:
    """Return a WAV whose title says to be 2 GB long."""
    title = _chunk(b"INAM", b"x", size=0x7FFFFFF0)
    return _wav(before=_chunk(b"LIST", b"INFO" + title, size=0x7FFFFFF8))


def _floats(value: float) -> bytes:
    samples = tone(0.5)
    samples[1000] = value
    return _wav(form=_format(kind=3, align=4, bits=32), samples=samples.astype("<f4").tobytes())


def _encode(
    container: str, codec: str, options: Mapping[str, str] | None = None, *, streams: int = 1
) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=container, options=dict(options or {})) as out:
        tracks = [
            cast("AudioStream", out.add_stream(codec, rate=48_000, layout="mono")) for _ in range(streams)
        ]
        for number, track in enumerate(tracks):
            _fill(out, track, 220.0 + 110 * number)
    return file.getvalue()


def _fill(out: "OutputContainer", stream: "AudioStream", pitch_hz: float) -> None:
    wave = np.repeat(tone(1.0, pitch_hz=pitch_hz), 48_000 // SAMPLE_RATE_HZ)[None]
    frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = 48_000, 0, Fraction(1, 48_000)
    fit = av.AudioResampler(
        format=stream.format.name,
        layout="mono",
        rate=48_000,
        frame_size=stream.codec_context.frame_size or 1024,
    )
    for piece in [*fit.resample(frame), *fit.resample(None)]:
        out.mux(stream.encode(piece))
    out.mux(stream.encode(None))


def _film() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        video = out.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for _ in range(10):
            out.mux(video.encode(av.VideoFrame(64, 48, "yuv420p")))
        out.mux(video.encode(None))
    return file.getvalue()


def _patched(data: bytes, at: int, content: bytes) -> bytes:
    return data[:at] + content + data[at + len(content) :]


def _flac_header(*, rate_hz: int, n_samples: int) -> bytes:
    packed = rate_hz << 44 | 0 << 41 | 15 << 36 | n_samples
    info = struct.pack(">HH", FLAC_BLOCK, FLAC_BLOCK) + bytes(6) + packed.to_bytes(8, "big") + bytes(16)
    return b"fLaC\x80" + len(info).to_bytes(3, "big") + info


def _flac_frame(number: int) -> bytes:
    """Return 65535 samples of silence in some 14 bytes."""
    coded = chr(number).encode("utf-8", "surrogatepass")
    # Fixed blocks, size in 16 bits, rate of the header; one channel, 16 bits.
    head = b"\xff\xf8\x70\x08" + coded + struct.pack(">H", FLAC_BLOCK - 1)
    frame = head + bytes([flac_crc8(head)]) + b"\x00\x00\x00"
    return frame + struct.pack(">H", flac_crc16(frame))


def flac_bomb(*, n_samples: int = 0) -> bytes:
    """Return 9.5 hours of silence in 30 kB; the header may state how long it is, 0 for unknown."""
    frames = b"".join(_flac_frame(number) for number in range(FLAC_BOMB_FRAMES))
    return _flac_header(rate_hz=FLAC_BOMB_RATE_HZ, n_samples=n_samples) + frames


def _flac() -> bytes:
    return _encode("flac", "flac")


def _flipped(data: bytes, n_flips: int) -> bytes:
    rng = np.random.default_rng(len(data))
    damaged = bytearray(data)
    for at in rng.integers(len(data) // 4, len(data), n_flips):
        damaged[at] ^= 0x55
    return bytes(damaged)


def _flac_info(*, rate_hz: int | None = None, n_samples: int | None = None) -> bytes:
    whole = _flac()
    packed = int.from_bytes(whole[18:26], "big")
    if rate_hz is not None:
        packed = packed & ((1 << 44) - 1) | rate_hz << 44
    if n_samples is not None:
        packed = packed >> 36 << 36 | n_samples
    return _patched(whole, 18, packed.to_bytes(8, "big"))


def _mp3(frames_header: bytes) -> bytes:
    """Return an MP3 whose first frame states a number of frames."""
    bare = _encode("mp3", "libmp3lame", {"write_xing": "0", "id3v2_version": "0"})
    frame = bytearray(384)
    frame[:4] = bare[:4]
    frame[4 + 17 : 4 + 17 + len(frames_header)] = frames_header
    if frames_header.startswith(b"VBRI"):
        frame[4 + 17 : 4 + 17 + len(frames_header)] = bytes(len(frames_header))
        frame[4 + 32 : 4 + 32 + len(frames_header)] = frames_header
    return bytes(frame) + bare


def _ogg_page(packets: list[bytes], *, sequence: int, granule: int, flags: int = 0) -> bytes:
    lacing = b"".join(b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255]) for packet in packets)
    head = struct.pack("<4sBBqIII", b"OggS", 0, flags, granule, 7, sequence, 0) + bytes([len(lacing)])
    page = head + lacing + b"".join(packets)
    return _patched(page, 22, struct.pack("<I", ogg_crc32(page)))


def _opus_head(comments: bytes = bytes(4)) -> bytes:
    head = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, 0, OPUS_RATE_HZ, 0, 0)
    tags = b"OpusTags" + struct.pack("<I", 0) + comments
    return _ogg_page([head], sequence=0, granule=0, flags=2) + _ogg_page([tags], sequence=1, granule=0)


def opus_bomb() -> bytes:
    """Return ten hours of silence in less than 1 MB, as its last page states."""
    per_page = 255 * 120 * OPUS_RATE_HZ // 1000
    pages = [
        _ogg_page([OPUS_SILENCE] * 255, sequence=2 + number, granule=per_page * (number + 1))
        for number in range(OPUS_BOMB_PAGES)
    ]
    return _opus_head() + b"".join(pages)


def _ogg() -> bytes:
    return _encode("ogg", "libopus")


def _ogg_with_bad_sums() -> bytes:
    whole = bytearray(_ogg())
    for match in list(re.finditer(b"OggS", bytes(whole)))[2:]:
        whole[match.start() + 22] ^= 0xFF
    return bytes(whole)


def _ogg_with_granule(granule: int) -> bytes:
    whole = _ogg()
    at = whole.rindex(b"OggS")
    page = _patched(_patched(whole[at:], 6, struct.pack("<q", granule)), 22, bytes(4))
    return whole[:at] + _patched(page, 22, struct.pack("<I", ogg_crc32(page)))


def _ogg_with_comments() -> bytes:
    """Return an Opus file whose comments claim to be four billion."""
    return _opus_head(struct.pack("<II", 0xFFFFFFFF, 0xFFFFFFF0)) + _ogg()[100:]


def _mp4(**options: str) -> bytes:
    return _encode("mp4", "aac", options)


def _box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + name + content


def _mp4_with(**fields: tuple[int, bytes]) -> bytes:
    """Return an MP4 with bytes put at an offset behind the names of boxes."""
    whole = _mp4()
    for name, (offset, content) in fields.items():
        whole = _patched(whole, whole.index(name.encode()) + 4 + offset, content)
    return whole


def mp4_sizes_bomb() -> bytes:
    """Return an MP4 of a second that says to have 80 million samples of one byte, in one chunk."""
    huge = struct.pack(">I", HUGE)
    return _mp4_with(
        stsz=(4, struct.pack(">II", 1, HUGE)), stsc=(12, huge), stts=(4, struct.pack(">III", 1, HUGE, 1024))
    )


def mp4_fragment_bomb() -> bytes:
    """Return a fragmented MP4, one of whose fragments says to have 80 million samples and nothing about them."""
    whole = _mp4(movflags="frag_keyframe+empty_moov+default_base_moof", frag_duration="200000")
    return _patched(whole, whole.index(b"trun") + 4, struct.pack(">II", 0x000001, HUGE))


def _mp4_nested() -> bytes:
    nested = b""
    for _ in range(3000):
        nested = _box(b"moov", nested)
    return _mp4()[:32] + nested


def _mp4_of_100_hours() -> bytes:
    # mvhd and mdhd, version 0: two dates, time scale, duration.
    claim = struct.pack(">I", 360_000_000)
    return _mp4_with(mvhd=(16, claim), mdhd=(16, claim), stts=(8, struct.pack(">I", HUGE)))


def _matroska_in_circles() -> bytes:
    """Return a Matroska file whose index of parts names only itself, and whose sizes are unknown."""
    whole = bytearray(_encode("matroska", "flac"))
    for match in list(re.finditer(rb"\x53\xab\x84(....)\x53\xac[\x81-\x88]", bytes(whole), re.DOTALL)):
        whole[match.start(1) : match.end(1)] = b"\x11\x4d\x9b\x74"
        size = whole[match.end() - 1] & 0x0F
        whole[match.end() : match.end() + size] = bytes(size)
    return bytes(whole)


def _matroska_of_unknown_sizes() -> bytes:
    whole = _encode("matroska", "flac", {"live": "1"})
    at = whole.index(b"\x1f\x43\xb6\x75")
    return whole[:at] + b"\x1f\x43\xb6\x75\x01" + b"\xff" * 7 + whole[at + 12 : at + 400]


def _adts() -> bytes:
    rng = np.random.default_rng(5)
    return b"".join(b"\xff\xf1\x50\x80\x20\x1f\xfc" + rng.bytes(249) for _ in range(400))


def _aiff() -> bytes:
    common = struct.pack(">hIh", 0, 0xFFFFFFFF, 16) + b"\x7f\xff" + b"\xff" * 8
    sound = struct.pack(">II", 0xFFFFFFF0, 0) + _speech()
    body = (
        b"AIFF" + b"COMM" + struct.pack(">I", 18) + common + b"SSND" + struct.pack(">I", 0x7FFFFFFF) + sound
    )
    return b"FORM" + struct.pack(">I", 0xFFFFFFFF) + body


def _png() -> bytes:
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 30_000, 30_000, 8, 6, 0, 0, 0)
    return head + bytes(4) + struct.pack(">I4s", 20, b"IDAT") + bytes(24)


def _zip() -> bytes:
    return b"PK\x03\x04\x14\x00\x00\x00\x08\x00" + bytes(20) + b"a.wav" + _wav()


def _hls() -> bytes:
    lines = ("#EXTM3U", "#EXT-X-TARGETDURATION:10", "#EXTINF:10,", PLAYLIST_TARGET, "#EXTINF:10,")
    return "\n".join((*lines, "http://127.0.0.1:9/a.ts", "#EXT-X-ENDLIST", "")).encode()


def _concat() -> bytes:
    return f"ffconcat version 1.0\nfile '{PLAYLIST_TARGET}'\nfile http://127.0.0.1:9/a.wav\n".encode()


SESSION = b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n"


def _of(make: Callable[[], bytes]) -> Write:
    return lambda path: _put(path, make())


def _put(path: Path, content: bytes) -> None:
    path.write_bytes(content)


HOSTILE_AUDIO: Mapping[str, Write] = {
    "wav-data-size-0.wav": _of(lambda: _wav(data_size=0)),
    "wav-data-size-max.wav": _of(lambda: _wav(data_size=0xFFFFFFFF)),
    "wav-data-larger-than-file.wav": _of(lambda: _wav(data_size=1_000_000, riff_size=1_000_036)),
    "wav-data-size-negative.wav": _of(lambda: _wav(data_size=0x80000001, riff_size=0x80000025)),
    "wav-no-channels.wav": _of(lambda: _wav(form=_format(channels=0))),
    "wav-255-channels.wav": _of(lambda: _wav(form=_format(channels=255, align=510))),
    "wav-65535-channels.wav": _of(lambda: _wav(form=_format(channels=65_535, align=65_534))),
    "wav-rate-0.wav": _of(lambda: _wav(form=_format(rate_hz=0))),
    "wav-rate-1.wav": _of(lambda: _wav(form=_format(rate_hz=1))),
    "wav-rate-4e9.wav": _of(lambda: _wav(form=_format(rate_hz=4_000_000_000))),
    "wav-0-bits.wav": _of(lambda: _wav(form=_format(bits=0))),
    "wav-1-bit.wav": _of(lambda: _wav(form=_format(bits=1))),
    "wav-3-bits.wav": _of(lambda: _wav(form=_format(bits=3, align=1))),
    "wav-64-bits.wav": _of(lambda: _wav(form=_format(bits=64, align=8))),
    "wav-block-of-0-bytes.wav": _of(lambda: _wav(form=_format(align=0))),
    "wav-cut-in-its-format.wav": _of(lambda: _wav()[:27]),
    "wav-cut-before-its-data.wav": _of(lambda: _wav()[:42]),
    "wav-100000-chunks.wav": _of(lambda: _wav(before=_chunk(b"LIST", b"INFO") * 100_000)),
    "wav-rf64-of-exabytes.wav": _of(_rf64),
    "wav-bext-of-4-gb.wav": _of(lambda: _wav(before=_chunk(b"bext", bytes(602), size=0xFFFFFFF0))),
    "wav-title-of-2-gb.wav": _of(wav_title_bomb),
    "wav-nan.wav": _of(lambda: _floats(float("nan"))),
    "wav-infinite.wav": _of(lambda: _floats(float("inf"))),
    "wav-claims-hours.wav": _of(
        lambda: _wav(samples=_speech()[:400], data_size=0x60000000, riff_size=0x60000024)
    ),
    "wav-silence.wav": _of(lambda: _wav(samples=bytes(64_000))),
    "flac-of-68-billion-samples.flac": _of(lambda: _flac_info(n_samples=(1 << 36) - 1)),
    "flac-rate-0.flac": _of(lambda: _flac_info(rate_hz=0)),
    "flac-flipped-bytes.flac": _of(lambda: _flipped(_flac(), 40)),
    "flac-bomb.flac": _of(flac_bomb),
    "flac-bomb-that-says-so.flac": _of(lambda: flac_bomb(n_samples=FLAC_BOMB_FRAMES * FLAC_BLOCK)),
    "mp3-xing-of-2-billion-frames.mp3": _of(lambda: _mp3(b"Xing" + struct.pack(">II", 1, 0x7FFFFFFF))),
    "mp3-vbri-of-2-billion-frames.mp3": _of(
        lambda: _mp3(b"VBRI" + struct.pack(">HHHII", 1, 0, 0, 0x7FFFFFFF, 0x7FFFFFFF) + b"\xff" * 8)
    ),
    "mp3-tag-of-256-mb.mp3": _of(lambda: b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + _mp3(b"")),
    "ogg-wrong-checksums.ogg": _of(_ogg_with_bad_sums),
    "ogg-granule-of-a-million-years.ogg": _of(lambda: _ogg_with_granule((1 << 62) + 7)),
    "ogg-4-billion-comments.ogg": _of(_ogg_with_comments),
    "opus-bomb.opus": _of(opus_bomb),
    "mp4-80-million-sizes.m4a": _of(mp4_sizes_bomb),
    "mp4-80-million-in-a-fragment.m4a": _of(mp4_fragment_bomb),
    "mp4-3000-boxes-deep.m4a": _of(_mp4_nested),
    "mp4-100-hours.m4a": _of(_mp4_of_100_hours),
    "aac-garbage.aac": _of(_adts),
    "matroska-in-circles.mka": _of(_matroska_in_circles),
    "matroska-of-unknown-sizes.mka": _of(_matroska_of_unknown_sizes),
    "aiff-lies.aiff": _of(_aiff),
    "au-lies.au": _of(lambda: struct.pack(">4sIIIII", b".snd", 24, 0xFFFFFFFF, 3, 0xFFFFFFFF, 0) + _speech()),
    "several-streams.mka": _of(lambda: _encode("matroska", "flac", streams=3)),
    "picture.wav": _of(_png),
    "archive.wav": _of(_zip),
    "page.mp3": _of(lambda: b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n"),
    "random.mp3": _of(lambda: np.random.default_rng(6).bytes(200_000)),
    "one-byte.wav": _of(lambda: b"R"),
    "empty.wav": _of(lambda: b""),
    "playlist.m3u8": _of(_hls),
    "playlist.ffconcat": _of(_concat),
    "session.sdp": _of(lambda: SESSION),
    "film-without-sound.mp4": _of(_film),
    "folder.wav": Path.mkdir,
    "pipe.wav": os.mkfifo,
    "device.wav": lambda path: path.symlink_to("/dev/zero"),
}
"""By file name: what puts it there."""
