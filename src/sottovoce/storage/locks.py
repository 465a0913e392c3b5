"""One writer for one output."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from sottovoce.errors import InputError

logger = logging.getLogger(__name__)


def lock_path(path: Path) -> Path:
    """Name the file that is locked while an output is written."""
    return path.with_name(f".{path.name}.lock")


@contextmanager
def output_lock(
    path: Path, *, note: Callable[[str], None] | None = None, wait: bool = True
) -> Iterator[bool]:
    """Keep other processes from writing an output meanwhile; the system gives the lock back if this one is killed.

    The same thread may hold it several times.

    Args:
        path: the output; it need not be there.
        note: is told that another process writes it, and that this one waits; the log by default.
        wait: for the other process.

    Yields:
        Whether it had to wait: what was checked before may have changed.

    Raises:
        InputError: another process writes it, and `wait` is not set.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(lock_path(path.absolute()), is_singleton=True)
    waited = False
    try:
        lock.acquire(timeout=0)
    except Timeout as cause:
        if not wait:
            raise InputError(
                f"another process is writing {path}; wait for it, or choose another --out"
            ) from cause
        (note or logger.warning)(f"another process is writing {path}; waiting for it")
        lock.acquire()
        waited = True
    try:
        yield waited
    finally:
        # Removed while it is still held, so that nobody can hold a file that is gone; Windows cannot, and keeps it.
        if lock.lock_counter == 1 and os.name != "nt":
            lock_path(path.absolute()).unlink(missing_ok=True)
        lock.release()
