"""Folders that appear whole or not at all, even if the process that writes them is killed.

The files are written to a hidden folder with a fixed name beside the output, under a lock. The next process that
writes the same output removes what a killed one left. To replace a folder, the file system exchanges the two in one
step, so that the output exists at every moment.
"""

import ctypes
import errno
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from sottovoce.errors import InputError, OutputExistsError
from sottovoce.machine.os_errors import check_room, translated_os_errors
from sottovoce.storage.artifacts import MANIFEST_NAME, is_artifact
from sottovoce.storage.locks import output_lock

NEW, OLD, DELETED = "new", "old", "gone"
"""Suffixes of siblings: being written, being replaced, being removed."""

AT_FDCWD, RENAME_EXCHANGE = -100, 2
"""See renameat2(2)."""

NO_EXCHANGE = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP})
"""Errors of file systems and kernels that cannot exchange two paths."""


def sibling(path: Path, kind: str) -> Path:
    """Return the hidden sibling of an output."""
    return path.with_name(f".{path.name}.{kind}")


def check_output(path: Path, *, force: bool) -> None:
    """Refuse an output folder that exists, unless it may be replaced.

    Raises:
        OutputExistsError: it exists and `force` is not set.
        InputError: it is not a folder, or `force` is set and sottovoce did not write it.
    """
    check_is_folder(path)
    if not path.exists():
        return
    if not force:
        raise OutputExistsError(path)
    if any(path.iterdir()) and not is_artifact(path):
        raise InputError(
            f"{path} exists and was not written by sottovoce (it has no {MANIFEST_NAME}); "
            "--force does not delete it. Choose another --out"
        )


def check_is_folder(path: Path) -> None:
    """Refuse an output folder whose path is taken by something else; sottovoce never wrote that.

    Raises:
        InputError: it is a file, a device or a broken link.
    """
    if os.path.lexists(path) and not path.is_dir():
        raise InputError(
            f"{path} is not a folder, and the output is a folder; --force does not delete it. Choose another --out"
        )


def check_output_file(path: Path, *, force: bool) -> None:
    """Refuse an output file that exists, unless it may be replaced.

    Raises:
        OutputExistsError: it exists and `force` is not set.
        InputError: it is a folder.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder, and the output is a file; name a file in it")
    if path.exists() and not force:
        raise OutputExistsError(path)


@contextmanager
def new_folder(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` when the block succeeds.

    An exception, Ctrl-C included, removes it and leaves `path` as it was; after a kill, the next writer of `path`
    removes it. If another process writes `path`, this one waits.

    Raises:
        OutputExistsError: `path` exists and `force` is not set.
        ResourceError: the disk is full, or memory is short.
        InputError: the folder above cannot be written.
    """
    check_output(path, force=force)
    with translated_os_errors(path), output_lock(path):
        recover_interrupted_write(path)
        check_output(path, force=force)
        holder = sibling(path, NEW)
        work = holder / path.name
        try:
            with translated_os_errors(path):  # before the clean-up frees disk space
                work.mkdir(parents=True)
                yield work
                check_room(path.parent)
                replace_folder(work, path)
        finally:
            shutil.rmtree(holder, ignore_errors=True)


def recover_interrupted_write(path: Path) -> None:
    """Clean up what a killed writer of a folder left beside it. Its lock must be held.

    A replaced folder returns to its place if the new one is missing. Files with these names are kept: sottovoce
    did not write them.
    """
    old = sibling(path, OLD)
    if old.exists() and not path.exists():
        old.rename(path)
    for left in (old, sibling(path, NEW), sibling(path, DELETED)):
        if left.is_dir():
            shutil.rmtree(left)


def exchange(one: Path, other: Path) -> bool:
    """Exchange two paths in one step; return False if the system cannot."""
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    names = [os.fsencode(path) for path in (one, other)]
    if libc.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in NO_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(other))


def replace_folder(work: Path, path: Path, *, exchange: Callable[[Path, Path], bool] = exchange) -> None:
    """Rename `work` to `path`. A folder that was there moves to `work`, or is deleted.

    Args:
        work: on the same file system.
        path: its lock must be held.
        exchange: exchanges two paths, where the system can. Otherwise a kill between two renames leaves the old
            folder under a hidden name, and `recover_interrupted_write` restores it.

    Raises:
        InputError: `path` is not a folder.
    """
    check_is_folder(path)
    if not path.exists():
        work.rename(path)
        return
    if exchange(work, path):
        return
    old = sibling(path, OLD)
    path.rename(old)
    try:
        work.rename(path)
    except OSError:
        old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def remove_folder(path: Path) -> None:
    """Remove a folder; it is renamed first, so that it is never half removed. Its lock must be held."""
    deleted = sibling(path, DELETED)
    if deleted.exists():
        shutil.rmtree(deleted)
    if path.exists():
        path.rename(deleted)
        shutil.rmtree(deleted, ignore_errors=True)


TEMPORARY_PREFIX = "sottovoce-"
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
    holder = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=above))
    try:
        with FileLock(holder / LOCK_NAME):
            folder = holder / "in"
            folder.mkdir()
            yield folder
    finally:
        shutil.rmtree(holder, ignore_errors=True)


def _remove_left(above: Path) -> None:
    """Remove the folders that no process holds; those of other users cannot be removed and stay."""
    for holder in above.glob(f"{TEMPORARY_PREFIX}*"):
        with suppress(Timeout, OSError):
            if _is_left(holder):
                with FileLock(holder / LOCK_NAME, timeout=0):
                    shutil.rmtree(holder, ignore_errors=True)


def _is_left(holder: Path) -> bool:
    """Return whether a folder is one of sottovoce's and old enough to have been locked by its process."""
    is_ours = (holder / LOCK_NAME).is_file() and not holder.is_symlink()
    return is_ours and time.time() - holder.stat().st_mtime > NEW_S
