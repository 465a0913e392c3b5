"""Ctrl-C and SIGTERM end a command within two seconds, with their own exit codes.

The main thread unwinds and cleans up. Native code may delay it for too long; then a thread that receives the signals
itself ends the process. That is safe: every command may be killed at any moment. Nothing unwinds through an import:
native modules that call Python while they are initialised abort the process if that raises. Python drops what is raised
in finalizers (`__del__`, weakref callbacks) and prints a traceback; instead, the exception is raised again soon after.
"""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import CodeType, FrameType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

GRACE_S = 1.0
"""Time for unwinding and cleaning up."""

RETRY_S = 0.01
"""Until an exception that was raised in a finalizer is raised again: most are over by then."""

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
        self.has_unwound = False
        self._finish: Callable[[], None] | None = None
        self._passes_next = False
        self._print_unraisable = sys.unraisablehook

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Unwind the main thread; a second signal does not: `_end_late` ends the process."""
        if number == signal.SIGINT and self._finish is not None:
            finish, self._finish = self._finish, None
            finish()
            return
        if self.exit_code is None:
            self.exit_code = EXIT_CODES[number]
            self._unwind(frame)

    @contextmanager
    def finish_first(self, finish: Callable[[], None]) -> Iterator[None]:
        """Let the first Ctrl-C in the block finish the work, which then ends as if it were done; the next one ends it.

        Args:
            finish: makes the work end soon; called in the main thread, between any two of its instructions.
        """
        self._finish, self._passes_next = finish, True
        try:
            yield
        finally:
            self._finish, self._passes_next = None, False

    def passes(self, code: int) -> bool:
        """Return whether a signal ends nothing, by its exit code; call it once for each."""
        is_first = self._passes_next and code == EXIT_CODES[signal.SIGINT]
        self._passes_next = self._passes_next and not is_first
        return is_first

    def handle_unraisable(self, unraisable: "UnraisableHookArgs") -> None:
        """Replace `sys.unraisablehook`: after a signal print nothing; raise the signal's exception again."""
        if self.exit_code is None:
            self._print_unraisable(unraisable)
        elif issubclass(unraisable.exc_type, KeyboardInterrupt | Terminated):
            self._unwind_later()

    def _unwind(self, frame: FrameType | None) -> None:
        """Raise in the main thread; during an import, end the process."""
        if self.has_unwound:
            return
        callers = list(_callers(frame))
        if any(each.co_filename.startswith("<frozen importlib") for each in callers):
            _end(self.exit_code or 0, self)
        if Signals.handle_unraisable.__code__ in callers:
            self._unwind_later()
            return
        raise KeyboardInterrupt if self.exit_code == EXIT_CODES[signal.SIGINT] else Terminated

    def _unwind_later(self) -> None:
        signal.signal(signal.SIGALRM, lambda _, frame: self._unwind(frame))
        signal.setitimer(signal.ITIMER_REAL, RETRY_S)


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
    hook_before, sys.unraisablehook = sys.unraisablehook, signals.handle_unraisable
    wakeup_before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_end_late, args=(ours, signals), name="signals", daemon=True).start()
    try:
        yield signals
    finally:
        if signals.exit_code is None:
            signal.set_wakeup_fd(wakeup_before)
            for number, handler in before.items():
                signal.signal(number, handler)
            sys.unraisablehook = hook_before
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
    while code is not None and signals.passes(code):
        code = _next_code(numbers)
    if code is None:
        numbers.close()
        return
    with suppress(TimeoutError):
        _next_code(numbers, time.monotonic() + GRACE_S)
    _end(code, signals)


def _callers(frame: FrameType | None) -> Iterator[CodeType]:
    """Yield the code of a frame and of those that called it."""
    while frame is not None:
        yield frame.f_code
        frame = frame.f_back


def _end(code: int, signals: Signals) -> NoReturn:
    """End the process without unwinding."""
    error = sys.stderr.fileno()
    if os.isatty(error):
        os.write(error, SHOW_CURSOR)
    if not signals.is_reported:
        os.write(error, f"{signal_message(code)}\n".encode())
    _kill_children()
    os._exit(code)  # without a flush: the interrupted thread may hold the lock of a stream


def _next_code(numbers: socket.socket, deadline_s: float | None = None) -> int | None:
    """Return the exit code of the next signal that ends a process; None after the last one.

    Raises:
        TimeoutError: there was none before the deadline, in seconds of `time.monotonic`.
    """
    while True:
        if deadline_s is not None:
            numbers.settimeout(max(deadline_s - time.monotonic(), 1e-6))  # 0 means something else
        number = numbers.recv(1)
        if not number:
            return None
        if number[0] in EXIT_CODES:
            return EXIT_CODES[number[0]]


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
