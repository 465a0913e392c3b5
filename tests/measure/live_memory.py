"""Memory of one live session over hours of audio, fed as fast as it goes.

    python tests/measure/live_memory.py VARIANT MANIFEST --hours 8

Clips of a speech set, drawn at random, with pauses of 0.3 to 2 s between them. Anonymous memory is what a machine must have; the
slope is a line through the readings after the first five minutes.
"""

import argparse
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave, decode_audio
from sottovoce.runtime.loading import load
from sottovoce.speech.sets import read_speech

BLOCK = SAMPLE_RATE_HZ // 10
READ_EVERY_S = 300
SETTLED_S = 300
MB = 1e6
LONGEST_CLIP_S = 30.0


def audio(manifest: str, seed: int) -> Iterator[Wave]:
    """Draw clips without end, each followed by a pause."""
    files = [clip.audio for clip in read_speech(manifest).clips if (clip.duration_s or 0.0) <= LONGEST_CLIP_S]
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    while True:
        yield decode_audio(chance.choice(files))
        yield np.zeros(round(chance.uniform(0.3, 2.0) * SAMPLE_RATE_HZ), np.float32)


def anonymous_mb() -> float:
    """Return the memory of this process that no file backs, in MB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 / MB for line in lines if line.startswith("RssAnon"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Feed the session; print memory every five minutes of audio, and the slope."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("variant", type=Path)
    parser.add_argument("manifest")
    parser.add_argument("--hours", type=float, default=8.0)
    parser.add_argument("--language", default="en")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    session = load(given.variant, threads=given.threads).live(language=given.language)
    readings: list[tuple[float, float]] = []
    due_s = float(READ_EVERY_S)
    for wave in audio(given.manifest, given.seed):
        for start in range(0, len(wave), BLOCK):
            session.feed(wave[start : start + BLOCK])
        if session.audio_s >= due_s:
            readings.append((session.audio_s, anonymous_mb()))
            print(f"{session.audio_s / 60:6.0f} min  {readings[-1][1]:6.0f} MB", flush=True)
            due_s += READ_EVERY_S
        if session.audio_s >= 3600 * given.hours:
            break
    settled = [reading for reading in readings if reading[0] > SETTLED_S]
    hours, sizes = zip(*((at_s / 3600, size) for at_s, size in settled), strict=True)
    print(f"slope {np.polyfit(hours, sizes, 1)[0]:+.2f} MB an hour")


if __name__ == "__main__":
    main()
