"""Tones that stand for speech, and speech sets of them. The same arguments give the same samples."""

import json
import math
import wave as wav
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave

CORPUS = (
    "the harbor lights went out one by one before the storm reached the coast",
    "she counted seventeen boats and wrote the number in a small blue book",
    "nobody in the village remembered when the bell had last been rung",
    "we took the early train north and arrived just after the rain had stopped",
)
"""What the tiny tokenizer's merges are learnt from, and what tones are said to say."""


def tone(duration_s: float, *, pitch_hz: float = 220.0, noise: float = 0.01) -> Wave:
    """Return a tone with vibrato and a little noise: float32, shape (n_samples,), 16 kHz."""
    n_samples = round(duration_s * SAMPLE_RATE_HZ)
    time_s = np.arange(n_samples) / SAMPLE_RATE_HZ
    rng = np.random.default_rng(round(pitch_hz * 1000))
    phase = 2 * math.pi * pitch_hz * time_s + 3 * np.sin(2 * math.pi * 5 * time_s)
    loudness = 0.3 * (1 + 0.5 * np.sin(2 * math.pi * 2 * time_s))
    samples = loudness * np.sin(phase) + noise * rng.standard_normal(n_samples)
    return np.asarray(samples, dtype=np.float32)


def write_tone_set(
    folder: Path,
    *,
    n_clips: int = 6,
    duration_s: float = 1.0,
    language: str = "en",
    splits: Sequence[str] = ("calib", "eval"),
) -> Path:
    """Write a speech set of tones of different pitch and length.

    Args:
        folder: is made where it is not there.
        n_clips: split in turn, from speakers of two clips each.
        duration_s: of the first clip; each further one is a tenth longer.
        language: of every clip.
        splits: taken in turn; empty for a set without splits.

    Returns:
        The manifest.
    """
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(n_clips):
        samples = tone(duration_s * (1 + i / 10), pitch_hz=150.0 + 40 * i)
        write_wav(folder / "clips" / f"{i:02d}.wav", samples)
        row = {
            "id": f"tone-{i:02d}",
            "audio": f"clips/{i:02d}.wav",
            "text": CORPUS[i % len(CORPUS)],
            "language": language,
            "speaker": f"s{i // 2}",
            "source": "tones",
            "duration_s": round(len(samples) / SAMPLE_RATE_HZ, 3),
        }
        rows.append(row | ({"split": splits[i % len(splits)]} if splits else {}))
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return manifest


def write_wav(path: Path, samples: Wave) -> None:
    """Write a wave as 16-bit PCM at 16 kHz."""
    with wav.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
