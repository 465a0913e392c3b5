"""Save clips as small files with the results, so that a report can play them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.speech.conditions import encode_mp3
from sottovoce.speech.loading import LoadedClip

FOLDER = "audio"

MAX_FILES = 100
MAX_AUDIO_S = 1800
"""30 minutes take 5 MB."""

BIT_RATE = 24_000
"""Speech at 16 kHz is clear with it; every browser plays MP3."""


def changed_clips(
    baseline: str, compared: Iterable[str], rows: Mapping[str, Sequence[ClipRow]]
) -> tuple[str, ...]:
    """Return the ids of clips whose transcripts differ from the baseline's, those with most additional errors first.

    Args:
        baseline: name of the entry.
        compared: names of the entries that are compared with it.
        rows: by entry, in the order of the clips.
    """
    added_errors: dict[str, int] = {}
    for name in compared:
        for before, after in zip(rows[baseline], rows[name], strict=True):
            is_changed = before.normalized_hypothesis != after.normalized_hypothesis
            if is_changed and before.error is None and after.error is None:
                worse = after.words.errors - before.words.errors
                added_errors[after.clip_id] = max(worse, added_errors.get(after.clip_id, worse))
    return tuple(sorted(added_errors, key=lambda clip_id: (-added_errors[clip_id], clip_id)))[:MAX_FILES]


def write_audio(folder: Path, clips: Sequence[LoadedClip], wanted: Sequence[str]) -> dict[str, str]:
    """Write clips as MP3.

    Args:
        folder: of the results.
        clips: all clips.
        wanted: ids of the clips to write.

    Returns:
        The file of each clip, relative to the folder; at most `MAX_AUDIO_S` in total. File names are numbers, because ids are
        untrusted text.
    """
    waves = {clip.clip.clip_id: clip.wave for clip in clips}
    ends_s = np.cumsum([len(waves[clip_id]) / SAMPLE_RATE_HZ for clip_id in wanted])
    kept = [clip_id for clip_id, end_s in zip(wanted, ends_s, strict=True) if end_s <= MAX_AUDIO_S]
    names = {clip_id: f"{FOLDER}/{number:04d}.mp3" for number, clip_id in enumerate(kept, start=1)}
    if names:
        (folder / FOLDER).mkdir()
    for clip_id, name in names.items():
        (folder / name).write_bytes(encode_mp3(waves[clip_id], bit_rate=BIT_RATE))
    return names
