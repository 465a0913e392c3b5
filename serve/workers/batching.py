"""Batches of a worker: what they are made of, and what the time that they took says about the next ones."""

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.window_queue import QueuedWindow, WindowQueue
from sottovoce.serve.scheduler.batches import BatchLimits, Priority, Waiting, next_batch
from sottovoce.serve.workers.jobs import FileJob

LINGER_SHARE = 0.15
"""Of the time of a batch of several clips, after it: their clients send the next ones now, which then go together."""

READING_S = 0.08
"""So long after it came, a file that is still read is waited for: it goes into the next batch ..."""

MOST_READING_S = 0.12
"""... which waits no longer than this in all, however many come."""

FIRST_WINDOW_S = 1.0
"""Taken for the seconds of a window of a long file before one was measured."""

COMPANY_S = 10.0
"""So long after a short clip or live audio, batches of long files take little time."""

DEFAULT_LIMITS = BatchLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobWindows:
    """Windows of one recording in a batch.

    Attributes:
        job: the recording.
        windows: at least one.
        queued_s: seconds that the recording waited; None unless these are its first windows.
    """

    job: FileJob
    windows: list[QueuedWindow]
    queued_s: float | None


class BatchPlanner:
    """Makes batches of the windows that wait, and measures them."""

    def __init__(self, limits: BatchLimits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._n_batches = 0
        self._n_last = 0
        self._linger_until_s = 0.0
        self._reading_since_s: float | None = None
        self._company_until_s = 0.0
        self._long_window_s = FIRST_WINDOW_S

    def note_company(self) -> None:
        """Take note of a short clip or of live audio."""
        self._company_until_s = time.monotonic() + COMPANY_S

    def linger_s(self, jobs: Collection[FileJob]) -> float:
        """Return the seconds to wait for as many short clips as the last batch had, and for files that are read now."""
        now_s = time.monotonic()
        n_short = sum(job.priority is Priority.SHORT and not job.is_feeding for job in jobs)
        clips_s = 0.0 if n_short >= self._n_last else self._linger_until_s - now_s
        return max(clips_s, self._reading_s(jobs, now_s))

    def _reading_s(self, jobs: Iterable[FileJob], now_s: float) -> float:
        came_s = [job.arrived_s for job in jobs if job.is_feeding and job.plan is None]
        if not came_s:
            return 0.0
        if self._reading_since_s is None:
            self._reading_since_s = now_s
        return min(max(came_s) + READING_S, self._reading_since_s + MOST_READING_S) - now_s

    def take(self, jobs: Iterable[FileJob]) -> list[JobWindows]:
        """Take the windows that are decoded next out of their queues; none where nothing waits."""
        by_number = {job.number: job for job in jobs}
        has_company = time.monotonic() < self._company_until_s
        shares = next_batch(
            waiting_windows(by_number.values()),
            self._limits,
            company_window_s=self._long_window_s if has_company else None,
        )
        if not shares:
            return []
        self._reading_since_s = None
        self._n_batches += 1
        batch = [self._take_share(by_number[share.job], share.n_windows) for share in shares]
        if batch[0].job.priority < Priority.LONG:
            self.note_company()
        return batch

    def _take_share(self, job: FileJob, n_windows: int) -> JobWindows:
        assert job.queue is not None  # noqa: S101 - its windows wait
        queued_s = None if job.served else time.monotonic() - job.arrived_s
        job.served = self._n_batches
        return JobWindows(job=job, windows=job.queue.take(n_windows), queued_s=queued_s)

    def measure(self, batch: Sequence[JobWindows], work_s: float) -> dict[str, Any]:
        """Take note of the time of a batch.

        Returns:
            What the server is sent about it.
        """
        priority = batch[0].job.priority
        self._n_last = len(batch)
        if len(batch) > 1 and priority is Priority.SHORT:
            self._linger_until_s = time.monotonic() + LINGER_SHARE * work_s
        n_windows = sum(len(each.windows) for each in batch)
        if priority is Priority.LONG:
            self._long_window_s = work_s / n_windows
        n_samples = sum(len(queued.window.wave) for each in batch for queued in each.windows)
        return {
            "n_windows": n_windows,
            "n_jobs": len(batch),
            "audio_s": n_samples / SAMPLE_RATE_HZ,
            "work_s": work_s,
            "queued_s": [each.queued_s for each in batch if each.queued_s is not None],
        }


def waiting_windows(jobs: Iterable[FileJob]) -> list[Waiting]:
    """Return the recordings with windows that can be decoded now."""
    return [
        Waiting(
            job=job.number,
            priority=job.priority,
            key=decoding_key(job.queue),
            n_windows=len(job.queue),
            served=job.served,
        )
        for job in jobs
        if job.queue is not None and len(job.queue)
    ]


def decoding_key(queue: WindowQueue) -> tuple[Any, ...]:
    """Return what windows have in common that are decoded together: the prompt, and the options that decoding reads.

    The prompt has language, task, timestamps and texts already; the others say how files are read and words are timed.
    """
    decoding = replace(
        queue.context.options,
        language=None,
        task=None,
        without_timestamps=False,
        word_timestamps=False,
        initial_prompt=None,
        hotwords=None,
        vad_filter=None,
        max_duration_s=None,
        audio_track=None,
        allow_damaged=False,
    )
    return queue.prompt, decoding
