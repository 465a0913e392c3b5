"""What the machine refuses is told in one line, whoever says it and however."""

import errno
from pathlib import Path

import pytest

from sottovoce.errors import InputError, ResourceError, SottovoceError, StageError
from sottovoce.failures import explain, told_plainly


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "runs/a.bin"),
            ResourceError,
            "runs/a.bin could not be",
        ),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), ResourceError, "the disk is full"),
        (OSError(errno.EFBIG, "File too large"), ResourceError, "a limit on files"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), ResourceError, "the disk is full"),
        (
            RuntimeError("(sqlite3.OperationalError) database or disk is full"),
            ResourceError,
            "the disk is full",
        ),
        (RuntimeError("basic_ios::clear: iostream error"), ResourceError, "the disk is full"),
        (MemoryError(), ResourceError, "too little memory"),
        (RuntimeError("Exception from src/core.cpp:1: std::bad_alloc"), ResourceError, "too little memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), ResourceError, "too little memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), ResourceError, "too little memory"),
        (
            ImportError("libtorch.so: failed to map segment from shared object"),
            ResourceError,
            "too little memory",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "runs"), InputError, "no permission for runs"),
        (OSError(errno.EROFS, "Read-only file system", "runs"), InputError, "Read-only file system"),
    ],
)
def test_a_refusal_is_told_as_what_it_is(error: Exception, kind: type[SottovoceError], told: str) -> None:
    explained = explain(error)
    assert type(explained) is kind
    assert told in str(explained)
    assert "\n" not in str(explained)


def test_a_refusal_behind_another_error_is_found(tmp_path: Path) -> None:
    error = ValueError("could not serialize")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(ResourceError, match=str(tmp_path)), told_plainly(tmp_path):
        raise error


@pytest.mark.parametrize("error", [ValueError("no"), FileNotFoundError(errno.ENOENT, "No such file", "a")])
def test_another_error_stays_what_it_is(error: Exception, tmp_path: Path) -> None:
    assert explain(error, path=tmp_path) is None
    with pytest.raises(type(error)), told_plainly(tmp_path):
        raise error


def test_an_error_of_ours_is_told_already(tmp_path: Path) -> None:
    assert explain(StageError("too little: std::bad_alloc"), path=tmp_path) is None
