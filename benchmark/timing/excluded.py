"""Entries of other engines that fail: each is reported at once and left out, and the others continue.

A failure of our own engine ends the benchmark.
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
"""The folders of an absolute path, which are private: results are shared."""


class FailedPeers:
    """The entries of other engines that have failed; `reporter` gets a note for each new one."""

    def __init__(self, reporter: Reporter, before: Iterable[SkippedEngine] = ()) -> None:
        self._reporter = reporter
        self._found = list(before)

    @property
    def found(self) -> tuple[SkippedEngine, ...]:
        """All failures, in their order."""
        return tuple(self._found)

    def remaining(self, specs: Sequence[EngineSpec]) -> tuple[EngineSpec, ...]:
        """Return the entries that have not failed."""
        failed = {each.entry for each in self._found}
        return tuple(spec for spec in specs if spec.name not in failed)

    @contextmanager
    def excluded(self, spec: EngineSpec, part: FailedIn) -> Iterator[None]:
        """Record a failure of another engine in the block, and continue after the block.

        Args:
            spec: the entry that works in the block.
            part: what the block measures.

        Raises:
            StageError: an entry of our own engine failed, or died.
            ClipError: an entry of our own engine failed on a clip.
        """
        try:
            yield
        except (StageError, ClipError) as cause:
            if spec.engine == DEFAULT_ENGINE:
                raise
            self.add(spec, part, str(cause))

    def add(self, spec: EngineSpec, part: FailedIn, cause: str) -> None:
        """Record and report the failure of an entry of another engine."""
        failed = failed_peer(spec.engine, spec.name, part, cause)
        self._found.append(failed)
        self._reporter.note(describe_exclusion(failed))


def failed_peer(engine: str, entry: str, part: FailedIn, cause: str) -> SkippedEngine:
    """Describe a failure for the results, without folders of this machine."""
    reason = FOLDERS.sub("", " ".join(cause.split())).removeprefix(f"{entry}: ")
    return SkippedEngine(engine=engine, entry=entry, failed_in=part, reason=reason)


def describe_exclusion(failed: SkippedEngine) -> str:
    """Say what failed, and what is still measured."""
    rest = (
        "its other figures are measured" if failed.is_partial else "it is left out, the others are measured"
    )
    return f"{failed.name}: {failed.message}; {rest}"
