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
    """Return the file that is locked while an output is written."""
    return path.with_name(f".{path.name}.lock")


@contextmanager
def output_lock(
    path: Path, *, note: Callable[[str], None] | None = None, wait: bool = True
) -> Iterator[bool]:
    """Keep other processes from writing an output; the system releases the lock if this process is killed.

    The same thread may hold it several times.

    Args:
        path: the output; it need not exist.
        note: receives the message that this process waits for another; the log by default.

    Yields:
        Whether it waited: earlier checks may no longer hold.

    Raises:
        InputError: another process writes the output, and `wait` is not set.
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
        # Removed while it is held, so that no other process locks a deleted file; Windows cannot do that and keeps it.
        if lock.lock_counter == 1 and os.name != "nt":
            lock_path(path.absolute()).unlink(missing_ok=True)
        lock.release()
