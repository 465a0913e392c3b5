"""Errors of the operating system are printed in one line, whatever library raises them."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from sottovoce.errors import InputError, OutOfMemoryError, ResourceError, SottovoceError, StageError
from sottovoce.machine.os_errors import translate_os_error, translated_os_errors


@pytest.mark.parametrize(
    ("error", "kind", "message"),
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
        (MemoryError(), OutOfMemoryError, "too little memory"),
        (
            RuntimeError("Exception from src/core.cpp:1: std::bad_alloc"),
            OutOfMemoryError,
            "too little memory",
        ),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), OutOfMemoryError, "too little memory"),
        (
            RuntimeError(
                "Couldn't get TorchScript module by tracing. Exception: could not create a primitive"
            ),
            OutOfMemoryError,
            "too little memory",
        ),
        (
            RuntimeError(
                "Exception from src/inference/src/dev/plugin.cpp:54: Resource temporarily unavailable"
            ),
            OutOfMemoryError,
            "too little memory",
        ),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), OutOfMemoryError, "too little memory"),
        (
            ImportError("libtorch.so: failed to map segment from shared object"),
            OutOfMemoryError,
            "too little memory",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "runs"), InputError, "no permission for runs"),
        (OSError(errno.EROFS, "Read-only file system", "runs"), InputError, "Read-only file system"),
    ],
)
def test_an_error_of_the_system_is_translated(
    error: Exception, kind: type[SottovoceError], message: str
) -> None:
    translated = translate_os_error(error)
    assert type(translated) is kind
    assert message in str(translated)
    assert "\n" not in str(translated)


def test_an_error_behind_another_one_is_found(tmp_path: Path) -> None:
    error = ValueError("could not serialize")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(ResourceError, match=str(tmp_path)), translated_os_errors(tmp_path):
        raise error


@pytest.mark.parametrize("error", [ValueError("no"), FileNotFoundError(errno.ENOENT, "No such file", "a")])
def test_any_other_error_stays_unchanged(error: Exception, tmp_path: Path) -> None:
    assert translate_os_error(error, path=tmp_path) is None
    with pytest.raises(type(error)), translated_os_errors(tmp_path):
        raise error


def test_an_error_of_sottovoce_is_not_translated(tmp_path: Path) -> None:
    assert translate_os_error(StageError("too little: std::bad_alloc"), path=tmp_path) is None


CRASHES_WHEN_IT_LEAVES = """
import atexit, os, signal, sys
from sottovoce.cli import app as cli
def app(*_, **__):
    print("so far")
    raise {error}
cli.make_app = lambda _: app
atexit.register(os.kill, os.getpid(), signal.SIGSEGV)
cli.main()
"""


def test_where_memory_was_short_no_library_is_unloaded() -> None:
    """A library that was half loaded crashed when Python exited: exit code -11 after the message."""
    done = subprocess.run(
        [sys.executable, "-c", CRASHES_WHEN_IT_LEAVES.format(error="MemoryError")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == "so far\n"
    assert done.stderr.startswith("error: too little memory")
    assert done.stderr.count("\n") == 1
