"""Many channels, listed orders of channels, wrong timestamps and streams that start late, made with FFmpeg."""

import io
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.stream import AudioStream
from av.container import OutputContainer

from sottovoce.errors import InputError
from sottovoce.runtime.audio.decode import Wave, decode_audio
from tests.runtime.test_audio import TONE_HZ, TONE_PEAK, Encoding, encode, pitch_hz, tone
from tests.runtime.test_damaged_audio import seconds

LENGTH_S = 1.0


def encode_channels(
    container: str, codec: str, layout: str, n_channels: int, *, rate_hz: int = 48_000, n_tracks: int = 1
) -> bytes:
    """Encode a tone that is the same in each channel of each track."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        for track in [output.add_stream(codec, rate=rate_hz, layout=layout) for _ in range(n_tracks)]:
            assert isinstance(track, AudioStream)
            fill(output, track, layout, n_channels, rate_hz)
    return file.getvalue()


def fill(output: OutputContainer, audio: AudioStream, layout: str, n_channels: int, rate_hz: int) -> None:
    packed = np.repeat(tone(rate_hz, duration_s=LENGTH_S), n_channels)[None]
    frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
    frame.sample_rate, frame.pts = rate_hz, 0
    size = audio.codec_context.frame_size or 1024
    fit = av.AudioResampler(format=audio.format.name, layout=layout, rate=rate_hz, frame_size=size)
    for piece in [*fit.resample(frame), *fit.resample(None), None]:
        output.mux(audio.encode(piece))


def is_tone(wave: Wave) -> bool:
    middle = wave[4000:-4000]
    is_loud = abs(float(np.abs(middle).max()) - TONE_PEAK) < 0.05
    return abs(seconds(wave) - LENGTH_S) < 0.1 and abs(pitch_hz(middle) - TONE_HZ) < 2 and is_loud


@pytest.mark.parametrize(
    ("container", "codec", "layout", "n_channels"),
    [
        ("wav", "pcm_s16le", "7.1", 8),
        ("flac", "flac", "7.1", 8),
        ("matroska", "libopus", "7.1", 8),
        ("matroska", "wavpack", "7.1.4", 12),
        ("wav", "pcm_f32le", "24 channels", 24),
    ],
)
def test_a_film_with_eight_channels_and_more_is_decoded(
    container: str, codec: str, layout: str, n_channels: int
) -> None:
    assert is_tone(decode_audio(encode_channels(container, codec, layout, n_channels)))


def test_a_track_of_eight_channels_beside_another_is_decoded() -> None:
    assert is_tone(decode_audio(encode_channels("matroska", "libopus", "7.1", 8, n_tracks=2)))


def test_files_that_list_the_order_of_their_channels_do_not_crash(tmp_path: Path) -> None:
    for container in ("caf", "aiff", "mov"):
        content = encode_channels(container, "pcm_s16be", "7.1", 8, rate_hz=16_000)
        (tmp_path / f"speech.{container}").write_bytes(content)
    code = """
import sys
from pathlib import Path
from sottovoce.runtime.audio.decode import decode_audio
for path in sorted(Path(sys.argv[1]).iterdir()) * 20:
    assert abs(decode_audio(path).size - 16_000) < 10, path
print("decoded")
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "decoded\n"), done.stderr


@pytest.mark.parametrize(
    ("container", "codec", "rate_hz"),
    [
        ("asf", "flac", 8_000),
        ("asf", "flac", 16_000),
        ("avi", "g722", 32_000),
        ("avi", "libopencore_amrnb", 8_000),
    ],
)
def test_wrong_timestamps_insert_no_silence(container: str, codec: str, rate_hz: int) -> None:
    content = encode(tone(rate_hz), Encoding(container=container, codec=codec), rate_hz=rate_hz)
    wave = decode_audio(content)
    assert seconds(wave) == pytest.approx(2.0, abs=0.03)
    assert pitch_hz(wave) == pytest.approx(TONE_HZ, abs=1)


def flv_tag(kind: int, time_ms: int, content: bytes) -> bytes:
    head = bytes([kind]) + len(content).to_bytes(3, "big") + time_ms.to_bytes(3, "big") + bytes(4)
    return head + content + (len(head) + len(content)).to_bytes(4, "big")


def test_a_picture_that_starts_after_a_minute_does_not_end_the_transcript() -> None:
    duration_s = 60.0
    audio = Encoding(container="flv", codec="libmp3lame")
    sound = encode(tone(22_050, duration_s=duration_s), audio, rate_hz=22_050)
    picture = flv_tag(9, 59_900, b"\x12" + bytes(20))
    wave = decode_audio(sound + picture)
    assert seconds(wave) == pytest.approx(duration_s, abs=0.1)


def test_audio_too_short_to_be_detected_is_said_to_be_undecodable() -> None:
    content = encode(tone(48_000, duration_s=0.05), Encoding(container="mpegts", codec="aac"))
    with pytest.raises(InputError, match=r"^x\.ts cannot be decoded .*; get a whole copy of it$"):
        decode_audio(content, name="x.ts")
