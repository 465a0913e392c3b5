"""How a stage tells what it is doing, without knowing who listens."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[], None]


class Reporter(Protocol):
    """Listens to a stage: a terminal, a log, nobody."""

    def note(self, text: str) -> None:
        """Say something about the work, not its result."""

    def progress(self, what: str, total: int | None) -> AbstractContextManager[Advance]:
        """Follow a long step; call what it yields once for each of `total` parts."""


class Silent:
    """A reporter that nobody listens to."""

    def note(self, text: str) -> None:
        """Say nothing."""

    @contextmanager
    def progress(self, what: str, total: int | None) -> Iterator[Advance]:  # noqa: ARG002 - nobody listens
        """Show nothing."""
        yield _nothing


def _nothing() -> None:
    """Advance no bar."""
