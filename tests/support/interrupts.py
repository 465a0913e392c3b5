"""Interruptions of a training."""

from collections.abc import Iterator
from contextlib import contextmanager

from sottovoce.progress import Advance, Silent


class CtrlC(Silent):
    """Presses Ctrl-C at a step of the training."""

    def __init__(self, at_step: int) -> None:
        self._at_step = at_step

    @contextmanager
    def progress(self, what: str, total: int | None) -> Iterator[Advance]:  # noqa: ARG002 - not shown
        steps = iter(range(1, 1000))

        def advance() -> None:
            if what == "train" and next(steps) == self._at_step:
                raise KeyboardInterrupt

        yield advance
