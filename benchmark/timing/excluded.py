"""Entries of other engines that fail: each is told at once and left out, and the others go on.

What fails of our own engine ends the benchmark: it is what the benchmark is about.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from sottovoce.benchmark.engines.engine import DEFAULT_ENGINE, EngineSpec
from sottovoce.benchmark.schema.failures import FailedIn, SkippedEngine
from sottovoce.benchmark.timing.worker import ClipError
from sottovoce.errors import StageError
from sottovoce.progress import Reporter

FOLDERS = re.compile(r"(?<![\w/\\.:])(?:[A-Za-z]:)?[/\\](?:[^/\\\s:'\"]+[/\\])+")
"""The folders of an absolute path. Results are shared; where things lie on a machine is nobody's business."""


class FailedPeers:
    """Which entries of other engines have failed so far.

    Args:
        reporter: is told at once.
        before: those that had failed already.
    """

    def __init__(self, reporter: Reporter, before: Iterable[SkippedEngine] = ()) -> None:
        self._reporter = reporter
        self._found = list(before)

    @property
    def found(self) -> tuple[SkippedEngine, ...]:
        """All of them, in the order in which they failed."""
        return tuple(self._found)

    def left(self, specs: Sequence[EngineSpec]) -> tuple[EngineSpec, ...]:
        """Return the entries that have not failed."""
        failed = {each.entry for each in self._found}
        return tuple(spec for spec in specs if spec.name not in failed)

    @contextmanager
    def excluded(self, spec: EngineSpec, part: FailedIn) -> Iterator[None]:
        """Go on behind the block where an entry of another engine fails in it.

        Args:
            spec: the entry that the block asks.
            part: what the block measures.

        Raises:
            StageError: an entry of our own engine failed, or died.
            ClipError: one of our own failed on a clip.
        """
        try:
            yield
        except (StageError, ClipError) as cause:
            if spec.engine == DEFAULT_ENGINE:
                raise
            self.leave_out(spec, part, str(cause))

    def leave_out(self, spec: EngineSpec, part: FailedIn, cause: str) -> None:
        """Count an entry of another engine as failed, and say so."""
        failed = failed_peer(spec.engine, spec.name, part, cause)
        self._found.append(failed)
        self._reporter.note(failure_note(failed))


def failed_peer(engine: str, entry: str, part: FailedIn, cause: str) -> SkippedEngine:
    """Say for the results why an entry failed, without folders of this machine."""
    reason = FOLDERS.sub("", " ".join(cause.split())).removeprefix(f"{entry}: ")
    return SkippedEngine(engine=engine, entry=entry, failed_in=part, reason=reason)


def failure_note(failed: SkippedEngine) -> str:
    """Say what becomes of the benchmark."""
    goes_on = "the rest of it is measured" if failed.is_partial else "it is left out, the others are measured"
    return f"{failed.name}: {failed.message}; {goes_on}"
