"""The interface through which a stage reports its progress."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[], None]


class Reporter(Protocol):
    """Receives the progress of a stage: a terminal, a log, nothing."""

    def note(self, text: str) -> None:
        """Report something about the work, not its result."""

    def progress(self, what: str, total: int | None) -> AbstractContextManager[Advance]:
        """Report a long step; call the yielded function once for each of `total` parts."""


class Silent:
    """A reporter without output."""

    def note(self, text: str) -> None:
        """Ignore the text."""

    @contextmanager
    def progress(self, what: str, total: int | None) -> Iterator[Advance]:  # noqa: ARG002 - part of the interface
        """Ignore the step."""
        yield no_advance


def no_advance() -> None:
    """Advance no bar."""
