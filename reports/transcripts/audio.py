"""The audio of changed clips, as it goes into the page."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

MAX_CLIPS = 60
MAX_BYTES = 8_000_000
"""Of the files; in the page they take a third more."""
SUFFIX = ".mp3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Audio:
    """Files of clips by their names in the results, and how many more there are."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    n_left_out: int = 0


def read_audio(folder: Path, names: Iterable[str]) -> Audio:
    """Read files up to a number and a size.

    Args:
        folder: of the results; what lies outside is not read, whatever the results say.
        names: relative to it, the most wanted first.
    """
    found = [(name, path) for name in dict.fromkeys(names) if (path := _find(folder, name)) is not None]
    files: dict[str, bytes] = {}
    total = 0
    for name, path in found[:MAX_CLIPS]:
        total += path.stat().st_size
        if total > MAX_BYTES:
            break
        files[name] = path.read_bytes()
    return Audio(files=files, n_left_out=len(found) - len(files))


def _find(folder: Path, name: str) -> Path | None:
    try:
        path = (folder / name).resolve()
        is_ours = path.is_relative_to(folder.resolve()) and path.suffix == SUFFIX and path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return None
    return path if is_ours else None
