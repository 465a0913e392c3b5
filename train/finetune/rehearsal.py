"""Other speech that is rehearsed while a domain is learnt, with the checkpoint's own transcripts."""

from collections.abc import Sequence
from dataclasses import replace

from sottovoce.errors import InputError
from sottovoce.speech.clips import ClipSet, select_clips
from sottovoce.speech.loading import LoadedClip, load_clips
from sottovoce.train.speech import Division, divide, training_clips

MAX_REHEARSED_CLIPS = 400


def rehearsed_clips(speech: Sequence[ClipSet], *, english_only: bool, seed: int) -> tuple[LoadedClip, ...]:
    """Decode up to 400 clips, drawn by the seed; of sets with splits, those of `train` and `calib`.

    Raises:
        InputError: a set has no clips that may train, or there are too few to hold a speaker out.
    """
    clips = [clip for each in speech for clip in training_clips(each, english_only=english_only)]
    if not clips:
        return ()
    loaded = load_clips(select_clips(clips, None, seed=seed), wanted=MAX_REHEARSED_CLIPS).loaded
    divide_rehearsed(loaded, seed)  # refused before the work
    return loaded


def divide_rehearsed(clips: Sequence[LoadedClip], seed: int) -> Division:
    """Divide rehearsed clips by speaker into those that train and those on which `--max-forgetting` is measured.

    Raises:
        InputError: none can be held out.
    """
    division = divide(clips, seed)
    if not division.held_out:
        raise InputError(
            f"--rehearse has {len(clips)} usable clips, want those of at least 2 speakers, since one is held out to measure what is "
            "forgotten; a clip is not usable where the model's transcript is empty or loops. Give more speech, or leave --rehearse out"
        )
    return division


def with_own_transcripts(clips: Sequence[LoadedClip], own: Sequence[str]) -> tuple[LoadedClip, ...]:
    """Give clips the model's own transcripts, and leave out those where it is empty.

    Args:
        clips: rehearsed ones.
        own: the checkpoint's transcript of each; empty where it loops.
    """
    return tuple(
        replace(clip, clip=replace(clip.clip, text=text))
        for clip, text in zip(clips, own, strict=True)
        if text.strip()
    )
