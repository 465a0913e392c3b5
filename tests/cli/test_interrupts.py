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


IN_A_FINALIZER = """
import ctypes, gc, os, signal, sys, time, weakref
from sottovoce.cli import app
from sottovoce.cli.interrupts import Terminated

class Thing:
    pass

def generate():
    try:
        yield
    finally:
        be_interrupted()

def be_interrupted(*_):
    if not sent:
        sent.append(True)
        os.kill(os.getpid(), signal.{number})
    for _ in range(100):
        time.sleep(0.001)  # the signal's exception is raised here, where Python drops it

def work(*_, **__):
    try:
        made = {garbage}
        del made
        time.sleep(60)
    except (KeyboardInterrupt, Terminated) as error:
        print("unwound by", type(error).__name__)
        raise

sent = []
sys.argv = ["sottovoce"]
app.make_app = lambda _: work
app.main()
"""

FINALIZERS = {
    "__del__": "type('Other', (), {'__del__': be_interrupted})()",
    "weakref callback": "Thing(); ended = weakref.ref(made, be_interrupted)",
    "weakref.finalize": "Thing(); weakref.finalize(made, be_interrupted)",
    "garbage collector's callback": "gc.callbacks.append(be_interrupted) or gc.collect()",
    "generator": "generate(); next(made)",
    "C callback": "ctypes.CFUNCTYPE(None)(be_interrupted)()",
    "finalizer after finalizer": "[type('Other', (), {'__del__': be_interrupted})() for _ in range(5)]",
}
"""Code after which Python drops the exception of `be_interrupted`, with a traceback on standard error."""


@pytest.mark.parametrize("garbage", FINALIZERS.values(), ids=FINALIZERS)
def test_an_interrupt_in_a_finalizer_unwinds_the_program(garbage: str) -> None:
    ended = run_until_signal(signal.SIGINT, garbage)
    assert (ended.stderr, ended.returncode) == ("interrupted; nothing was half-written\n", 130)
    assert ended.stdout == "unwound by KeyboardInterrupt\n"


def test_a_termination_in_a_finalizer_unwinds_the_program() -> None:
    ended = run_until_signal(signal.SIGTERM, FINALIZERS["__del__"])
    assert (ended.stderr, ended.returncode) == ("terminated; nothing was half-written\n", 143)
    assert ended.stdout == "unwound by Terminated\n"


def run_until_signal(number: signal.Signals, garbage: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", IN_A_FINALIZER.format(number=number.name, garbage=garbage)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_without_a_signal_errors_of_finalizers_are_printed() -> None:
    program = (
        "from sottovoce.cli.interrupts import handle_signals\n"
        "with handle_signals():\n"
        "    type('Thing', (), {'__del__': lambda self: 1 / 0})()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    assert "ZeroDivisionError" in ended.stderr


FINISHING = """
import sys, time
from sottovoce.cli.interrupts import Terminated, handle_signals
stopped = []
with handle_signals() as signals:
    try:
        with signals.finish_first(lambda: stopped.append(True)):
            print("ready", flush=True)
            while not stopped:
                time.sleep(0.01)
            print("finishes", flush=True)
            time.sleep({work_s})
    except (KeyboardInterrupt, Terminated):
        sys.exit(signals.exit_code)
print("done", flush=True)
"""


def start_finishing(work_s: float) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", FINISHING.format(work_s=work_s)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "finishes\n"
    return process


def test_the_first_interrupt_can_finish_the_work_however_long_that_takes() -> None:
    with start_finishing(work_s=2.0) as process:
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, output, errors) == (0, "done\n", "")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_next_signal_ends_work_that_is_being_finished(number: signal.Signals, code: int) -> None:
    with start_finishing(work_s=60.0) as process:
        sent = time.monotonic()
        process.send_signal(number)
        output, errors = process.communicate(timeout=30)
        assert time.monotonic() - sent < LONGEST_S
    assert (process.returncode, output) == (code, "")
    assert "Traceback" not in errors
