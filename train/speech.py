"""The clips of a training, divided by speaker into those that train and those that measure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from sottovoce.errors import InputError
from sottovoce.progress import Reporter
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.speech.clips import Clip, ClipSet, count_by, select_clips, transcribable
from sottovoce.speech.loading import LoadedClip, load_clips
from sottovoce.speech.properties import speaker_of

TRAINING_SPLITS = ("train", "calib")
"""Clips of the split `eval` never train."""

HELD_OUT_SHARE = 0.15
MAX_HELD_OUT = 96
"""Clips: each evaluation takes as long as they take to encode and to decode once."""

MIN_SPEAKERS = 3
MIN_AUDIO_S = 120.0
ENOUGH_AUDIO_S = 1800.0
"""With less, the gain is smaller (docs/lab-notes.md)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Division:
    """Decoded clips that train, and those of other speakers on which the variant is measured."""

    training: tuple[LoadedClip, ...]
    held_out: tuple[LoadedClip, ...]

    @property
    def clips(self) -> tuple[LoadedClip, ...]:
        """All of them."""
        return self.training + self.held_out

    @property
    def audio_s(self) -> float:
        """Seconds of the clips that train."""
        return audio_s(self.training)


def load_division(
    speech: Sequence[ClipSet], *, english_only: bool, seed: int, reporter: Reporter
) -> Division:
    """Decode the clips that may train, and hold some speakers out.

    Args:
        speech: sets; of those with splits, only `train` and `calib`.
        english_only: whether the model is.
        seed: of the choice of speakers.

    Raises:
        InputError: no clip may train, or there is too little speech.
    """
    clips = tuple(chain.from_iterable(training_clips(each, english_only=english_only) for each in speech))
    with reporter.progress("decode speech", len(clips)) as advance:
        loaded = load_clips(clips, wanted=None, on_clip=advance)
    if loaded.rejected:
        first = loaded.rejected[0]
        reporter.note(f"left out {len(loaded.rejected)} clips; the first, {first.clip_id}: {first.reason}")
    unique = tuple({clip.audio_sha256: clip for clip in loaded.loaded}.values())
    _check_enough(unique)
    division = divide(unique, seed)
    n_left_out = len(unique) - len(division.clips)
    if n_left_out:
        reporter.note(
            f"of held-out speakers, at most {MAX_HELD_OUT} clips are measured on: {n_left_out} left out"
        )
    return division


def training_clips(speech: ClipSet, *, english_only: bool) -> tuple[Clip, ...]:
    """Return the clips of a set that may train.

    Raises:
        InputError: there are none.
    """
    splits = speech.splits()
    allowed = ClipSet(
        name=speech.name,
        clips=tuple(clip for clip in speech.clips if not splits or clip.split in TRAINING_SPLITS),
    )
    if not allowed.clips:
        raise InputError(
            f"{speech.name} has no clips of the splits train or calib (it has {', '.join(sorted(splits))}); clips of eval never train"
        )
    kept = transcribable(allowed, english_only=english_only)
    if not kept:
        languages = ", ".join(count_by(clip.language for clip in allowed.clips))
        raise InputError(
            f"{speech.name} has no English clips (it has {languages}); the model is English-only"
        )
    return kept


def divide(clips: Sequence[LoadedClip], seed: int) -> Division:
    """Hold out whole speakers, drawn by the seed, until they have 15 % of the clips, or 96; a speaker remains to train.

    A clip of an unknown speaker counts as a speaker of its own. Of one speaker, or none, nothing is held out. A speaker with more than twice as many clips as are wanted
    trains, unless all have: then the one with the fewest is held out.
    """
    speakers = Counter(_speaker(clip) for clip in clips)
    names = [
        clip.clip_id
        for clip in select_clips(
            [Clip(clip_id=each, audio=b"") for each in sorted(speakers)], None, seed=seed
        )
    ]
    wanted = min(MAX_HELD_OUT, round(HELD_OUT_SHARE * len(clips)))
    fitting = [name for name in names if speakers[name] <= max(1, 2 * wanted)]
    candidates = fitting or sorted(names, key=lambda each: speakers[each])[:1]
    held_out: set[str] = set()
    for name in candidates[: len(names) - 1]:
        if held_out and sum(speakers[each] for each in held_out) >= wanted:
            break
        held_out.add(name)
    return Division(
        training=tuple(clip for clip in clips if _speaker(clip) not in held_out),
        held_out=tuple(clip for clip in clips if _speaker(clip) in held_out)[:MAX_HELD_OUT],
    )


def _speaker(clip: LoadedClip) -> str:
    return speaker_of(clip.clip) or clip.clip.clip_id


def _check_enough(clips: Sequence[LoadedClip]) -> None:
    seconds, n_speakers = audio_s(clips), len({_speaker(clip) for clip in clips})
    if seconds < MIN_AUDIO_S or n_speakers < MIN_SPEAKERS:
        raise InputError(
            f"the speech has {seconds:.0f} s of {n_speakers} speakers, want at least {MIN_AUDIO_S:.0f} s of {MIN_SPEAKERS}, "
            f"since one is held out; {ENOUGH_AUDIO_S / 60:.0f} minutes are enough for most of the gain"
        )


def audio_s(clips: Sequence[LoadedClip]) -> float:
    """Add up the seconds of clips."""
    return sum(clip.wave.size for clip in clips) / SAMPLE_RATE_HZ
