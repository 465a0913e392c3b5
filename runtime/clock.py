"""Where the time of a transcription goes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from sottovoce.runtime.transcript import Phase, Timings


class PhaseClock:
    """Adds up seconds and calls by phase."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._seconds: dict[Phase, float] = {}
        self._calls: dict[Phase, int] = {}
        self._inside = 0.0
        self.n_redone = 0

    @contextmanager
    def time(self, phase: Phase, n_calls: int = 1) -> Iterator[None]:
        """Time a block as work of a phase, without what is timed as another's inside it."""
        outside, self._inside = self._inside, 0.0
        started = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - started
            self._seconds[phase] = self._seconds.get(phase, 0.0) + seconds - self._inside
            self._calls[phase] = self._calls.get(phase, 0) + n_calls
            self._inside = outside + seconds

    def count(self, phase: Phase, n_calls: int) -> None:
        """Add calls of a phase whose time is measured with `n_calls=0`."""
        self._calls[phase] = self._calls.get(phase, 0) + n_calls

    def has_timed(self, phase: Phase) -> bool:
        """Return whether there was work of a phase."""
        return phase in self._seconds

    def timings(self) -> Timings:
        """Return the timings until now; time outside all phases is `other`."""
        total = time.perf_counter() - self._started
        other = max(0.0, total - sum(self._seconds.values()))
        return Timings(
            total_s=total,
            phase_s={**self._seconds, Phase.OTHER: other},
            calls=dict(self._calls),
            n_redone=self.n_redone,
        )
