"""Other speech that is rehearsed while a domain is learnt, with what the model says of it before it changes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from sottovoce.progress import Reporter
from sottovoce.speech.clips import ClipSet, select_clips
from sottovoce.speech.loading import LoadedClip, load_clips
from sottovoce.storage.documents import Document, read_json_lines, write_json_lines
from sottovoce.train.speech import training_clips

MAX_REHEARSED_CLIPS = 400
MOST_OWN_TOKENS = 220
"""Of a transcript of 30 s: a longer one is a loop."""


class OwnTranscript(Document):
    """What the model says of a rehearsed clip before training; nothing where it loops."""

    clip_id: str
    text: str


def rehearsed_clips(speech: Sequence[ClipSet], *, english_only: bool, seed: int) -> tuple[LoadedClip, ...]:
    """Decode up to 400 clips, drawn by the seed; of sets with splits, those of `train` and `calib`.

    Raises:
        InputError: a set has no clips that may train.
    """
    clips = [clip for each in speech for clip in training_clips(each, english_only=english_only)]
    if not clips:
        return ()
    return load_clips(select_clips(clips, None, seed=seed), wanted=MAX_REHEARSED_CLIPS).loaded


def with_own_transcripts(
    clips: Sequence[LoadedClip], transcribe: Callable[[LoadedClip], str], path: Path, reporter: Reporter
) -> tuple[LoadedClip, ...]:
    """Give clips the model's own transcripts, without those where it says nothing.

    Args:
        clips: rehearsed ones.
        transcribe: returns what the model says of a clip before it changes.
        path: of the file that keeps the transcripts; written once, so that an interrupted command resumes.

    Raises:
        InputError: the file is damaged.
    """
    if not path.is_file():
        found = []
        with reporter.progress("transcribe", len(clips)) as advance:
            for clip in clips:
                found.append(OwnTranscript(clip_id=clip.clip.clip_id, text=transcribe(clip)))
                advance()
        write_json_lines(path, found)
    own = read_json_lines(path, OwnTranscript, advice="repeat the command with --restart")
    return tuple(
        replace(clip, clip=replace(clip.clip, text=each.text))
        for clip, each in zip(clips, own, strict=True)
        if each.text.strip()
    )
