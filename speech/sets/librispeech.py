"""Folders laid out as LibriSpeech is: SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt beside the audio."""

from collections.abc import Iterator
from pathlib import Path

from sottovoce.errors import InputError
from sottovoce.speech.clips import Clip
from sottovoce.speech.sets.textfile import read_text

TRANSCRIPTS = "*.trans.txt"


def is_librispeech(folder: Path) -> bool:
    """Tell whether a folder holds LibriSpeech transcripts at any depth."""
    return next(folder.rglob(TRANSCRIPTS), None) is not None


def read_librispeech(folder: Path) -> Iterator[Clip]:
    """Yield the clips of every transcript file below a folder, by path; the language is English.

    Raises:
        InputError: a line without an utterance's id, named as file:line.
    """
    for path in sorted(folder.rglob(TRANSCRIPTS)):
        yield from _read_chapter(path)


def _read_chapter(path: Path) -> Iterator[Clip]:
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        clip_id, _, text = line.strip().partition(" ")
        speaker, dash, _ = clip_id.partition("-")
        if not dash:
            raise InputError(f"{path}:{number}: want `SPEAKER-CHAPTER-NUMBER TEXT`, got {line[:40]!r}")
        yield Clip(
            clip_id=clip_id, audio=path.parent / f"{clip_id}.flac", text=text, language="en", speaker=speaker
        )
