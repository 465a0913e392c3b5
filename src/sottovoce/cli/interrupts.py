"""Ctrl-C and SIGTERM end a command within two seconds, with their own exit codes.

The main thread unwinds and cleans up. Native code may delay it for too long; then a thread that receives the signals
itself ends the process. That is safe: every command may be killed at any moment. Nothing unwinds through an import:
native modules that call Python while they are initialised abort the process if that raises.
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
"""Time for unwinding and cleaning up."""

EXIT_CODES = {int(signal.SIGINT): 130, int(signal.SIGTERM): 143}
"""128 plus the number of the signal, as in shells."""

SHOW_CURSOR = b"\x1b[?25h"
"""Progress bars hide it (ECMA-48, DECTCEM)."""

SIGNAL_MESSAGES = {130: "interrupted", 143: "terminated"}


class Terminated(BaseException):
    """SIGTERM in the main thread, as `KeyboardInterrupt` is SIGINT."""


class Signals:
    """The signals that were received."""

    def __init__(self) -> None:
        self.exit_code: int | None = None
        self.is_reported = False

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Unwind the main thread; during an import, end the process."""
        self.exit_code = EXIT_CODES[number]
        if _is_importing(frame):
            _end(self.exit_code, self)
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated


@contextmanager
def handle_signals() -> Iterator[Signals]:
    """Handle signals during the block; after the first one, until the process ends.

    Only the main thread can do that; in another thread nothing changes.
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
    """Make Python exit with the given exit code.

    CPython treats a `KeyboardInterrupt` that passed through `exec`, which libraries call during their import, as
    unhandled, and kills itself by SIGINT; another `exec` resets that.
    """
    exec("")  # noqa: S102 - an empty program


def end_at_once(exit_code: int) -> NoReturn:
    """End the process and its children without unwinding or unloading libraries."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # its reader is gone, or it is closed
            stream.flush()
    _kill_children()
    os._exit(exit_code)


def signal_message(exit_code: int) -> str:
    """Return in one line why a command ended."""
    return f"{SIGNAL_MESSAGES[exit_code]}; nothing was half-written"


def _end_late(numbers: socket.socket, signals: Signals) -> None:
    """Wait for a signal, then give the process time to end by itself; a second signal ends it at once."""
    code = _next_code(numbers)
    if code is None:
        numbers.close()
        return
    numbers.settimeout(GRACE_S)
    with suppress(TimeoutError):
        _next_code(numbers)
    _end(code, signals)


def _is_importing(frame: FrameType | None) -> bool:
    """Return whether a frame runs inside an import."""
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
    if not signals.is_reported:
        os.write(error, f"{signal_message(code)}\n".encode())
    _kill_children()
    os._exit(code)  # without a flush: the interrupted thread may hold the lock of a stream


def _next_code(numbers: socket.socket) -> int | None:
    """Return the exit code of the next signal that ends a process; None after the last one."""
    while number := numbers.recv(1):
        if number[0] in EXIT_CODES:
            return EXIT_CODES[number[0]]
    return None


def _kill_children() -> None:
    try:
        import psutil

        children = psutil.Process().children(recursive=True)
    except (ImportError, AttributeError):  # during the import of psutil itself: there are no children yet
        return
    for child in children:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
