"""Signals end a process soon, with the right exit code, even inside native code."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sottovoce.cli.interrupts import handle_signals

WAITER = """
import hashlib, sys, time
from sottovoce.cli.interrupts import Terminated, handle_signals
with handle_signals() as signals:
    try:
        print("ready", flush=True)
        {wait}
    except (KeyboardInterrupt, Terminated):
        {leave}
"""

IN_PYTHON = "time.sleep(60)"
IN_NATIVE_CODE = "hashlib.pbkdf2_hmac('sha256', b'', b'', 2_000_000_000)"
"""Minutes in OpenSSL, which Python cannot interrupt."""

AT_ONCE = "sys.exit(signals.exit_code)"
SLOWLY = "time.sleep(60)"

LONGEST_S = 5.0
"""One second is granted; the rest is for a busy machine."""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize(
    ("wait", "leave"), [(IN_PYTHON, AT_ONCE), (IN_NATIVE_CODE, AT_ONCE), (IN_PYTHON, SLOWLY)]
)
def test_a_signal_ends_whatever_is_done(wait: str, leave: str, number: signal.Signals, code: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WAITER.format(wait=wait, leave=leave)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        sent = time.monotonic()
        process.send_signal(number)
        errors = process.communicate(timeout=30)[1]
        assert time.monotonic() - sent < LONGEST_S
    assert process.returncode == code
    assert "Traceback" not in errors


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_nothing_is_raised_through_an_import(number: signal.Signals, code: int, tmp_path: Path) -> None:
    """`terminate called after throwing an instance of 'pybind11::error_already_set'`: torch, while it was imported."""
    (tmp_path / "native.py").write_text(
        "import os, time\n"
        "try:\n"
        "    print('importing', flush=True)\n"
        "    time.sleep(60)\n"
        "except BaseException:\n"
        "    os.abort()\n",
        encoding="utf-8",
    )
    waiter = WAITER.format(wait="import native", leave=AT_ONCE)
    with subprocess.Popen(
        [sys.executable, "-c", waiter],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["ready\n", "importing\n"]
        process.send_signal(number)
        errors = process.communicate(timeout=30)[1]
    assert process.returncode == code
    assert "nothing was half-written" in errors


def test_a_second_signal_does_not_wait() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WAITER.format(wait=IN_NATIVE_CODE, leave=AT_ONCE)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130


THROUGH_TEXT = """
import sys, time
from sottovoce.cli.interrupts import forget_interrupt, handle_signals
with handle_signals() as signals:
    try:
        exec("print('ready', flush=True); time.sleep(60)")
    except KeyboardInterrupt:
        forget_interrupt()
        sys.exit(signals.exit_code)
"""


def test_an_interrupt_that_passed_through_code_from_text_keeps_its_exit_code(tmp_path: Path) -> None:
    (tmp_path / "through_text.py").write_text(THROUGH_TEXT, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, "-m", "through_text"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130


def test_handlers_are_given_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with handle_signals() as signals:
        assert signal.getsignal(signal.SIGTERM) == signals.receive
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
