import io
import struct
import subprocess
import sys
import unicodedata
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
import pytest
import soundfile as sf
from av.audio.stream import AudioStream
from av.codec.codec import UnknownCodecError
from av.container import OutputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray
from scipy.signal import resample_poly

from sottovoce.errors import InputError
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import DecodeOptions, Wave, decode_audio, is_silent

TONE_HZ = 440.0
TONE_PEAK = 0.3


def tone(rate_hz: int, *, duration_s: float = 2.0, hz: float = TONE_HZ) -> Wave:
    time_s = np.arange(int(rate_hz * duration_s)) / rate_hz
    return (TONE_PEAK * np.sin(2 * np.pi * hz * time_s)).astype(np.float32)


def noise(n_samples: int) -> Wave:
    return (0.1 * np.random.default_rng(0).standard_normal(n_samples)).astype(np.float32)


def pitch_hz(wave: Wave) -> float:
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(wave.size)))
    return float(np.argmax(spectrum)) * SAMPLE_RATE_HZ / wave.size


def as_file(
    wave: NDArray[np.generic], rate_hz: int, *, kind: str = "WAV", subtype: str | None = None
) -> bytes:
    file = io.BytesIO()
    sf.write(file, wave, rate_hz, format=kind, subtype=subtype)
    return file.getvalue()


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    container: str
    codec: str

    def __str__(self) -> str:
        return f"{self.container}-{self.codec}"


ENCODINGS = (
    Encoding(container="wav", codec="pcm_u8"),
    Encoding(container="wav", codec="pcm_s16le"),
    Encoding(container="wav", codec="pcm_s24le"),
    Encoding(container="wav", codec="pcm_s32le"),
    Encoding(container="wav", codec="pcm_f32le"),
    Encoding(container="wav", codec="pcm_f64le"),
    Encoding(container="wav", codec="pcm_mulaw"),
    Encoding(container="aiff", codec="pcm_s16be"),
    Encoding(container="flac", codec="flac"),
    Encoding(container="mp3", codec="libmp3lame"),
    Encoding(container="ogg", codec="libopus"),
    Encoding(container="webm", codec="libopus"),
    Encoding(container="ipod", codec="aac"),
    Encoding(container="adts", codec="aac"),
    Encoding(container="mp4", codec="alac"),
    Encoding(container="matroska", codec="flac"),
)


def encode(
    wave: Wave,
    encoding: Encoding,
    *,
    rate_hz: int = 48_000,
    with_video: bool = False,
    options: dict[str, str] | None = None,
) -> bytes:
    """Encode a wave of shape (n_samples,), or (n_channels, n_samples) for two channels; skip where FFmpeg has no such encoder."""
    try:
        av.Codec(encoding.codec, "w")
    except UnknownCodecError:
        pytest.skip(f"FFmpeg of PyAV {av.__version__} has no encoder {encoding.codec}")
    file = io.BytesIO()
    with av.open(file, "w", format=encoding.container, options=options or {}) as container:
        video = new_video(container) if with_video else None
        audio = container.add_stream(encoding.codec, rate=rate_hz)
        assert isinstance(audio, AudioStream)
        audio.layout = "mono" if wave.ndim == 1 else "stereo"
        if video is not None:
            fill_video(container, video)
        fill_audio(container, audio, np.atleast_2d(wave), rate_hz)
    return file.getvalue()


def new_video(container: OutputContainer) -> VideoStream:
    video = container.add_stream("mpeg4", rate=25)
    assert isinstance(video, VideoStream)
    video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
    return video


def fill_video(container: OutputContainer, video: VideoStream) -> None:
    for _ in range(50):
        container.mux(video.encode(av.VideoFrame(64, 48, "yuv420p")))
    container.mux(video.encode(None))


def fill_audio(container: OutputContainer, audio: AudioStream, wave: Wave, rate_hz: int) -> None:
    layout = audio.layout.name
    frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout=layout)
    frame.sample_rate, frame.pts = rate_hz, 0
    frame_size = audio.codec_context.frame_size or 1024
    fit = av.AudioResampler(format=audio.format.name, layout=layout, rate=rate_hz, frame_size=frame_size)
    for piece in [*fit.resample(frame), *fit.resample(None)]:
        container.mux(audio.encode(piece))
    container.mux(audio.encode(None))


@pytest.mark.parametrize("rate_hz", [4_000, 8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_a_tone_keeps_its_pitch_length_and_loudness_at_any_rate(tmp_path: Path, rate_hz: int) -> None:
    path = tmp_path / "tone.wav"
    sf.write(path, tone(rate_hz), rate_hz)
    wave = decode_audio(path)
    assert wave.dtype == np.float32
    assert wave.shape == (2 * SAMPLE_RATE_HZ,)
    assert pitch_hz(wave) == pytest.approx(TONE_HZ, abs=1)
    assert np.abs(wave[4000:-4000]).max() == pytest.approx(TONE_PEAK, rel=0.01)


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 48_000, 192_000])
def test_resampling_agrees_with_scipy(rate_hz: int) -> None:
    source = np.asarray(resample_poly(noise(16_000), rate_hz, 6_000), np.float32)  # up to 3 kHz
    ratio = Fraction(SAMPLE_RATE_HZ, rate_hz)
    theirs = resample_poly(source, ratio.numerator, ratio.denominator)
    ours = decode_audio(as_file(source, rate_hz, subtype="FLOAT"))
    assert abs(ours.size - theirs.size) <= 1
    n_samples = min(ours.size, theirs.size)
    assert np.corrcoef(ours[:n_samples], theirs[:n_samples])[0, 1] > 0.999


def test_resampling_does_not_alias() -> None:
    wave = decode_audio(as_file(tone(48_000, hz=11_000.0), 48_000))
    assert np.abs(wave[2000:-2000]).max() < 1e-3


def test_audio_at_16_khz_is_decoded_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "noise.flac"
    sf.write(path, noise(20_001), SAMPLE_RATE_HZ)
    theirs, _ = sf.read(path, dtype="float32")
    np.testing.assert_array_equal(decode_audio(path), theirs)


@pytest.mark.parametrize("n_channels", [2, 3, 6, 8])
def test_channels_are_averaged(n_channels: int) -> None:
    channels = np.random.default_rng(1).uniform(-0.5, 0.5, (5000, n_channels)).astype(np.float32)
    wave = decode_audio(as_file(channels, SAMPLE_RATE_HZ, subtype="FLOAT"))
    np.testing.assert_allclose(wave, channels.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("codec", ["aac", "flac"])
def test_planar_and_packed_channels_are_averaged(codec: str) -> None:
    left, right = tone(48_000), np.zeros(96_000, np.float32)
    wave = decode_audio(encode(np.stack([left, right]), Encoding(container="matroska", codec=codec)))
    assert pitch_hz(wave) == pytest.approx(TONE_HZ, abs=1)
    assert np.abs(wave[4000:-4000]).max() == pytest.approx(TONE_PEAK / 2, rel=0.1)


@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
def test_every_codec_decodes_to_the_tone(encoding: Encoding) -> None:
    wave = decode_audio(encode(tone(48_000), encoding))
    assert wave.size == pytest.approx(2 * SAMPLE_RATE_HZ, abs=0.1 * SAMPLE_RATE_HZ)
    assert pitch_hz(wave) == pytest.approx(TONE_HZ, abs=1)
    assert np.sqrt(np.mean(wave**2)) == pytest.approx(TONE_PEAK / np.sqrt(2), rel=0.05)


@pytest.mark.parametrize("n_stated_bits", [24, 32])
@pytest.mark.parametrize("n_channels", [1, 2])
def test_24_bits_in_32_are_integers(n_stated_bits: int, n_channels: int) -> None:
    """FFmpeg takes them for the floats of an old editor."""
    rate_hz, n_block = SAMPLE_RATE_HZ, 4 * n_channels
    wave = tone(rate_hz)
    samples = np.repeat(np.round(wave.astype(np.float64) * (2**23 - 1)).astype("<i4") << 8, n_channels)
    pcm = b"\x01\x00\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
    head = struct.pack(
        "<HHIIHHHHI", 0xFFFE, n_channels, rate_hz, rate_hz * n_block, n_block, n_stated_bits, 22, 24, 0
    )
    content = b"WAVEfmt " + struct.pack("<I", 40) + head + pcm
    content += b"data" + struct.pack("<I", samples.nbytes) + samples.tobytes()
    decoded = decode_audio(b"RIFF" + struct.pack("<I", len(content)) + content)
    np.testing.assert_allclose(decoded, wave, atol=1e-6)


def test_the_audio_of_a_video_is_decoded() -> None:
    wave = decode_audio(encode(tone(48_000), Encoding(container="mp4", codec="aac"), with_video=True))
    assert pitch_hz(wave) == pytest.approx(TONE_HZ, abs=1)


def test_a_file_and_its_bytes_decode_alike(tmp_path: Path) -> None:
    path = tmp_path / "tone.mp3"
    path.write_bytes(encode(tone(48_000), Encoding(container="mp3", codec="libmp3lame")))
    np.testing.assert_array_equal(decode_audio(path), decode_audio(path.read_bytes()))


def test_a_wrong_suffix_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    path.write_bytes(as_file(tone(16_000), 16_000, kind="FLAC"))
    assert decode_audio(path).size == 32_000


def test_values_over_full_scale_are_clipped() -> None:
    wave = decode_audio(as_file(5 * tone(16_000), 16_000, subtype="FLOAT"))
    assert wave.max() == 1.0
    assert wave.min() == -1.0


@pytest.mark.parametrize("size", [0, 0x7FFFF024, 0xFFFFFFFF])
def test_a_wav_without_a_size_in_its_header_is_read_whole(size: int) -> None:
    whole = bytearray(as_file(tone(16_000), 16_000))
    whole[4:8] = size.to_bytes(4, "little")
    at = whole.index(b"data") + 4
    whole[at : at + 4] = size.to_bytes(4, "little")
    assert decode_audio(bytes(whole)).size == 32_000


def test_a_wav_whose_size_includes_the_header_is_read() -> None:
    sloppy = bytearray(as_file(tone(16_000), 16_000))
    at = sloppy.index(b"data") + 4
    sloppy[at : at + 4] = len(sloppy).to_bytes(4, "little")
    assert decode_audio(bytes(sloppy)).size == 32_000


@pytest.mark.parametrize("container", ["wav", "flac", "mp3"])
def test_garbage_after_the_audio_is_ignored(container: str) -> None:
    encoding = next(encoding for encoding in ENCODINGS if encoding.container == container)
    whole = encode(tone(48_000), encoding)
    garbage = np.random.default_rng(2).bytes(300)
    np.testing.assert_array_equal(decode_audio(whole + garbage), decode_audio(whole))


def test_an_mp3_that_states_no_duration_is_read() -> None:
    bare = encode(tone(48_000), Encoding(container="mp3", codec="libmp3lame"), options={"write_xing": "0"})
    assert decode_audio(bare).size == pytest.approx(32_000, abs=1600)


@pytest.mark.parametrize(
    "encoding", [encoding for encoding in ENCODINGS if str(encoding) != "ogg-libopus"], ids=str
)
def test_half_a_file_is_refused(encoding: Encoding) -> None:
    whole = encode(noise(96_000), encoding)
    with pytest.raises(
        InputError, match=r"x\.snd (is damaged: only \d\.\d s can be decoded|is not audio that FFmpeg)"
    ):
        decode_audio(whole[: len(whole) // 2 + 3], name="x.snd")


@pytest.mark.parametrize("container", ["flac", "mp3", "ogg", "webm", "ipod", "adts"])
def test_a_hole_in_the_middle_is_refused(container: str) -> None:
    encoding = next(encoding for encoding in ENCODINGS if encoding.container == container)
    whole = encode(noise(96_000), encoding)
    middle = len(whole) // 2
    with pytest.raises(InputError, match="damaged: only"):
        decode_audio(whole[:middle] + bytes(500) + whole[middle + 500 :])


def test_the_checksum_of_flac_detects_a_flipped_bit() -> None:
    flac = bytearray(encode(noise(96_000), Encoding(container="flac", codec="flac")))
    flac[len(flac) // 2] ^= 1
    with pytest.raises(InputError, match=r"its header states 2\.0 s"):
        decode_audio(bytes(flac))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "is not audio that FFmpeg can read", id="empty"),
        pytest.param(b"hello, this is text and no sound\n" * 40, "is not audio", id="text"),
        pytest.param(np.random.default_rng(3).bytes(4000), "is not audio", id="random"),
        pytest.param(as_file(np.zeros(0, np.float32), 16_000), "0 samples", id="wav without samples"),
        pytest.param(as_file(tone(500), 500), "sample rate of 500 Hz", id="rate too low"),
        pytest.param(as_file(tone(900_000), 900_000), "sample rate of 900000 Hz", id="rate too high"),
        pytest.param(as_file(np.zeros((10, 100)), 16_000), "100 channels", id="too many channels"),
        pytest.param(as_file(np.array([0.1, np.nan]), 16_000, subtype="FLOAT"), "not finite", id="nan"),
        pytest.param(as_file(np.array([0.1, -np.inf]), 16_000, subtype="DOUBLE"), "not finite", id="inf"),
        pytest.param(
            as_file(np.array([0.0, 12_000.0]), 16_000, subtype="FLOAT"),
            "up to 1.2e\\+04",
            id="integers as floats",
        ),
        pytest.param(
            encode(tone(48_000), Encoding(container="wav", codec="pcm_s64le")), "sample format s64", id="s64"
        ),
    ],
)
def test_invalid_audio_is_refused_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "clip.wav"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        decode_audio(path)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    assert ";" in text


def test_a_header_that_states_hours_allocates_nothing() -> None:
    lying = bytearray(as_file(tone(16_000, duration_s=0.1), 16_000, kind="FLAC"))
    lying[22:26] = b"\xff" * 4
    with pytest.raises(InputError, match=r"holds more than 600 s in \d+ bytes"):
        decode_audio(bytes(lying))
    with pytest.raises(InputError, match=r"only 0\.1 s can be decoded"):
        decode_audio(bytes(lying), DecodeOptions(max_s=1e9))


def test_a_header_without_audio_is_refused() -> None:
    whole = as_file(tone(16_000), 16_000, kind="AIFF")
    head = whole[: whole.index(b"SSND") + 16]
    with pytest.raises(InputError, match=r"^head cannot be decoded.*; get a whole copy of it$"):
        decode_audio(head, name="head")


def test_a_missing_file_is_named() -> None:
    with pytest.raises(InputError, match=r"^nowhere/clip\.wav does not exist; check the path$"):
        decode_audio(Path("nowhere/clip.wav"))


@pytest.mark.parametrize(("given", "on_disk"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_file_is_found_whichever_way_its_accents_are_written(
    tmp_path: Path, given: Literal["NFC", "NFD"], on_disk: Literal["NFC", "NFD"]
) -> None:
    content = as_file(tone(SAMPLE_RATE_HZ), SAMPLE_RATE_HZ)
    (tmp_path / unicodedata.normalize(on_disk, "Café.wav")).write_bytes(content)
    wave = decode_audio(tmp_path / unicodedata.normalize(given, "Café.wav"))
    np.testing.assert_array_equal(wave, decode_audio(content))


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder; give an audio file"):
        decode_audio(tmp_path)


def test_an_invalid_path_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be opened"):
        decode_audio(Path("a\0b.wav"))


def test_a_video_without_sound_is_refused() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        fill_video(container, new_video(container))
    with pytest.raises(InputError, match=r"film has no audio to decode \(its streams: video\)"):
        decode_audio(file.getvalue(), name="film")


def test_a_playlist_does_not_open_the_files_it_names(tmp_path: Path) -> None:
    (tmp_path / "secret.wav").write_bytes(as_file(tone(16_000), 16_000))
    playlist = tmp_path / "clip.wav"
    playlist.write_text("ffconcat version 1.0\nfile secret.wav\n")
    with pytest.raises(InputError, match="is not audio that FFmpeg can read"):
        decode_audio(playlist)


@pytest.mark.parametrize(
    ("container", "codec", "rates_hz"),
    [
        ("adts", "aac", (48_000, 24_000)),
        ("mp3", "libmp3lame", (48_000, 22_050)),
        (
            "mp3",
            "libmp3lame",
            (16_000, 44_100),
        ),  # of another bit rate too, which misleads the estimated duration
    ],
)
def test_a_rate_that_changes_midway_keeps_the_pitch(
    container: str, codec: str, rates_hz: tuple[int, int]
) -> None:
    encoding = Encoding(container=container, codec=codec)
    wave = decode_audio(b"".join(encode(tone(rate), encoding, rate_hz=rate) for rate in rates_hz))
    assert wave.size == pytest.approx(4 * SAMPLE_RATE_HZ, abs=0.15 * SAMPLE_RATE_HZ)
    assert pitch_hz(wave[: wave.size // 2 - 2000]) == pytest.approx(TONE_HZ, abs=1)
    assert pitch_hz(wave[wave.size // 2 + 2000 :]) == pytest.approx(TONE_HZ, abs=1)


def test_audio_longer_than_the_limit_is_refused() -> None:
    with pytest.raises(InputError, match=r"is longer than 1\.5 s; cut it into pieces"):
        decode_audio(as_file(tone(44_100), 44_100), DecodeOptions(max_s=1.5))


def test_nothing_is_printed_about_broken_audio(capfd: pytest.CaptureFixture[str]) -> None:
    whole = encode(noise(96_000), Encoding(container="flac", codec="flac"))
    with pytest.raises(InputError):
        decode_audio(whole[: len(whole) // 2])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("level_dbfs", "expected"), [(-93.0, True), (-81.0, True), (-79.0, False), (-20.0, False)]
)
def test_audio_below_minus_80_dbfs_is_silent(level_dbfs: float, *, expected: bool) -> None:
    unit = np.sin(np.arange(16_000) * 0.3) * np.sqrt(2)
    assert is_silent((unit * 10 ** (level_dbfs / 20)).astype(np.float32)) is expected


def test_a_dc_offset_is_silent() -> None:
    assert is_silent(np.full(16_000, 0.2, np.float32))


@pytest.mark.parametrize("pause_s", [0.0, 3.0, 600.0])
def test_pauses_do_not_silence_quiet_speech(pause_s: float) -> None:
    speech = (10 ** (-70 / 20) * np.sqrt(2) * np.sin(np.arange(8_000) * 0.3)).astype(np.float32)
    assert not is_silent(np.concatenate([speech, np.zeros(round(pause_s * 16_000), np.float32)]))


def test_an_empty_wave_is_silent() -> None:
    assert is_silent(np.zeros(0, np.float32))


def test_decoding_audio_loads_nothing_heavy() -> None:
    code = "import sys, sottovoce.runtime.audio.decode as a; print({'openvino', 'scipy', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
