"""Clips, which are pieces of audio with their references, and their selection."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from sottovoce.errors import InputError, SpecError, nearest
from sottovoce.languages import find_language

DEFAULT_SEED = 0

SYNTHETIC_SOURCE = "sottovoce-demo"
"""Source of the synthetic clips that come with sottovoce."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A piece of audio with the facts of its speech set.

    Attributes:
        clip_id: unique in its speech set; stable when the set is moved.
        audio: a file, or the bytes of one.
        text: the reference transcript; None if there is none.
        language: Whisper's code (`en`, `zh`); None if unknown.
        split: `calib`, `eval` or any other name; None if the set has no splits.
        speaker: unique in its source; None if unknown.
        source: corpus of the clip in a mixed set; None if unknown.
        duration_s: as stated in the set; None if it states none.
        part: the part of the audio that the clip is, start and length in seconds; None: all of it. A length that is None
            reaches to the end.
    """

    clip_id: str
    audio: Path | bytes
    text: str | None = None
    language: str | None = None
    split: str | None = None
    speaker: str | None = None
    source: str | None = None
    duration_s: float | None = None
    part: tuple[float, float | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipSet:
    """The clips of a speech set, in its own order."""

    name: str
    clips: tuple[Clip, ...]

    def __len__(self) -> int:
        return len(self.clips)

    def splits(self) -> frozenset[str]:
        """Return the names of the splits; empty if there are none."""
        return frozenset(clip.split for clip in self.clips if clip.split is not None)

    def of_split(self, split: str) -> "ClipSet":
        """Keep the clips of one split; all of them if the set has no splits."""
        if not self.splits():
            return self
        return ClipSet(name=self.name, clips=tuple(clip for clip in self.clips if clip.split == split))


FILTER_KEYS = ("language", "source", "speaker", "split")


def filter_clips(clips: ClipSet, conditions: Sequence[str]) -> ClipSet:
    """Keep the clips for which every `key=value` holds.

    Raises:
        SpecError: a condition is malformed or has an unknown key.
        InputError: no clip is left.
    """
    kept = clips.clips
    for condition in conditions:
        key, equals, value = condition.partition("=")
        if not equals or key not in FILTER_KEYS:
            raise SpecError(
                f"--where {condition}: want KEY=VALUE with KEY one of {', '.join(FILTER_KEYS)}{nearest(key, FILTER_KEYS)}"
            )
        if key == "language":
            value = find_language(value) or value
        found = count_by(getattr(clip, key) for clip in kept)
        kept = tuple(clip for clip in kept if getattr(clip, key) == value)
        if not kept:
            raise InputError(
                f"{clips.name} has no clip with {condition}{nearest(value, found)} (it has {', '.join(found)})"
            )
    return ClipSet(name=clips.name, clips=kept)


def transcribable(clips: ClipSet, *, english_only: bool) -> tuple[Clip, ...]:
    """Keep the clips whose language a model transcribes; clips of unknown language count as English."""
    return tuple(clip for clip in clips.clips if not english_only or clip.language in (None, "en"))


def usable_clips(speech: ClipSet, split: str, *, english_only: bool) -> ClipSet:
    """Keep the clips of a split that a model can transcribe.

    Raises:
        InputError: none is left; the message names the splits and languages of the set.
    """
    of_split = speech.of_split(split)
    if not of_split.clips:
        raise InputError(
            f"{speech.name} has no clips of split {split}; it has {', '.join(sorted(speech.splits()))}"
        )
    kept = transcribable(of_split, english_only=english_only)
    if not kept:
        languages = ", ".join(count_by(clip.language for clip in of_split.clips))
        raise InputError(
            f"{speech.name} has no English clips of split {split} (it has {languages}); the model is English-only"
        )
    return ClipSet(name=speech.name, clips=kept)


def select_clips(clips: Sequence[Clip], n: int | None, *, seed: int = DEFAULT_SEED) -> tuple[Clip, ...]:
    """Draw `n` clips at random, from the seed and the ids of the clips alone.

    The order of the set does not matter, and a smaller selection is the beginning of a larger one.
    """
    ranked = sorted(clips, key=lambda clip: _draw(clip.clip_id, seed))
    return tuple(ranked if n is None else ranked[:n])


def spread_over_languages(clips: Sequence[Clip]) -> tuple[Clip, ...]:
    """Order clips so that each beginning has about as many of each language; those of a language keep their order."""
    turns: Counter[str | None] = Counter()
    ranked = []
    for clip in clips:
        turns[clip.language] += 1
        ranked.append((turns[clip.language], clip))
    return tuple(clip for _, clip in sorted(ranked, key=itemgetter(0)))


def _draw(clip_id: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{clip_id}".encode()).digest()


def count_by(values: Iterable[str | None]) -> dict[str, int]:
    """Count values by name, most frequent first; None counts as `unknown`."""
    counts: dict[str, int] = {}
    for value in values:
        key = value or "unknown"
        counts[key] = counts.get(key, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
