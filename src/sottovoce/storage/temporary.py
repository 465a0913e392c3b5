"""Temporary folders that a kill does not leave behind for good: the next command removes them."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX = "sottovoce-"
LOCK_NAME = "lock"
"""Held while the folder is in use; the system gives it back when a process is killed."""

NEW_S = 60.0
"""A folder that was made so lately may belong to a process that has not locked it yet."""


@contextmanager
def temporary_folder(into: Path | None = None) -> Iterator[Path]:
    """Yield an empty folder that is gone after the block; remove first those that killed processes left.

    Args:
        into: the folder for it; the system's for temporary files by default (`TMPDIR`).
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
    """Remove the folders that nobody holds. Those of other users stay: what cannot be removed is theirs to remove."""
    for holder in above.glob(f"{PREFIX}*"):
        with suppress(Timeout, OSError):
            if _is_left(holder):
                with FileLock(holder / LOCK_NAME, timeout=0):
                    shutil.rmtree(holder, ignore_errors=True)


def _is_left(holder: Path) -> bool:
    """Tell whether a folder is one of these, old enough to have been locked by whoever uses it."""
    is_ours = (holder / LOCK_NAME).is_file() and not holder.is_symlink()
    return is_ours and time.time() - holder.stat().st_mtime > NEW_S
