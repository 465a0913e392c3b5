"""Folders: LibriSpeech (SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt beside the audio), or audio files without text."""

from collections.abc import Iterator
from pathlib import Path

from sottovoce.errors import InputError
from sottovoce.speech.clips import Clip
from sottovoce.speech.sets.row import read_text

TRANSCRIPTS = "*.trans.txt"

# Common formats of speech; FFmpeg reads more.
AUDIO_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("aac", "aif", "aiff", "amr", "au", "caf", "flac", "m4a", "mp3", "oga", "ogg", "opus", "wav", "wma"),
        *("mka", "mkv", "mov", "mp4", "webm"),
    )
)


def read_folder(folder: Path) -> Iterator[Clip]:
    """Yield the audio files below a folder, sorted by path, without hidden ones: enough for calibration alone."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.suffix.lower() in AUDIO_SUFFIXES and not _is_hidden(inside) and path.is_file():
            yield Clip(clip_id=inside.as_posix(), audio=path)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def is_librispeech(folder: Path) -> bool:
    """Return whether a folder holds LibriSpeech transcripts at any depth."""
    return next(folder.rglob(TRANSCRIPTS), None) is not None


def read_librispeech(folder: Path) -> Iterator[Clip]:
    """Yield the clips of every transcript file below a folder, sorted by path; the language is English.

    Raises:
        InputError: a line has no id of an utterance; the message has file:line.
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
