"""Streams of every kind give their audio at once, in full, and end when they are stopped."""

import io
import os
import sys
import threading
import time
import wave as wave_files
from collections.abc import Iterator
from pathlib import Path
from struct import pack
from typing import IO

import av
import numpy as np
import pytest
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from numpy.typing import NDArray

from sottovoce.errors import InputError, SpecError
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave, ignore
from sottovoce.runtime.live.pipe import Pipe, RawFormat
from sottovoce.runtime.live.sources import FileSource, StreamSource, open_audio

SECONDS = 2.0
UNKNOWN_SIZES = (0, 0x7FFFFFA4, 0xFFFFFFFF)
"""In the header of a WAV that Python, arecord and ffmpeg write to a pipe."""

LONGEST_S = 20.0
"""Nothing here takes a second; the rest is for a busy machine."""


def tone(rate_hz: int = SAMPLE_RATE_HZ, seconds: float = SECONDS) -> NDArray[np.int16]:
    times = np.arange(round(rate_hz * seconds)) / rate_hz
    return (8000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)


def container(kind: str, codec: str, rate_hz: int = SAMPLE_RATE_HZ, seconds: float = SECONDS) -> bytes:
    """Return a tone in a container, as FFmpeg writes it."""
    file = io.BytesIO()
    options = {"id3v2_version": "0", "write_xing": "0"} if kind == "mp3" else {}
    with av.open(file, "w", format=kind, options=options) as out:
        stream = out.add_stream(codec, rate=rate_hz, layout="mono")
        assert isinstance(stream, AudioStream)
        frame = av.AudioFrame.from_ndarray(tone(rate_hz, seconds)[None], format="s16", layout="mono")
        frame.sample_rate = rate_hz
        size = stream.codec_context.frame_size or 1024
        resampler = AudioResampler(format=stream.format, layout="mono", rate=rate_hz, frame_size=size)
        for each in [*resampler.resample(frame), *resampler.resample(None), None]:
            out.mux(stream.encode(each))
    return file.getvalue()


def wav(samples: bytes, size: int, *, after: bytes = b"", extensible: bool = False) -> bytes:
    head = pack("<HHIIHH", 0xFFFE if extensible else 1, 1, 16_000, 32_000, 2, 16)
    if extensible:
        head += pack("<HHI", 22, 16, 4) + bytes.fromhex("0100000000001000800000aa00389b71")
    body = b"WAVEfmt " + pack("<I", len(head)) + head + b"LIST\x04\0\0\0INFO" + b"data" + pack("<I", size)
    return b"RIFF" + pack("<I", size) + body + samples + after


@pytest.fixture
def pipe() -> Iterator[tuple[Pipe, IO[bytes]]]:
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb", buffering=0) as file:
        yield Pipe(reader), file


def feed(data: bytes, raw: RawFormat | None = None, notes: list[str] | None = None) -> Wave:
    """Return the audio of a pipe that gives `data`, as a whole."""
    reader, writer = os.pipe()

    n_written: list[int] = []

    def write() -> None:
        with os.fdopen(writer, "wb", buffering=0) as file:
            n_written.append(file.write(data))

    thread = threading.Thread(target=write)
    thread.start()
    note = ignore if notes is None else notes.append
    try:
        blocks = list(StreamSource(Pipe(reader), "the pipe", raw).blocks(note))
    finally:
        thread.join(LONGEST_S)
    assert n_written == [len(data)]
    return np.concatenate([np.zeros(0, np.float32), *blocks])


def matches(found: Wave, slack_s: float = 0.0) -> bool:
    """Return whether it is the tone, but for the silence with which codecs start and end."""
    power = float(np.std(found[SAMPLE_RATE_HZ // 4 : -SAMPLE_RATE_HZ // 4]))
    expected = 8000 / 32768 / np.sqrt(2)
    is_long = abs(len(found) / SAMPLE_RATE_HZ - SECONDS) <= slack_s
    return is_long and abs(power / expected - 1) < 0.1


def test_raw_samples_are_those_that_were_written() -> None:
    np.testing.assert_array_equal(feed(tone().tobytes()) * 32768, tone())


def test_raw_samples_that_start_like_an_mp3_are_raw() -> None:
    samples = np.concatenate([np.frombuffer(b"\xff\xfb\x90\x00", np.int16), tone()])
    np.testing.assert_array_equal(feed(samples.tobytes()) * 32768, samples)


def test_raw_samples_of_two_channels_and_another_rate_become_one_channel_of_16_khz() -> None:
    both = np.repeat(tone(44_100)[:, None], 2, axis=1)
    assert matches(feed(both.tobytes(), RawFormat(rate_hz=44_100, n_channels=2)), 0.001)


def test_a_silent_channel_beside_speech_leaves_the_speech() -> None:
    both = np.stack([tone(), np.zeros_like(tone())], axis=1)
    assert matches(2 * feed(both.tobytes(), RawFormat(n_channels=2)))


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize("size", UNKNOWN_SIZES)
def test_a_wav_that_was_written_to_a_pipe_is_read_to_its_end(size: int, extensible: bool) -> None:  # noqa: FBT001
    found = feed(wav(tone().tobytes(), size, extensible=extensible))
    np.testing.assert_array_equal(found * 32768, tone())


def test_what_follows_the_samples_of_a_wav_is_not_audio() -> None:
    samples = tone().tobytes()
    found = feed(wav(samples, len(samples), after=b"LIST\x04\0\0\0INFO" + bytes(range(256)) * 8))
    np.testing.assert_array_equal(found * 32768, tone())


@pytest.mark.parametrize(
    ("kind", "codec", "rate_hz"),
    [
        ("wav", "pcm_s24le", 48_000),
        ("wav", "pcm_f32le", 16_000),
        ("wav", "adpcm_ms", 16_000),
        ("flac", "flac", 16_000),
        ("ogg", "libopus", 48_000),
        ("webm", "libopus", 48_000),
        ("mp3", "libmp3lame", 22_050),
        ("adts", "aac", 16_000),
        ("mpegts", "aac", 16_000),
        ("matroska", "pcm_s16le", 16_000),
        ("aiff", "pcm_s16be", 16_000),
    ],
)
def test_a_container_is_recognised_by_its_first_bytes(kind: str, codec: str, rate_hz: int) -> None:
    assert matches(feed(container(kind, codec, rate_hz)), 0.2)


def test_a_rate_that_is_given_for_a_container_is_ignored_with_a_note() -> None:
    notes: list[str] = []
    assert matches(feed(container("flac", "flac"), RawFormat(rate_hz=48_000), notes))
    assert notes == ["the pipe is not raw PCM: its own rate and channels are used"]


def test_a_rate_that_changes_midway_changes_nothing() -> None:
    found = feed(container("adts", "aac", 16_000, 1.0) + container("adts", "aac", 44_100, 1.0))
    assert matches(found, 0.2)


def test_a_damaged_part_is_silence_with_one_note() -> None:
    data = bytearray(container("adts", "aac", seconds=8.0))
    for at in (len(data) // 3, len(data) // 2):
        data[at : at + 300] = b"\x55" * 300
    notes: list[str] = []
    found = feed(bytes(data), notes=notes)
    assert notes == ["the pipe is damaged: parts that cannot be decoded are left out"]
    assert len(found) / SAMPLE_RATE_HZ == pytest.approx(8.0, abs=0.5)


def test_a_hole_in_the_timestamps_is_silence() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as out:
        stream = out.add_stream("pcm_s16le", rate=SAMPLE_RATE_HZ, layout="mono")
        for start_s in (0, 3):
            frame = av.AudioFrame.from_ndarray(tone(seconds=1.0)[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts = SAMPLE_RATE_HZ, start_s * SAMPLE_RATE_HZ
            out.mux(stream.encode(frame))
    found = feed(file.getvalue())
    assert len(found) / SAMPLE_RATE_HZ == pytest.approx(4.0, abs=0.01)
    assert not found[SAMPLE_RATE_HZ + 200 : 3 * SAMPLE_RATE_HZ - 200].any()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "holds no audio: 0 bytes"),
        (b"<!doctype html><html><body>404</body></html>", "is text, want audio"),
        (b"fLaC" + bytes(4000), "is not audio that FFmpeg can read"),
    ],
)
def test_what_is_no_audio_is_one_line(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        feed(data)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("head", [b"", wav(b"", 0xFFFFFFFF)])
def test_a_tenth_of_a_second_is_given_before_more_arrives(head: bytes, pipe: tuple[Pipe, IO[bytes]]) -> None:
    reader, file = pipe
    file.write(head + tone(seconds=0.2).tobytes())
    source = StreamSource(reader, "the pipe")
    n_samples = 0
    for block in source.blocks(ignore):  # blocks the test for ever where FFmpeg waits for more
        n_samples += len(block)
        if n_samples >= SAMPLE_RATE_HZ // 10:
            break
    assert n_samples < SAMPLE_RATE_HZ


@pytest.mark.parametrize("data", [b"", tone().tobytes(), container("flac", "flac")[:9000]])
def test_a_stream_that_waits_ends_when_it_is_stopped(data: bytes, pipe: tuple[Pipe, IO[bytes]]) -> None:
    reader, file = pipe
    file.write(data)
    source = StreamSource(reader, "the pipe")
    threading.Timer(0.3, source.stop).start()
    started = time.monotonic()
    n_samples = sum(map(len, source.blocks(ignore)))
    assert time.monotonic() - started < LONGEST_S
    assert bool(n_samples) == bool(data)
    source.stop()


def test_a_named_pipe_that_nothing_writes_to_is_stopped_too(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    source = open_audio(str(tmp_path / "fifo"))
    threading.Timer(0.3, source.stop).start()
    assert list(source.blocks(ignore)) == []


def test_a_named_pipe_waits_for_its_writer(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    source = open_audio(str(path))
    writer = threading.Timer(0.3, lambda: path.write_bytes(tone().tobytes()))
    writer.start()
    assert matches(np.concatenate(list(source.blocks(ignore))))
    writer.join()


def test_a_file_is_followed_while_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "growing.wav"
    samples = tone().tobytes()
    path.write_bytes(wav(samples[:8000], 8000))
    source = open_audio(str(path), follows=True)
    blocks = source.blocks(ignore)
    found = [next(blocks)]
    with path.open("ab") as file:
        file.write(samples[8000:])
    while sum(map(len, found)) < len(samples) // 2 - 1024:
        found.append(next(blocks))
    source.stop()
    np.testing.assert_array_equal(np.concatenate([*found, *blocks]) * 32768, tone())


def test_a_whole_file_is_read_with_seeking(tmp_path: Path) -> None:
    path = tmp_path / "talk.m4a"
    path.write_bytes(container("ipod", "aac"))
    source = open_audio(str(path))
    assert isinstance(source, FileSource)
    assert matches(np.concatenate(list(source.blocks(ignore))), 0.2)


def test_a_file_of_raw_samples_is_read_where_its_rate_is_given(tmp_path: Path) -> None:
    path = tmp_path / "talk.pcm"
    path.write_bytes(tone(48_000).tobytes())
    assert matches(
        np.concatenate(list(open_audio(str(path), RawFormat(rate_hz=48_000)).blocks(ignore))), 0.001
    )


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (RawFormat(rate_hz=100), "--rate is 100, want 4000 to 768000 Hz"),
        (RawFormat(n_channels=65), "--channels is 65, want 1 to 64"),
    ],
)
def test_rates_and_channels_that_no_recorder_has_are_refused(raw: RawFormat, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        open_audio("-", raw)


@pytest.mark.parametrize(
    ("name", "message"), [("missing.wav", "does not exist"), ("", "is neither a file nor a pipe")]
)
def test_a_path_that_is_no_audio_is_one_line(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        open_audio(str(tmp_path / name))


def test_a_closed_standard_input_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="standard input is closed or a terminal, want audio"):
        open_audio("-")


def test_python_writes_a_wav_to_a_pipe_that_is_read() -> None:
    """`wave` cannot go back in a pipe either."""
    file = io.BytesIO()
    with wave_files.open(file, "wb") as out:
        out.setparams((1, 2, SAMPLE_RATE_HZ, 0, "NONE", ""))
        out.writeframesraw(tone().tobytes())
        unfinished = file.getvalue()
    np.testing.assert_array_equal(feed(unfinished) * 32768, tone())
