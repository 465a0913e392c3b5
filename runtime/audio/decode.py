"""Decode audio into what Whisper takes: one channel, 16 kHz, float32, from any format that FFmpeg reads."""

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
import soxr
from av.audio.frame import AudioFrame, format_dtypes
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from sottovoce.errors import InputError
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.container import (
    ADVICE,
    DurationLimit,
    duration_limit,
    error_text,
    open_container,
    open_source,
    open_with_ffmpeg,
)

Wave = NDArray[np.float32]

# Speech at a lower rate is not intelligible, and no recorder has a higher one: such headers are wrong.
MIN_RATE_HZ, MAX_RATE_HZ = 4_000, 768_000
# Ambisonics of the seventh order, the largest layout that FFmpeg names.
MAX_CHANNELS = 64
# 1.4 GB as a wave.
MAX_DURATION_S = 6 * 3600.0
# A long stream takes time, not memory.
MAX_STREAM_S = 24 * 3600.0
# 24 dB over full scale: louder samples are integers stored as floats, not a float recording.
MAX_PEAK = 16.0
# A quiet room is near -60 dBFS through a microphone, 16-bit dither near -93: all speech is louder than this.
SILENCE_DBFS = -70.0
# An encoder's priming may be missing from the audio: 2112 samples of AAC are 0.13 s at 16 kHz.
PRIMING_S = 0.2
# Codecs without priming; containers round durations to milliseconds.
_EXACT_CODECS, _ROUNDING_S = ("flac", "pcm_"), 0.01

# Formats whose header states the duration; FFmpeg estimates that of other formats from the bit rate.
_FORMATS_WITH_DURATION = frozenset({"aiff", "caf", "flac", "mov,mp4,m4a,3gp,3g2,mj2", "ogg", "w64", "wav"})
# Size in the header of a WAV that was written to a pipe, where the writer cannot go back: 0, 2 GiB or 4 GiB.
_STREAMED_RIFF_SIZE = 0x7F000000
# Some writers count the header in the size, some do not.
_RIFF_HEADER_BYTES = 256


def decode_audio(source: Path | bytes, *, name: str | None = None, max_s: float | None = None) -> Wave:
    """Decode a file, or the bytes of one, into a wave.

    Channels are averaged. Duration and rate in the header are only compared with the decoded audio. Audio that ends
    before its header says is refused: the transcript of half a clip looks like the error of a bad model. A cut is not
    detected in formats that state no duration: Ogg cut between pages, raw AAC or AC-3 cut between frames.

    Args:
        source: audio, or video with an audio track, in any format that FFmpeg reads.
        name: of the audio in error messages; by default the path.
        max_s: longer audio is refused while it is decoded. None: 6 hours, or less if so few bytes cannot hold so
            much speech.

    Returns:
        float32, shape (n_samples,), 16 kHz, values in [-1, 1], never empty.

    Raises:
        InputError: missing, unreadable, not audio, damaged, empty, not finite, or with an implausible rate, duration
            or number of channels.
    """
    with _open_blocks(source, name, max_s, MAX_DURATION_S, advice="cut it into pieces") as (blocks, label):
        wave: Wave = np.concatenate([np.zeros(0, np.float32), *blocks])
    _check_not_empty(wave.size, label)
    return np.clip(wave, -1.0, 1.0, out=wave)


def stream_audio(
    source: Path | bytes, *, name: str | None = None, max_s: float | None = None
) -> Iterator[Wave]:
    """Decode a file, or the bytes of one, block by block, in constant memory.

    Arguments and errors are those of `decode_audio`, but the default of `max_s` is 24 hours, and damage may be found only
    after some blocks.

    Yields:
        float32, shape (n_samples,), 16 kHz, values in [-1, 1]; joined they are the wave of `decode_audio`.
    """
    n_samples = 0
    advice = "cut it into pieces, or allow its length with --max-hours"
    with _open_blocks(source, name, max_s, MAX_STREAM_S, advice=advice) as (blocks, label):
        for block in blocks:
            n_samples += block.size
            yield np.clip(block, -1.0, 1.0)
    _check_not_empty(n_samples, label)


def stated_duration_s(source: Path | bytes) -> float | None:
    """Return the duration that the header states, for progress only; None if it states none or cannot be read."""
    try:
        with open_source(source, "") as file, open_with_ffmpeg(file) as container:
            stream = next(iter(container.streams.audio), None)
            return None if stream is None else _stated_s(container, stream)
    except (InputError, av.FFmpegError, OSError):
        return None  # decoding reports the error


def is_silent(wave: Wave) -> bool:
    """Return whether a wave is too quiet to hold speech: RMS without DC offset under -70 dBFS."""
    if wave.size == 0:
        return True
    return float(np.std(wave, dtype=np.float64)) < 10 ** (SILENCE_DBFS / 20)


@contextmanager
def _open_blocks(
    source: Path | bytes, name: str | None, max_s: float | None, default_max_s: float, *, advice: str
) -> Iterator[tuple[Iterator[Wave], str]]:
    """Open a source; give its blocks at 16 kHz, which are decoded on demand, and its name in error messages."""
    label = name or (str(source) if isinstance(source, Path) else "the audio given")
    with open_source(source, label) as file:
        limit = duration_limit(file, max_s, default_max_s=default_max_s, advice=advice)
        is_whole = _is_whole_riff(file)
        with open_container(file, label) as container:
            stream = _audio_stream(container, label)
            frames = _decode_frames(container, stream, label=label, is_whole=is_whole, limit=limit)
            yield _resample(frames, label), label


def _check_not_empty(n_samples: int, label: str) -> None:
    if not n_samples:
        raise InputError(f"{label} holds no audio: 0 samples; check where it comes from")


def _is_whole_riff(file: BinaryIO) -> bool:
    """Return whether a WAV file is as long as its RIFF header states, or that header states no size."""
    head = file.read(8)
    n_bytes = file.seek(0, io.SEEK_END)
    file.seek(0)
    size = int.from_bytes(head[4:], "little")
    is_streamed = size == 0 or size >= _STREAMED_RIFF_SIZE
    return head[:4] == b"RIFF" and (is_streamed or size - n_bytes <= _RIFF_HEADER_BYTES)


def _audio_stream(container: InputContainer, label: str) -> AudioStream:
    stream = container.streams.best("audio")
    if not isinstance(stream, AudioStream):
        kinds = ", ".join(sorted({other.type for other in container.streams})) or "none"
        raise InputError(f"{label} has no audio to decode (its streams: {kinds}); give a file with sound")
    if stream.codec_context is None:
        raise InputError(f"{label} has audio in an unknown codec; {ADVICE}")
    if stream.codec_context.name == "flac":
        stream.codec_context.options = {"err_detect": "crccheck+explode"}
    return stream


def _decode_frames(
    container: InputContainer, stream: AudioStream, *, label: str, is_whole: bool, limit: DurationLimit
) -> Iterator[AudioFrame]:
    """Yield the frames of a stream; refuse one that is cut off or too long."""
    stated_s = _stated_s(container, stream)
    if stated_s is not None and not stream.codec_context.name.startswith("pcm_"):
        limit.check(stated_s, label)  # PCM that was written to a pipe states 37 hours
    decoded_s = 0.0
    is_cut = False
    damage: Exception | None = None
    try:
        for packet in container.demux(stream):
            is_cut = is_cut or (packet.is_corrupt and not is_whole)
            for frame in packet.decode():
                _check_shape(frame, label)
                decoded_s += frame.samples / frame.sample_rate
                limit.check(decoded_s, label)
                yield frame
    except (av.FFmpegError, OSError) as error:
        damage = error
    # Old taggers leave garbage after the last frame: an error there is ignored if no audio is missing.
    is_short = damage is not None if stated_s is None else decoded_s < stated_s - _slack_s(stream)
    if is_cut or is_short:
        raise InputError(_damage_message(label, decoded_s, stated_s, damage)) from damage


def _stated_s(container: InputContainer, stream: AudioStream) -> float | None:
    """Return the duration that the header states; None if it is unknown or an estimate."""
    kind = container.format.name
    # The header of an MP3 that states the encoder's delay states the duration too.
    is_stated = kind in _FORMATS_WITH_DURATION or (kind == "mp3" and bool(stream.start_time))
    if is_stated and stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if kind == "matroska,webm" and len(container.streams) == 1 and container.duration is not None:
        return container.duration / av.time_base
    return None


def _slack_s(stream: AudioStream) -> float:
    return _ROUNDING_S if stream.codec_context.name.startswith(_EXACT_CODECS) else PRIMING_S


def _damage_message(label: str, decoded_s: float, stated_s: float | None, damage: Exception | None) -> str:
    cause = f" ({error_text(damage)})" if damage is not None else ""
    if not decoded_s:
        return f"{label} cannot be decoded{cause}; get a whole copy of it"
    is_shorter = stated_s is not None and decoded_s < stated_s - _ROUNDING_S
    stated = f", its header states {stated_s:.1f} s" if is_shorter else ""
    return f"{label} is damaged: only {decoded_s:.1f} s can be decoded{stated}{cause}; get a whole copy of it"


def _check_shape(frame: AudioFrame, label: str) -> None:
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


def _resample(frames: Iterable[AudioFrame], label: str) -> Iterator[Wave]:
    """Yield the wave block by block, at 16 kHz; refuse a rate that changes midway."""
    rate_hz: int | None = None
    resampler: soxr.ResampleStream | None = None
    for frame in frames:
        if rate_hz is None:
            rate_hz = frame.sample_rate
            if rate_hz != SAMPLE_RATE_HZ:
                resampler = soxr.ResampleStream(rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32", quality="HQ")
        if frame.sample_rate != rate_hz:
            raise InputError(f"{label} changes from {rate_hz} to {frame.sample_rate} Hz midway; {ADVICE}")
        wave = _downmix(frame, label)
        yield wave if resampler is None else resampler.resample_chunk(wave)
    if resampler is not None:
        yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def _downmix(frame: AudioFrame, label: str) -> Wave:
    """Average the channels of a frame: float32, shape (n_samples,), full scale is 1."""
    samples = frame.to_ndarray()
    n_channels = frame.layout.nb_channels
    if samples.dtype.kind == "f":
        _check_floats(samples, label)
    shape = (n_channels, -1) if frame.format.is_planar else (-1, n_channels)
    mean = samples.reshape(shape).mean(axis=0 if frame.format.is_planar else 1, dtype=np.float64)
    return (_to_full_scale(mean, samples.dtype)).astype(np.float32)


def _to_full_scale(mean: NDArray[np.float64], stored: np.dtype[Any]) -> NDArray[np.float64]:
    match stored.kind:
        case "f":
            return mean
        case "u":  # only 8 bits are stored unsigned, silence is 128
            return (mean - 128) / 128
        case _:
            return mean / 2.0 ** (8 * stored.itemsize - 1)


def _check_floats(samples: NDArray[Any], label: str) -> None:
    peak = float(np.abs(samples).max(initial=0.0))
    if not np.isfinite(peak):
        raise InputError(
            f"{label} holds samples that are not finite numbers; create it again from its source"
        )
    if peak > MAX_PEAK:
        raise InputError(f"{label} has samples up to {peak:.4g} where full scale is 1; scale it to [-1, 1]")
