"""Decode a tone from every container and codec that FFmpeg can write, at drawn rates, channels, levels and lengths.

    python tests/measure/fuzz_audio.py --seed 1

Each file must have the right length, level and pitch; where FFmpeg itself reads something else, the file was written wrong
and does not count. Damaged copies of it must be decoded or refused in one line. Each container has a process of its own, so that
a crash is found too. Prints a table of what fails, and ends with exit code 1 if anything does. Takes about three minutes.
"""

import argparse
import io
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame

from sottovoce.errors import InputError
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import DecodeOptions, Wave, decode_audio
from sottovoce.runtime.audio.track import Damaged
from sottovoce.runtime.audio.track_choice import find_track

TONE_HZ = 440.0
MAX_MESSAGE = 300

# fmt: off
CONTAINERS = (
    "ac3", "adts", "aiff", "amr", "asf", "au", "avi", "caf", "eac3", "flac", "flv", "ipod", "matroska", "mov", "mp2", "mp3", "mp4",
    "mpegts", "nut", "oga", "ogg", "opus", "tta", "w64", "wav", "webm", "wv",
)
CODECS = (
    "aac", "ac3", "adpcm_ima_wav", "adpcm_ms", "alac", "dca", "eac3", "flac", "g722", "libmp3lame", "libopencore_amrnb", "libopus",
    "libspeex", "mp2", "nellymoser", "pcm_alaw", "pcm_f32be", "pcm_f32le", "pcm_f64le", "pcm_mulaw", "pcm_s16be", "pcm_s16le",
    "pcm_s24be", "pcm_s24le", "pcm_s32le", "pcm_s8", "pcm_u8", "real_144", "truehd", "tta", "vorbis", "wavpack", "wmav1", "wmav2",
)
# fmt: on
RATES_HZ = (8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000)
CHANNELS = {"mono": 1, "stereo": 2, "2.1": 3, "quad": 4, "5.1": 6, "7.1": 8, "hexadecagonal": 16}
LEVELS_DBFS = (-3.0, -20.0, -40.0)
LENGTHS_S = (0.05, 0.5, 3.0, 9.0)

LENGTH_TOLERANCE_S = 0.15
"""Delay and padding of a codec: two frames of the longest, at 16 kHz and above."""

LOW_RATE_TOLERANCE_S = 0.4
"""Frames of AAC, WMA or Vorbis last up to 0.25 s at 8 kHz."""

LEVEL_TOLERANCE_DB = 3.0
LEVEL_TOLERANCE_OF_MANY_CHANNELS_DB = 10.0
"""Lossy codecs take the tone out of the low-frequency channel, and lower others to the bit rate."""

LEAST_MEASURED_S = 0.5
"""Level and pitch of a shorter tone depend on the codec's delay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A file to write."""

    container: str
    codec: str
    rate_hz: int
    layout: str
    level_dbfs: float
    length_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A file that was decoded wrong: what it is, and what happened."""

    case: str
    message: str


def draw_cases(container: str, n_cases: int, dice: random.Random) -> Iterator[Case]:
    """Draw cases of each codec; the first is plain: mono, loud, 3 s."""
    for codec in CODECS:
        rates_hz, layouts = _supported(codec)
        if not rates_hz:
            continue
        plain = {"layout": layouts[0], "level_dbfs": LEVELS_DBFS[0], "length_s": LENGTHS_S[2]}
        yield Case(container=container, codec=codec, rate_hz=rates_hz[-1], **plain)  # type: ignore[arg-type]
        for _ in range(n_cases - 1):
            yield Case(
                container=container,
                codec=codec,
                rate_hz=dice.choice(rates_hz),
                layout=dice.choice(layouts),
                level_dbfs=dice.choice(LEVELS_DBFS),
                length_s=dice.choice(LENGTHS_S),
            )


def _supported(codec: str) -> tuple[list[int], list[str]]:
    """Return rates and layouts of an encoder; none where FFmpeg was built without it."""
    try:
        encoder: Any = av.Codec(codec, "w")
    except ValueError:
        return [], []
    rates_hz = [rate_hz for rate_hz in RATES_HZ if rate_hz in (encoder.audio_rates or RATES_HZ)]
    if codec in ("libopencore_amrnb", "nellymoser", "real_144"):  # they state no rates
        rates_hz = [8_000]
    return rates_hz, list(CHANNELS)


def write_apart(case: Case) -> bytes | None:
    """Write a file in a process of its own, since an encoder may crash; None if FFmpeg cannot write it."""
    fork = get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)
    process = fork.Process(target=lambda: sender.send_bytes(write(case) or b""))
    process.start()
    sender.close()
    try:
        return receiver.recv_bytes() or None
    except EOFError:
        return None
    finally:
        receiver.close()
        process.join()


def write(case: Case) -> bytes | None:
    """Return the file of a case; None if FFmpeg cannot write it."""
    file = io.BytesIO()
    try:
        with av.open(file, "w", format=case.container) as container:
            stream = container.add_stream(case.codec, rate=case.rate_hz, layout=case.layout)
            stream.codec_context.options = {"strict": "experimental"}
            _fill(container, stream, case)
    except (av.FFmpegError, ValueError, OverflowError, AttributeError):
        return None
    return file.getvalue()


def _fill(container: Any, stream: Any, case: Case) -> None:
    stream.codec_context.open(strict=False)
    size = stream.codec_context.frame_size or None
    fit = av.AudioResampler(stream.codec_context.format.name, case.layout, case.rate_hz, frame_size=size)
    for source in (_tone(case), None):
        for frame in fit.resample(source):
            container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _tone(case: Case) -> AudioFrame:
    times_s = np.arange(round(case.length_s * case.rate_hz)) / case.rate_hz
    tone = (10 ** (case.level_dbfs / 20) * np.sin(2 * np.pi * TONE_HZ * times_s)).astype(np.float32)
    packed = np.repeat(tone, CHANNELS[case.layout])[None]
    frame = AudioFrame.from_ndarray(packed, format="flt", layout=case.layout)
    frame.sample_rate, frame.pts = case.rate_hz, 0
    return frame


def read_with_ffmpeg(content: bytes) -> Wave:
    """Decode with FFmpeg's own mixing and resampling, frame after frame."""
    with av.open(io.BytesIO(content), "r") as container:
        stream = find_track(container, None, "the file")
        fit = av.AudioResampler("flt", "mono", SAMPLE_RATE_HZ)
        frames = [piece for frame in container.decode(stream) for piece in fit.resample(frame)]
        waves = [frame.to_ndarray()[0] for frame in [*frames, *fit.resample(None)]]
    return np.concatenate([np.zeros(0, np.float32), *waves])


def find_fault(case: Case, wave: Wave) -> str | None:
    """Return what is wrong with the decoded audio; None if nothing is."""
    length_s = wave.size / SAMPLE_RATE_HZ
    tolerance_s = LENGTH_TOLERANCE_S if case.rate_hz >= SAMPLE_RATE_HZ else LOW_RATE_TOLERANCE_S
    if abs(length_s - case.length_s) > tolerance_s:
        return f"lasts {length_s:.2f} s"
    if case.length_s < LEAST_MEASURED_S:
        return None
    return _fault_of_tone(case, wave[wave.size // 4 : -wave.size // 4])


def _fault_of_tone(case: Case, wave: Wave) -> str | None:
    level_dbfs = 20 * np.log10(float(np.std(wave)) * np.sqrt(2) + 1e-9)
    is_many = CHANNELS[case.layout] > CHANNELS["stereo"]
    tolerance_db = LEVEL_TOLERANCE_OF_MANY_CHANNELS_DB if is_many else LEVEL_TOLERANCE_DB
    if abs(level_dbfs - case.level_dbfs) > tolerance_db:
        return f"has {level_dbfs:.1f} dBFS"
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(wave.size)))
    pitch_hz = float(np.argmax(spectrum)) * SAMPLE_RATE_HZ / wave.size
    if abs(pitch_hz - TONE_HZ) > max(5.0, 2 * SAMPLE_RATE_HZ / wave.size):
        return f"has a tone of {pitch_hz:.0f} Hz"
    return None


def judge(case: Case, content: bytes) -> tuple[str, str]:
    """Return how a file is decoded ("right", "wrong" or "written wrong"), and what is wrong."""
    try:
        found = find_fault(case, decode_audio(content, DecodeOptions(damaged=Damaged.SKIP)))
    except InputError as error:
        found = f"refused: {error}"
    except Exception as error:  # noqa: BLE001 - what is looked for
        return "wrong", f"fails with {type(error).__name__}: {error}"
    if found is None:
        return "right", ""
    try:
        theirs = find_fault(case, read_with_ffmpeg(content))
    except (av.FFmpegError, ValueError, InputError) as error:
        theirs = str(error)
    return ("wrong" if theirs is None else "written wrong"), found


def damage(content: bytes, dice: random.Random) -> bytes:
    """Cut a file, or overwrite bytes of it."""
    if dice.random() < 1 / 3:
        return content[: dice.randrange(len(content))]
    broken = bytearray(content)
    for _ in range(dice.choice((1, 10, 100))):
        at = dice.randrange(len(broken))
        broken[at : at + 4] = dice.randbytes(min(4, len(broken) - at))
    return bytes(broken)


def find_fault_of_damaged(content: bytes, policy: Damaged) -> str | None:
    """Return what is wrong with how a damaged file is decoded; None if nothing is."""
    try:
        wave = decode_audio(content, DecodeOptions(damaged=policy))
    except InputError as error:
        message = str(error)
        return None if len(message) < MAX_MESSAGE and "\n" not in message else f"long message: {message}"
    except Exception as error:  # noqa: BLE001 - what is looked for
        return f"fails with {type(error).__name__}: {error}"
    return None if np.isfinite(wave).all() else "has samples that are not finite"


def run_container(container: str, seed: int, n_cases: int, n_damaged: int) -> None:
    """Decode the files of one container; print a line of JSON before and after each."""
    av.logging.set_level(None)
    dice = random.Random(f"{seed}-{container}")  # noqa: S311 - repeatable, not secret
    for case in draw_cases(container, n_cases, dice):
        content = write_apart(case)
        if not content:
            continue
        _say("starts", case, "")
        outcome, message = judge(case, content)
        _say(outcome, case, message)
        for number in range(n_damaged):
            broken = damage(content, dice)
            _say("starts", case, f"damaged copy {number}")
            found = find_fault_of_damaged(broken, dice.choice(list(Damaged)))
            _say("wrong" if found else "right", case, f"damaged copy {number} {found}")


def _say(outcome: str, case: Case, message: str) -> None:
    facts = (case.codec, case.rate_hz, case.layout, f"{case.level_dbfs:g} dBFS", f"{case.length_s:g} s")
    print(json.dumps([outcome, " ".join([case.container, *map(str, facts)]), message]), flush=True)


def run_apart(container: str, arguments: argparse.Namespace) -> tuple[Counter[str], list[Failure]]:
    """Decode the files of one container in a process of its own; a crash is a failure of the last one."""
    options = [
        f"--seed={arguments.seed}",
        f"--cases={arguments.cases}",
        f"--damaged={arguments.damaged}",
        f"--container={container}",
    ]
    command = [sys.executable, str(Path(__file__)), *options]
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    lines = [json.loads(line) for line in process.stdout.splitlines()]
    counts = Counter(outcome for outcome, _, _ in lines if outcome != "starts")
    failures = [Failure(case=case, message=message) for outcome, case, message in lines if outcome == "wrong"]
    if process.returncode:
        _, case, message = lines[-1] if lines else ("", container, "")
        failures.append(Failure(case=case, message=f"{message} ends with {process.returncode}"))
    return counts, failures


def main() -> int:
    """Decode the files of all containers, or of one in this process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=5, help="files of each container and codec")
    parser.add_argument("--damaged", type=int, default=3, help="damaged copies of each file")
    parser.add_argument("--container", choices=CONTAINERS, help="only this one, in this process")
    arguments = parser.parse_args()
    if arguments.container:
        run_container(arguments.container, arguments.seed, arguments.cases, arguments.damaged)
        return 0
    totals: Counter[str] = Counter()
    failures: list[Failure] = []
    for container in CONTAINERS:
        counts, found = run_apart(container, arguments)
        totals += counts
        failures += found
        print(f"{container:<9}", dict(counts), flush=True)
    print("in all", dict(totals))
    for failure in failures:
        print(f"{failure.case:<60} {failure.message}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
