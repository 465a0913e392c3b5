"""Temporary folders; the next command removes those of killed processes."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX = "sottovoce-"
LOCK_NAME = "lock"
"""Locked while the folder is in use; the system releases it when a process is killed."""

NEW_S = 60.0
"""A newer folder may belong to a process that has not locked it yet."""


@contextmanager
def temporary_folder(into: Path | None = None) -> Iterator[Path]:
    """Remove the folders of killed processes, then yield an empty one that is removed after the block.

    Args:
        into: its parent folder; by default the system's for temporary files (`TMPDIR`).
    """
    above = Path(tempfile.gettempdir() if into is None else into)
    _remove_left(above)
    holder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=above))
    try:
        with FileLock(holder / LOCK_NAME):
            folder = holder / "in"
            folder.mkdir()
            yield folder
    finally:
        shutil.rmtree(holder, ignore_errors=True)


def _remove_left(above: Path) -> None:
    """Remove the folders that no process holds; those of other users cannot be removed and stay."""
    for holder in above.glob(f"{PREFIX}*"):
        with suppress(Timeout, OSError):
            if _is_left(holder):
                with FileLock(holder / LOCK_NAME, timeout=0):
                    shutil.rmtree(holder, ignore_errors=True)


def _is_left(holder: Path) -> bool:
    """Return whether a folder is one of sottovoce's and old enough to have been locked by its process."""
    is_ours = (holder / LOCK_NAME).is_file() and not holder.is_symlink()
    return is_ours and time.time() - holder.stat().st_mtime > NEW_S
