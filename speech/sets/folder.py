"""Folders of audio without text: enough to calibrate with, not to measure with."""

from collections.abc import Iterator
from pathlib import Path

from sottovoce.speech.clips import Clip

# What people keep speech in, of the many formats that FFmpeg reads.
AUDIO_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("aac", "aif", "aiff", "amr", "au", "caf", "flac", "m4a", "mp3", "oga", "ogg", "opus", "wav", "wma"),
        *("mka", "mkv", "mov", "mp4", "webm"),
    )
)


def read_folder(folder: Path) -> Iterator[Clip]:
    """Yield every audio file below a folder, by path; hidden ones are left out."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.suffix.lower() in AUDIO_SUFFIXES and not _is_hidden(inside) and path.is_file():
            yield Clip(clip_id=inside.as_posix(), audio=path)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
