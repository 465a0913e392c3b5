"""Folders that appear whole or not at all, whatever ends the process that writes them.

The work happens beside the output in a hidden folder with a fixed name, under a lock: whoever writes the same folder next finds what a
killed process left, and removes it. Where a folder is replaced, the two change places in one step of the
file system, so that there is one under the name at every moment.
"""

import ctypes
import errno
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sottovoce.errors import InputError, OutputExistsError
from sottovoce.machine.os_errors import check_room, told_plainly
from sottovoce.storage.artifacts import MANIFEST_NAME, is_artifact
from sottovoce.storage.locks import output_lock

NEW, OLD, DELETED = "new", "old", "gone"
"""What is being written beside an output, what it replaces, and what is being removed."""

AT_FDCWD, RENAME_EXCHANGE = -100, 2
"""See renameat2(2)."""

NO_EXCHANGE = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP})
"""Of file systems and kernels that cannot."""


def sibling(path: Path, kind: str) -> Path:
    """Name the sibling of an output that is hidden by a dot."""
    return path.with_name(f".{path.name}.{kind}")


def check_output(path: Path, *, force: bool) -> None:
    """Refuse a folder to be written that exists, unless it may be replaced.

    Raises:
        OutputExistsError: it exists and `force` is not set.
        InputError: it is no folder, or `force` is set and sottovoce did not write it.
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
    """Refuse a path for a folder where something else stands: nothing of ours is ever in its place.

    Raises:
        InputError: it is a file, a device or a link that leads nowhere.
    """
    if os.path.lexists(path) and not path.is_dir():
        raise InputError(
            f"{path} is no folder, and a folder is to be written there; --force does not delete it. Choose another --out"
        )


def check_output_file(path: Path, *, force: bool) -> None:
    """Refuse a file to be written that exists, unless it may be replaced.

    Raises:
        OutputExistsError: it exists and `force` is not set.
        InputError: it is a folder.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder, and a file is to be written there; name a file in it")
    if path.exists() and not force:
        raise OutputExistsError(path)


@contextmanager
def new_folder(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Yield a folder of the same name beside `path` that becomes `path` when the block ends well.

    An exception, Ctrl-C included, removes it and leaves `path` as it was; after a kill, the next
    writer of `path` does so. Another process that writes `path` is waited for.

    Raises:
        OutputExistsError: `path` exists and `force` is not set.
        ResourceError: the disk is full, or memory is short.
        InputError: the folder above cannot be written.
    """
    check_output(path, force=force)
    with told_plainly(path), output_lock(path):
        recover_interrupted_write(path)
        check_output(path, force=force)
        holder = sibling(path, NEW)
        work = holder / path.name
        try:
            with told_plainly(path):  # before there is room again
                work.mkdir(parents=True)
                yield work
                check_room(path.parent)
                replace_folder(work, path)
        finally:
            shutil.rmtree(holder, ignore_errors=True)


def recover_interrupted_write(path: Path) -> None:
    """Put right what a killed writer of a folder left beside it. Its lock must be held.

    A file under such a name is none that can be made again: it goes back where it was, or stays.
    """
    old = sibling(path, OLD)
    if old.exists() and not path.exists():
        old.rename(path)
    for left in (old, sibling(path, NEW), sibling(path, DELETED)):
        if left.is_dir():
            shutil.rmtree(left)


def exchange(one: Path, other: Path) -> bool:
    """Let two paths change places in one step; tell whether the system can."""
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
    """Rename `work` to `path`; what was there is in the place of `work` then, or gone.

    Args:
        work: on the same file system.
        path: its lock must be held.
        exchange: lets two paths change places, where the system can; else a kill between two renames leaves
            the old folder beside, and `recover_interrupted_write` puts it back.

    Raises:
        InputError: there is something else than a folder.
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
    """Remove a folder; one that is only half removed has another name. Its lock must be held."""
    gone = sibling(path, DELETED)
    if gone.exists():
        shutil.rmtree(gone)
    if path.exists():
        path.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
