"""Ctrl-C and SIGTERM end a command soon, with their own exit codes, whatever it is doing.

The main thread unwinds and cleans up. Native code may keep it from doing so for longer than anybody waits: a
thread that the system tells of signals by itself ends the process then. That is safe: everything here may be killed
at any moment. Nothing unwinds through an import: native modules that call Python while they are initialised abort the
process where that raises.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

GRACE_S = 1.0
"""For unwinding and cleaning up; with the time to notice, a command is gone within two seconds."""

EXIT_CODES = {int(signal.SIGINT): 130, int(signal.SIGTERM): 143}
"""128 and the number of the signal, as shells have it."""

SHOW_CURSOR = b"\x1b[?25h"
"""Progress bars hide it (ECMA-48, DECTCEM)."""

WORDS = {130: "interrupted", 143: "terminated"}


class Terminated(BaseException):
    """SIGTERM, on its way through the main thread; as `KeyboardInterrupt` is for SIGINT."""


class Signals:
    """What was received so far.

    Attributes:
        exit_code: of the last signal.
        is_told: the user knows.
    """

    def __init__(self) -> None:
        self.exit_code: int | None = None
        self.is_told = False

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Unwind the main thread; within an import, end the process."""
        self.exit_code = EXIT_CODES[number]
        if _is_importing(frame):
            _end(self.exit_code, self)
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated


@contextmanager
def obeyed() -> Iterator[Signals]:
    """Obey signals during the block, and until the process ends once one was received.

    Only the main thread can; in another nothing changes.
    """
    signals = Signals()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    before = {number: signal.getsignal(number) for number in EXIT_CODES}
    ours, theirs = socket.socketpair()
    theirs.settimeout(0)
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # a shell ignores SIGINT for what runs in the background
            signal.signal(number, signals.receive)
    wakeup_before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_end_late, args=(ours, signals), name="signals", daemon=True).start()
    try:
        yield signals
    finally:
        if signals.exit_code is None:
            signal.set_wakeup_fd(wakeup_before)
            for number, handler in before.items():
                signal.signal(number, handler)
            theirs.close()


def forget_interrupt() -> None:
    """Let Python leave with the exit code that it is given.

    CPython takes a `KeyboardInterrupt` that passed through code run from text, as libraries do while they are
    imported, for unhandled, and ends by SIGINT itself; running any other text takes that back.
    """
    exec("")  # noqa: S102 - nothing is run


def end_at_once(exit_code: int) -> NoReturn:
    """End the process and its children; nothing is unwound, and no library is unloaded."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads it any more, or it is closed
            stream.flush()
    _kill_children()
    os._exit(exit_code)


def told(exit_code: int) -> str:
    """Say in one line why a command ended."""
    return f"{WORDS[exit_code]}; nothing was half-written"


def _end_late(numbers: socket.socket, signals: Signals) -> None:
    """Wait for a signal, then for the process to end by itself; a second signal does not wait."""
    code = _next_code(numbers)
    if code is None:
        numbers.close()
        return
    numbers.settimeout(GRACE_S)
    with suppress(TimeoutError):
        _next_code(numbers)
    _end(code, signals)


def _is_importing(frame: FrameType | None) -> bool:
    """Tell whether a frame is below Python's import machinery."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _end(code: int, signals: Signals) -> NoReturn:
    """End the process without unwinding."""
    error = sys.stderr.fileno()
    if os.isatty(error):
        os.write(error, SHOW_CURSOR)
    if not signals.is_told:
        os.write(error, f"{told(code)}\n".encode())
    _kill_children()
    os._exit(code)  # without a flush: whoever was interrupted may hold the lock of what is written


def _next_code(numbers: socket.socket) -> int | None:
    """Return the exit code of the next signal that ends a process; None where no more can come."""
    while number := numbers.recv(1):
        if number[0] in EXIT_CODES:
            return EXIT_CODES[number[0]]
    return None


def _kill_children() -> None:
    try:
        import psutil

        children = psutil.Process().children(recursive=True)
    except (ImportError, AttributeError):  # it is being imported itself: too early for children
        return
    for child in children:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
