"""Hostile files give audio or a one-line error, quickly and in little memory. `tests/torture` has the long tests."""

import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from sottovoce.errors import InputError, SpecError
from sottovoce.runtime import TranscribeOptions, load
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import DecodeOptions, decode_audio, stated_duration_s, stream_audio
from tests.support.hostile_audio import (
    HOSTILE_AUDIO,
    flac_bomb,
    mp4_fragment_bomb,
    mp4_sizes_bomb,
    opus_bomb,
    wav_title_bomb,
)

BOMB_PEAK_MB = 200


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", HOSTILE_AUDIO)
def test_a_hostile_file_gives_audio_or_a_one_line_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    HOSTILE_AUDIO[name](path)
    stated_duration_s(path)
    n_samples, message = decode_or_refuse(path)
    assert (0 < n_samples < 10 * SAMPLE_RATE_HZ) == (message is None)
    if message is not None:
        assert message.startswith(str(path))
        assert "\n" not in message
        assert ";" in message


def decode_or_refuse(path: Path) -> tuple[int, str | None]:
    try:
        return sum(block.size for block in stream_audio(path)), None
    except InputError as error:
        return 0, str(error)


def test_false_sizes_in_headers_allocate_no_memory(tmp_path: Path) -> None:
    bombs = (mp4_sizes_bomb(), mp4_fragment_bomb(), wav_title_bomb())
    for number, bomb in enumerate(bombs):
        (tmp_path / str(number)).write_bytes(bomb)
    code = """
import sys
from pathlib import Path
from sottovoce.errors import InputError, SpecError
from sottovoce.runtime.audio.decode import decode_audio
for path in Path(sys.argv[1]).iterdir():
    try:
        decode_audio(path)
    except InputError:
        pass
print(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")).split()[1])
"""
    if not Path("/proc/self/status").is_file():
        pytest.skip("needs Linux to measure peak memory")
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True, timeout=60
    )
    assert int(done.stdout) / 1024 < BOMB_PEAK_MB


def test_the_duration_of_compressed_silence_is_limited_by_its_size() -> None:
    bomb = flac_bomb()
    with pytest.raises(
        InputError,
        match=rf"^bomb holds more than 600 s in {len(bomb)} bytes.*allow its length with --max-hours$",
    ):
        for _ in stream_audio(bomb, name="bomb"):
            pass
    with pytest.raises(InputError, match=r"holds more than 600 s.*cut it into pieces$"):
        decode_audio(bomb)


def test_a_bomb_that_states_its_duration_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(InputError, match="holds more than 19010 s"):
        next(stream_audio(opus_bomb()))


def test_max_s_allows_what_looks_like_a_bomb() -> None:
    n_samples = sum(block.size for block in stream_audio(flac_bomb(), DecodeOptions(max_s=10 * 3600)))
    assert n_samples / SAMPLE_RATE_HZ == pytest.approx(34_406, abs=1)


def test_max_duration_s_limits_a_transcription(baseline: Path) -> None:
    wave = np.zeros(2 * SAMPLE_RATE_HZ, np.int16).tobytes()
    header = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x80\x3e\0\0\0\x7d\0\0\2\0\x10\0data" + len(
        wave
    ).to_bytes(4, "little")
    transcriber = load(baseline)
    with pytest.raises(InputError, match=r"is longer than 1\.5 s; cut it into pieces, or allow"):
        transcriber.transcribe(header + wave, TranscribeOptions(max_duration_s=1.5))


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{url}/a.ts\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile {url}/a.wav\n",
        '<?xml version="1.0"?><MPD><Period><BaseURL>{url}/a.mp4</BaseURL></Period></MPD>',
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    ],
    ids=["hls", "concat", "dash", "sdp"],
)
def test_a_playlist_opens_no_connection(tmp_path: Path, text: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        path = tmp_path / "clip.wav"
        path.write_text(text.format(url=f"http://127.0.0.1:{server.getsockname()[1]}"))
        with pytest.raises(InputError, match="is not audio that FFmpeg can read"):
            decode_audio(path)
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize("name", ["pipe.wav", "device.wav"])
def test_pipes_and_devices_are_not_opened(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    HOSTILE_AUDIO[name](path)
    refused = threading.Event()

    def decode() -> None:
        with pytest.raises(InputError, match="is a pipe or a device, want a file; give -"):
            decode_audio(path)
        refused.set()

    threading.Thread(target=decode, daemon=True).start()
    assert refused.wait(10)


def test_audio_in_an_unknown_codec_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    HOSTILE_AUDIO["wav-0-bits.wav"](path)
    with pytest.raises(InputError, match="audio in an unknown codec; convert it"):
        decode_audio(path)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_a_max_duration_of_zero_is_refused(seconds: float) -> None:
    with pytest.raises(SpecError, match=r"max_duration_s is .*, want more than 0"):
        TranscribeOptions(max_duration_s=seconds)
