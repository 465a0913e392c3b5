"""Clips: pieces of audio with their references, and how some of many are chosen."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sottovoce.errors import InputError, SpecError, nearest

DEFAULT_SEED = 0

SYNTHETIC_SOURCE = "sottovoce-demo"
"""Source of the clips that come with sottovoce: spoken by a machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One piece of audio with what its speech set says of it.

    Attributes:
        clip_id: unique in its speech set; stable when the set is moved.
        audio: a file, or the bytes of one.
        text: the reference transcript; None where there is none.
        language: code as Whisper has it (`en`, `zh`); None where the set does not say.
        split: `calib`, `eval` or any other word of the set; None where it has no splits.
        speaker: unique in its source; None where unknown.
        source: corpus that a mixed set takes the clip from; None where unknown.
        duration_s: as the set says; None where only decoding would tell.
    """

    clip_id: str
    audio: Path | bytes
    text: str | None = None
    language: str | None = None
    split: str | None = None
    speaker: str | None = None
    source: str | None = None
    duration_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipSet:
    """The clips of a speech set, in its own order."""

    name: str
    clips: tuple[Clip, ...]

    def __len__(self) -> int:
        return len(self.clips)

    def splits(self) -> frozenset[str]:
        """Name the splits that the set distinguishes; empty where it has none."""
        return frozenset(clip.split for clip in self.clips if clip.split is not None)

    def of_split(self, split: str) -> "ClipSet":
        """Keep the clips of one split; all of them where the set has no splits."""
        if not self.splits():
            return self
        return ClipSet(name=self.name, clips=tuple(clip for clip in self.clips if clip.split == split))


FILTER_KEYS = ("language", "source", "speaker", "split")


def filter_clips(clips: ClipSet, conditions: Sequence[str]) -> ClipSet:
    """Keep the clips for which every `key=value` holds.

    Raises:
        SpecError: a condition of another form, or on a key that clips do not have.
        InputError: no clip is left.
    """
    kept = clips.clips
    for condition in conditions:
        key, equals, value = condition.partition("=")
        if not equals or key not in FILTER_KEYS:
            raise SpecError(
                f"--where {condition}: want KEY=VALUE with KEY one of {', '.join(FILTER_KEYS)}{nearest(key, FILTER_KEYS)}"
            )
        found = count_by(getattr(clip, key) for clip in kept)
        kept = tuple(clip for clip in kept if getattr(clip, key) == value)
        if not kept:
            raise InputError(
                f"{clips.name} has no clip with {condition}{nearest(value, found)} (it has {', '.join(found)})"
            )
    return ClipSet(name=clips.name, clips=kept)


def select_clips(clips: Sequence[Clip], n: int | None, *, seed: int = DEFAULT_SEED) -> tuple[Clip, ...]:
    """Choose `n` clips by chance that depends on the seed and the clips' ids only.

    The order of the set does not matter, a smaller choice is part of a larger one, and the
    chosen clips come in the order in which they were drawn.
    """
    ranked = sorted(clips, key=lambda clip: _draw(clip.clip_id, seed))
    return tuple(ranked if n is None else ranked[:n])


def _draw(clip_id: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{clip_id}".encode()).digest()


def count_by(values: Iterable[str | None]) -> dict[str, int]:
    """Count values by name, most frequent first; None counts as `unknown`."""
    counts: dict[str, int] = {}
    for value in values:
        key = value or "unknown"
        counts[key] = counts.get(key, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
