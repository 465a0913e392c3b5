"""What the machine refuses, told as errors of ours: a full disk, too little memory, a folder that cannot be written.

Libraries tell the same refusal in many ways: as `OSError`, as `MemoryError`, or as an exception of their own
that only its text gives away.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sottovoce.errors import (
    GateError,
    InputError,
    OutOfMemoryError,
    ResourceError,
    SottovoceError,
    StageError,
)

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})

FULL_TEXTS = (
    "no space left on device",
    "disk quota exceeded",
    "file too large",
    "database or disk is full",
    "iostream error",
    "(os error 28)",
    "(os error 27)",
)
"""Of Rust's `std::io`, of SQLite, of C++ streams, which OpenVINO writes with and which say no more."""

MEMORY_TEXTS = (
    "bad_alloc",
    "bad allocation",
    "can't allocate memory",
    "cannot allocate memory",
    "failed to allocate memory",
    "failed to map segment from shared object",
    "could not create a primitive",
    "can't start new thread",
    "resource temporarily unavailable",
    "(os error 12)",
)
"""Of C++, PyTorch, onnxruntime, the dynamic loader, oneDNN, and Python and OpenVINO where a thread's stack finds no room."""

DENIED_TEXTS = (
    "read-only file system",
    "permission denied",
    "readonly database",
    "(os error 13)",
    "(os error 30)",
)

MIN_FREE_BYTES = 1 << 20
"""On a disk with less a failure is put down to it: native writers do not tell why they failed."""


def explain(error: BaseException, *, path: Path | None = None) -> SottovoceError | None:
    """Tell what the machine refused; None where an error is something else, or is told already.

    Args:
        error: what was raised, with its causes.
        path: what was being written, for errors that do not say where.
    """
    if isinstance(error, SottovoceError):
        return None
    for each in _chain(error):
        where = _where(each, path)
        if _is(each, FULL, FULL_TEXTS):
            return disk_full(where)
        if isinstance(each, MemoryError) or _is(each, frozenset({errno.ENOMEM}), MEMORY_TEXTS):
            return OutOfMemoryError(
                f"too little memory for this step{_detail(each)}; close other programs, raise the limit, or use a "
                "machine with more memory"
            )
        if _is(each, DENIED, DENIED_TEXTS):
            return InputError(
                f"no permission for {where or 'a file'}{_detail(each)}; change its permissions, or choose another --out"
            )
    return None


def disk_full(where: Path | None) -> ResourceError:
    """Tell that a disk is full, and what is left on it."""
    left = "" if where is None else f" ({free_bytes(where) / (1 << 20):.1f} MiB free)"
    return ResourceError(
        f"the disk is full, or a limit on files is reached: {where or 'a file'} could not be written{left}; "
        "make room, then give the same command again"
    )


@contextmanager
def told_plainly(path: Path) -> Iterator[None]:
    """Raise what the machine refuses during the block as an error of ours.

    Args:
        path: what the block writes.

    Raises:
        ResourceError: the disk is full, or memory is short.
        InputError: a folder cannot be written.
    """
    try:
        yield
    except Exception as error:
        told = explain(error, path=path)
        if told is None and _may_come_of_a_full_disk(error) and is_full(path):
            told = disk_full(path)
        if told is None:
            raise
        raise told from error


def _may_come_of_a_full_disk(error: Exception) -> bool:
    """Tell whether a file that was cut short may be behind an error: one of a library, or of a check of ours."""
    return not isinstance(error, SottovoceError) or isinstance(error, StageError | GateError)


def check_room(path: Path) -> None:
    """Refuse what was written on a disk that is full now: a native writer may have cut it short without a word.

    Raises:
        ResourceError: the disk is full.
    """
    if free_bytes(path) == 0:
        raise disk_full(path)


def is_full(path: Path) -> bool:
    """Tell whether the disk of a path has hardly any room."""
    return free_bytes(path) < MIN_FREE_BYTES


def free_bytes(path: Path) -> int:
    """Return the room on the disk of a path, which need not be there yet."""
    existing = next(place for place in (path, *path.absolute().parents) if place.exists())
    return shutil.disk_usage(existing).free


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)


def _is(error: BaseException, numbers: frozenset[int], texts: tuple[str, ...]) -> bool:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in numbers
    told = str(error).lower()
    return any(text in told for text in texts)


def _where(error: BaseException, path: Path | None) -> Path | None:
    name = error.filename if isinstance(error, OSError) else None
    return Path(os.fsdecode(name)) if isinstance(name, str | bytes) else path


def _detail(error: BaseException) -> str:
    told = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
    return f" ({told[:120]})" if told else ""
