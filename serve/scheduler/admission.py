"""How much audio is let in, and when to come back: without a clock or any input or output."""

import math
from dataclasses import dataclass

FIRST_SPEED = 20.0
"""Seconds of audio per second, until the first batch is measured."""

SPEED_MEMORY = 0.9
"""Share of the old speed in the new one."""

LEAST_RETRY_S, MOST_RETRY_S = 1, 120
"""OpenAI's clients obey a `Retry-After` of at most 120 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionLimits:
    """What may be in the server at once.

    Attributes:
        audio_s: seconds of audio that wait or are transcribed; one more recording is let in while there are fewer.
        jobs: recordings.
    """

    audio_s: float = 6 * 3600.0
    jobs: int = 512


class Backlog:
    """The audio that is in the server, and how quickly it gets less."""

    def __init__(self, limits: AdmissionLimits) -> None:
        self._limits = limits
        self._left_s: dict[int, float] = {}
        self._speed = FIRST_SPEED

    @property
    def audio_s(self) -> float:
        """Seconds of audio that are not transcribed yet."""
        return sum(self._left_s.values())

    @property
    def n_jobs(self) -> int:
        """Recordings that wait or are transcribed."""
        return len(self._left_s)

    @property
    def is_full(self) -> bool:
        """Whether another recording must come back later."""
        return self.audio_s >= self._limits.audio_s or self.n_jobs >= self._limits.jobs

    @property
    def retry_after_s(self) -> int:
        """Whole seconds until the backlog is done at the speed measured, within what clients obey."""
        return min(MOST_RETRY_S, max(LEAST_RETRY_S, math.ceil(self.audio_s / self._speed)))

    def set_left(self, job: int, audio_s: float) -> None:
        """Set how much of a recording is left to transcribe."""
        self._left_s[job] = max(0.0, audio_s)

    def remove(self, job: int) -> None:
        """Forget a recording that is done."""
        self._left_s.pop(job, None)

    def measure(self, audio_s: float, work_s: float) -> None:
        """Take in how long some audio took."""
        if audio_s > 0 and work_s > 0:
            self._speed = SPEED_MEMORY * self._speed + (1 - SPEED_MEMORY) * audio_s / work_s
