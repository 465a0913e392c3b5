"""Broken, joined, shifted and silent tracks, made with FFmpeg."""

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.stream import AudioStream

from sottovoce.errors import InputError
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import DecodeOptions, Wave, decode_audio
from sottovoce.runtime.audio.track import Damaged
from tests.runtime.test_audio import (
    ENCODINGS,
    TONE_HZ,
    Encoding,
    as_file,
    encode,
    fill_video,
    new_video,
    noise,
    pitch_hz,
    tone,
)

MP3 = Encoding(container="mp3", codec="libmp3lame")
ADTS = Encoding(container="adts", codec="aac")
AMR = Encoding(container="amr", codec="libopencore_amrnb")
WITH_FRAMES = [
    each for each in ENCODINGS if each.container in {"flac", "mp3", "ogg", "webm", "ipod", "adts", "matroska"}
]
SKIP, ALLOW = DecodeOptions(damaged=Damaged.SKIP), DecodeOptions(damaged=Damaged.ALLOW)


def decode_noted(content: bytes, options: DecodeOptions = SKIP) -> tuple[Wave, list[str]]:
    notes: list[str] = []
    return decode_audio(content, options, name="x.snd", note=notes.append), notes


def seconds(wave: Wave) -> float:
    return wave.size / SAMPLE_RATE_HZ


def first_sound_s(wave: Wave) -> float:
    return float(np.argmax(np.abs(wave) > 0.05)) / SAMPLE_RATE_HZ


@pytest.mark.parametrize("encoding", WITH_FRAMES, ids=str)
def test_a_hole_in_the_middle_is_skipped_and_noted_where_the_format_shows_it(encoding: Encoding) -> None:
    whole = encode(noise(6 * 48_000), encoding)
    middle = len(whole) // 2
    wave, notes = decode_noted(whole[:middle] + bytes(500) + whole[middle + 500 :])
    assert seconds(wave) == pytest.approx(6.0, abs=0.2)
    assert len(notes) == 1
    assert notes[0].startswith(("x.snd is damaged: about 0.1 s could not", "x.snd has holes of up to "))


@pytest.mark.parametrize(("encoding", "sync"), [(MP3, b"\xff\xfb"), (ADTS, b"\xff\xf1\x4c")], ids=str)
def test_one_bad_frame_costs_its_own_length(encoding: Encoding, sync: bytes) -> None:
    whole = bytearray(encode(tone(48_000, duration_s=4.0), encoding))
    intact = decode_audio(bytes(whole))
    at = whole.index(sync, len(whole) // 2)
    whole[at + 7 : at + 40] = np.random.default_rng(1).bytes(33)
    wave, _ = decode_noted(bytes(whole))
    assert abs(wave.size - intact.size) <= 0.06 * SAMPLE_RATE_HZ


@pytest.mark.parametrize("n_bytes", [1, 20])
def test_broken_frames_of_amr_end_no_transcript(n_bytes: int) -> None:
    """AMR has no marks between frames: some of the bytes that follow are taken for frames of 20 ms."""
    whole = encode(tone(8_000, duration_s=6.0), AMR, rate_hz=8_000)
    at = len(whole) // 2
    wave, notes = decode_noted(whole[:at] + b"\x5c" * n_bytes + whole[at + n_bytes :])
    assert seconds(wave) == pytest.approx(6.0, abs=0.2)
    assert pitch_hz(wave[-2 * SAMPLE_RATE_HZ :]) == pytest.approx(TONE_HZ, abs=1)
    assert all(note.startswith("x.snd is damaged: about ") for note in notes)


@pytest.mark.parametrize("encoding", [MP3, ADTS], ids=str)
def test_joined_files_are_decoded_whole_without_a_note(encoding: Encoding) -> None:
    tagged = encode(tone(48_000), encoding)
    wave, notes = decode_noted(tagged + tagged)
    assert seconds(wave) == pytest.approx(4.0, abs=0.15)
    assert notes == []


def test_joined_files_are_no_damage_to_speech_sets_either() -> None:
    whole = encode(tone(48_000), MP3)
    assert seconds(decode_audio(whole + whole)) == pytest.approx(4.0, abs=0.15)


def test_mostly_broken_audio_is_refused() -> None:
    flac = bytearray(encode(noise(6 * 48_000), Encoding(container="flac", codec="flac")))
    for at in range(len(flac) // 4, len(flac), 3000):
        flac[at] ^= 1
    with pytest.raises(InputError, match=r"only \d\.\d s can be decoded.*--allow-damaged$"):
        decode_noted(bytes(flac))
    wave, notes = decode_noted(bytes(flac), ALLOW)
    assert 0.5 < seconds(wave) < 3.0
    assert "could not be decoded" in notes[0]


@pytest.mark.parametrize(
    "encoding",
    [each for each in ENCODINGS if each.container in {"wav", "flac", "mp3", "webm", "adts"}],
    ids=str,
)
def test_the_start_of_a_cut_file_is_taken_on_request_only(encoding: Encoding) -> None:
    whole = encode(noise(4 * 48_000), encoding)
    half = whole[: len(whole) // 2 + 3]
    with pytest.raises(InputError, match="--allow-damaged"):
        decode_noted(half)
    wave, notes = decode_noted(half, ALLOW)
    assert seconds(wave) == pytest.approx(2.0, abs=0.3)
    assert len(notes) == 1
    assert notes[0].startswith("x.snd is damaged: ")


@pytest.mark.parametrize("container", ["matroska", "mp4", "mpegts"])
def test_audio_that_starts_after_the_picture_keeps_its_time(container: str) -> None:
    film = io.BytesIO()
    with av.open(film, "w", format=container) as output:
        video = new_video(output)
        audio = output.add_stream("aac", rate=48_000)
        assert isinstance(audio, AudioStream)
        audio.layout = "mono"
        fill_video(output, video)  # 2 s from 0
        write_from(output, audio, tone(48_000), start_s=1.5)
    wave, notes = decode_noted(film.getvalue())
    assert first_sound_s(wave) == pytest.approx(1.5, abs=0.06)
    assert seconds(wave) == pytest.approx(3.5, abs=0.15)
    assert notes == []


def write_from(
    output: av.container.OutputContainer, audio: AudioStream, wave: Wave, *, start_s: float
) -> None:
    """Encode a wave so that it starts at a time of the film."""
    step = audio.codec_context.frame_size or 960
    for begin in range(0, wave.size - step + 1, step):
        frame = av.AudioFrame.from_ndarray(wave[None, begin : begin + step], format="fltp", layout="mono")
        frame.sample_rate, frame.time_base = 48_000, Fraction(1, 48_000)
        frame.pts = round(start_s * 48_000) + begin
        output.mux(audio.encode(frame))


def test_a_recorder_that_paused_leaves_silence_of_that_length() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="webm") as output:
        audio = output.add_stream("libopus", rate=48_000)
        assert isinstance(audio, AudioStream)
        audio.layout = "mono"
        write_from(output, audio, tone(48_000), start_s=0.0)
        write_from(output, audio, tone(48_000), start_s=7.0)
        output.mux(audio.encode(None))
    wave, notes = decode_noted(file.getvalue())
    assert seconds(wave) == pytest.approx(9.0, abs=0.1)
    assert first_sound_s(wave[3 * SAMPLE_RATE_HZ :]) + 3.0 == pytest.approx(7.0, abs=0.05)
    assert notes == ["x.snd has holes of up to 5.0 s in its audio; they count as silence"]


def test_channels_that_cancel_each_other_out_are_used_one_alone() -> None:
    left = noise(32_000)
    wave, notes = decode_noted(as_file(np.stack([left, -left], axis=1), SAMPLE_RATE_HZ, subtype="FLOAT"))
    np.testing.assert_allclose(wave, left, atol=1e-6)
    assert notes == ["x.snd: its channels cancel each other out; channel 1 is used alone"]


@pytest.mark.parametrize("n_channels", [2, 6])
@pytest.mark.parametrize("pattern", ["unrelated", "one alone", "the same", "silent"])
def test_other_channels_are_averaged(n_channels: int, pattern: str) -> None:
    random = np.random.default_rng(3).uniform(-0.5, 0.5, (20_000, n_channels)).astype(np.float32)
    channels = {
        "unrelated": random,
        "one alone": random * (np.arange(n_channels) == 1),
        "the same": np.repeat(random[:, :1], n_channels, axis=1),
        "silent": random * np.array([1e-6, -1e-6] * (n_channels // 2)),
    }[pattern]
    wave, notes = decode_noted(as_file(channels, SAMPLE_RATE_HZ, subtype="FLOAT"))
    np.testing.assert_allclose(wave, channels.mean(axis=1), atol=1e-6)
    assert notes == []


def film_with_tracks(*waves: Wave) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        tracks = [output.add_stream("pcm_s16le", rate=48_000) for _ in waves]
        for track in tracks:
            assert isinstance(track, AudioStream)
            track.layout = "mono"
        for track, wave in zip(tracks, waves, strict=True):
            assert isinstance(track, AudioStream)
            frame = av.AudioFrame.from_ndarray(
                (wave[None] * 32767).astype(np.int16), format="s16p", layout="mono"
            )
            frame.sample_rate, frame.pts = 48_000, 0
            fit = av.AudioResampler(format=track.format.name, layout="mono", rate=48_000, frame_size=4608)
            for piece in [*fit.resample(frame), *fit.resample(None)]:
                output.mux(track.encode(piece))
            output.mux(track.encode(None))
    return file.getvalue()


def test_a_silent_first_track_gives_way_to_one_with_sound() -> None:
    film = film_with_tracks(np.zeros(96_000, np.float32), tone(48_000))
    wave, notes = decode_noted(film)
    assert np.abs(wave).max() > 0.2
    assert notes == ["x.snd: audio track 1 is silent; track 2 is used"]


def test_the_first_of_two_tracks_with_sound_is_used_unless_another_is_chosen() -> None:
    film = film_with_tracks(0.5 * tone(48_000), tone(48_000))
    first, notes = decode_noted(film)
    second, _ = decode_noted(film, DecodeOptions(track=2))
    assert np.abs(first[4000:-4000]).max() == pytest.approx(0.15, rel=0.05)
    assert np.abs(second[4000:-4000]).max() == pytest.approx(0.3, rel=0.05)
    assert notes == []
    with pytest.raises(InputError, match=r"^x\.snd has 2 audio tracks, no track 3; choose one of them$"):
        decode_noted(film, DecodeOptions(track=3))


CASES = Path(__file__).resolve().parents[2].parent / "shared" / "cases"


@pytest.mark.skipif(not CASES.is_dir(), reason="../shared/cases is not on this machine")
@pytest.mark.parametrize(
    ("name", "duration_s", "n_notes"),
    [
        ("concatenated.mp3", 11.05, 0),
        ("one-bad-frame.mp3", 11.02, 1),
        ("audio-starts-at-5s.mkv", 16.0, 0),
        ("phase-inverted.m4a", 11.0, 1),
    ],
)
def test_files_that_were_refused_are_decoded(name: str, duration_s: float, n_notes: int) -> None:
    wave, notes = decode_noted((CASES / name).read_bytes())
    assert seconds(wave) == pytest.approx(duration_s, abs=0.05)
    assert np.abs(wave).max() > 0.5
    assert len(notes) == n_notes
