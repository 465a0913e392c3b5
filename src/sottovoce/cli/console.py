"""Progress bars, notes and errors, on standard error.

`commands` print data to standard output. Progress bars and colour appear on a terminal only; elsewhere a long step
prints one line at its end.
"""

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from sottovoce.errors import InputError
from sottovoce.progress import Advance, no_advance


class Terminal:
    """The output of notes, progress and errors."""

    def __init__(self, *, quiet: bool = False, colour: bool = True) -> None:
        no_color = None if colour else True
        is_closed = sys.stderr is None  # rich would print to standard output, which holds data
        self.console = Console(
            file=sys.stderr, no_color=no_color, highlight=False, soft_wrap=True, quiet=quiet or is_closed
        )
        self._errors = Console(
            file=sys.stderr, no_color=no_color, highlight=False, soft_wrap=True, quiet=is_closed
        )

    def note(self, text: str) -> None:
        """Print something about the work, not its result."""
        self.console.print(text, markup=False)

    def error(self, text: str) -> None:
        """Print an error in one line."""
        line = " ".join(text.split())
        try:
            self._errors.print(Text.assemble(("error:", "bold red"), " ", line))
        except MemoryError:  # colours need more memory than is left
            os.write(sys.stderr.fileno(), f"error: {line}\n".encode(errors="replace"))

    @contextmanager
    def progress(self, what: str, total: int | None) -> Iterator[Advance]:
        """Show a bar while the block runs; without a terminal, one line at its end."""
        if not self.console.is_terminal:
            yield no_advance
            self.note(f"{what}: done" if total is None else f"{what}: {total} done")
            return
        with self._bar() as bar:
            task = bar.add_task(what, total=total)
            yield lambda: bar.advance(task)
            if total is None:
                bar.update(task, total=1, completed=1)

    def _bar(self) -> Progress:
        return Progress(
            SpinnerColumn(finished_text="[green]✓[/]"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
        )


class ClosedOutput(io.TextIOBase):
    """Standard output that was closed by the caller (`>&-`)."""

    def write(self, _: str) -> int:
        """Refuse to lose text.

        Raises:
            InputError: always.
        """
        raise InputError("standard output is closed; redirect it to a file, or to /dev/null")


def replace_closed_streams() -> None:
    """Make writing to a closed standard output an error, and let no file have the number of a closed stream.

    Libraries write their warnings to the numbers 1 and 2, whatever file has them.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    if sys.stdout is None:
        sys.stdout = ClosedOutput()


def show_log(terminal: Terminal, verbosity: int) -> None:
    """Send the log to the terminal: warnings, with -v steps, with -vv everything."""
    level = {0: logging.WARNING, 1: logging.INFO}.get(verbosity, logging.DEBUG)
    handler = RichHandler(console=terminal.console, show_path=False, show_time=False, markup=False)
    logger = logging.getLogger("sottovoce")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
