"""Other speech that is rehearsed while a domain is learnt, with what the model says of it before it changes."""

from collections.abc import Sequence
from dataclasses import replace

from sottovoce.speech.clips import ClipSet, select_clips
from sottovoce.speech.loading import LoadedClip, load_clips
from sottovoce.train.speech import training_clips

MAX_REHEARSED_CLIPS = 400


def rehearsed_clips(speech: Sequence[ClipSet], *, english_only: bool, seed: int) -> tuple[LoadedClip, ...]:
    """Decode up to 400 clips, drawn by the seed; of sets with splits, those of `train` and `calib`.

    Raises:
        InputError: a set has no clips that may train.
    """
    clips = [clip for each in speech for clip in training_clips(each, english_only=english_only)]
    if not clips:
        return ()
    return load_clips(select_clips(clips, None, seed=seed), wanted=MAX_REHEARSED_CLIPS).loaded


def with_own_transcripts(clips: Sequence[LoadedClip], own: Sequence[str]) -> tuple[LoadedClip, ...]:
    """Give clips the model's own transcripts, without those where it says nothing.

    Args:
        clips: rehearsed ones.
        own: what the model said of each before it changed; nothing where it looped.
    """
    return tuple(
        replace(clip, clip=replace(clip.clip, text=text))
        for clip, text in zip(clips, own, strict=True)
        if text.strip()
    )
