"""Errors of the operating system as errors of sottovoce: a full disk, too little memory, no permission.

Libraries raise the same failure as `OSError`, as `MemoryError`, or as their own exception that only its text
identifies.
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
"""Texts of Python, Rust's `std::io`, SQLite, and the C++ streams of OpenVINO (`iostream error`)."""

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
"""Texts of C++, PyTorch, onnxruntime, the dynamic loader, oneDNN; of Python and OpenVINO when a thread gets no stack."""

DENIED_TEXTS = (
    "read-only file system",
    "permission denied",
    "readonly database",
    "(os error 13)",
    "(os error 30)",
)

MIN_FREE_BYTES = 1 << 20
"""With less free space, the disk counts as the cause of a failure: native writers do not report theirs."""


def translate_os_error(error: BaseException, *, path: Path | None = None) -> SottovoceError | None:
    """Return the matching error of sottovoce; None for any other error and for errors of sottovoce itself.

    Args:
        error: its causes are searched too.
        path: the output, for errors without a file name.
    """
    if isinstance(error, SottovoceError):
        return None
    for each in _chain(error):
        where = _where(each, path)
        if _matches(each, FULL, FULL_TEXTS):
            return disk_full(where)
        if isinstance(each, MemoryError) or _matches(each, frozenset({errno.ENOMEM}), MEMORY_TEXTS):
            return OutOfMemoryError(
                f"too little memory for this step{_detail(each)}; close other programs, raise the limit, or use a "
                "machine with more memory"
            )
        if _matches(each, DENIED, DENIED_TEXTS):
            return InputError(
                f"no permission for {where or 'a file'}{_detail(each)}; change its permissions, or choose another --out"
            )
    return None


def disk_full(where: Path | None) -> ResourceError:
    """Return the error of a full disk, with its free space."""
    left = "" if where is None else f" ({free_bytes(where) / (1 << 20):.1f} MiB free)"
    return ResourceError(
        f"the disk is full, or a limit on files is reached: {where or 'a file'} could not be written{left}; "
        "make room, then give the same command again"
    )


@contextmanager
def translated_os_errors(path: Path) -> Iterator[None]:
    """Translate errors of the operating system during the block.

    Raises:
        ResourceError: the disk is full, or memory is short.
        InputError: a folder cannot be written.
    """
    try:
        yield
    except Exception as error:
        translated = translate_os_error(error, path=path)
        if translated is None and _may_be_a_full_disk(error) and is_full(path):
            translated = disk_full(path)
        if translated is None:
            raise
        raise translated from error


def _may_be_a_full_disk(error: Exception) -> bool:
    """Return whether a truncated file may have caused an error of a library or of a check."""
    return not isinstance(error, SottovoceError) or isinstance(error, StageError | GateError)


def check_room(path: Path) -> None:
    """Refuse what was written to a disk that is full now: native writers truncate files silently.

    Raises:
        ResourceError: the disk is full.
    """
    if free_bytes(path) == 0:
        raise disk_full(path)


def is_full(path: Path) -> bool:
    """Return whether the disk of a path has less than `MIN_FREE_BYTES`."""
    return free_bytes(path) < MIN_FREE_BYTES


def free_bytes(path: Path) -> int:
    """Return the free space on the disk of a path, which need not exist."""
    existing = next(place for place in (path, *path.absolute().parents) if place.exists())
    return shutil.disk_usage(existing).free


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)


def _matches(error: BaseException, numbers: frozenset[int], texts: tuple[str, ...]) -> bool:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in numbers
    message = str(error).lower()
    return any(text in message for text in texts)


def _where(error: BaseException, path: Path | None) -> Path | None:
    name = error.filename if isinstance(error, OSError) else None
    return Path(os.fsdecode(name)) if isinstance(name, str | bytes) else path


def _detail(error: BaseException) -> str:
    message = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
    return f" ({message[:120]})" if message else ""
