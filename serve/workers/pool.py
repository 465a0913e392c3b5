"""The workers of a model: what goes to which, what comes back, and what happens when one dies."""

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sottovoce.errors import ResourceError
from sottovoce.runtime.live.events import LiveEvent
from sottovoce.runtime.live.options import LiveOptions
from sottovoce.runtime.options import TranscribeOptions
from sottovoce.runtime.transcript import Segment
from sottovoce.serve.scheduler.admission import AdmissionLimits, Backlog
from sottovoce.serve.workers.channel import Message
from sottovoce.serve.workers.wire import Done, options_fields, read_event, read_pieces, read_segment
from sottovoce.serve.workers.worker import Worker

DEFAULT_LIMITS = AdmissionLimits()

MOST_TRIES = 2
"""A recording that a worker died with is given to another one once: it may be what kills them."""

RESTART_S = 1.0
"""Until a worker that died is started again."""

log = logging.getLogger("sottovoce.serve")


class BusyError(Exception):
    """There is no room for more audio now.

    Attributes:
        retry_after_s: whole seconds until there will be.
    """

    def __init__(self, retry_after_s: int) -> None:
        super().__init__("the server has as much audio as it takes; try again later")
        self.retry_after_s = retry_after_s


class WorkerError(Exception):
    """A worker died with this recording, or met an error that is not the client's."""


class AudioError(Exception):
    """The audio is refused; the message says why."""


class OptionError(Exception):
    """The model does not have the language or the task; the message says so."""


_ERRORS = {"input": AudioError, "option": OptionError, "internal": WorkerError}


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What a worker decoded at once.

    Attributes:
        n_windows: of audio.
        n_jobs: recordings that they belong to.
        audio_s: seconds of audio.
        work_s: seconds that it took.
        queued_s: seconds that recordings waited which it has the first windows of.
    """

    n_windows: int
    n_jobs: int
    audio_s: float
    work_s: float
    queued_s: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """More of a recording is transcribed.

    Attributes:
        segments: that are final now, perhaps none.
        pieces: the bytes of each token of each segment, where they were requested.
        done_s: seconds of audio that are decoded.
        duration_s: of the recording, as far as its header states it.
    """

    segments: tuple[Segment, ...]
    pieces: tuple[tuple[bytes, ...], ...]
    done_s: float
    duration_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveUpdate:
    """A live session took more audio in.

    Attributes:
        events: that it gave.
        audio_s: seconds of its stream that are processed.
    """

    events: tuple[LiveEvent, ...]
    audio_s: float


Update = Progress | Done | LiveUpdate | Exception | None
"""What comes back of a job; None: it is over."""


@dataclass(eq=False, slots=True, kw_only=True)
class Job:
    """A recording or a live session in a worker.

    Attributes:
        number: of the job.
        message: that starts it.
        updates: what came back and was not taken yet.
        duration_s: as far as it is known.
        n_segments: that came back in all.
        n_known: segments of another worker that died, which come again.
        n_tries: workers that had it.
        worker: that has it.
    """

    number: int
    message: Message
    updates: asyncio.Queue[Update] = field(default_factory=asyncio.Queue)
    duration_s: float | None = None
    n_segments: int = 0
    n_known: int = 0
    n_tries: int = 0
    worker: Worker | None = None

    @property
    def is_stream(self) -> bool:
        """Whether it is a live session, which no other worker can continue."""
        return bool(self.message.fields["type"] == "stream")


class Pool:
    """The workers of one model; used from the event loop only, but for its construction."""

    def __init__(
        self,
        workers: Sequence[Worker],
        *,
        limits: AdmissionLimits = DEFAULT_LIMITS,
        on_batch: Callable[[Batch], None] = lambda _: None,
    ) -> None:
        """Take workers of the same model.

        Args:
            workers: that were started.
            limits: of audio that is let in.
            on_batch: called with each batch that was decoded.
        """
        self.backlog = Backlog(limits)
        self.languages: tuple[str, ...] = ()
        self._on_batch = on_batch
        self._numbers = itertools.count(1)
        self._jobs: dict[int, Job] = {}
        self._orphans: list[Job] = []
        self._is_closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._first = asyncio.Event()
        self._failure: Exception | None = None
        self._workers = list(workers)

    async def open(self) -> None:
        """Wait until a worker is ready.

        Raises:
            ResourceError: the model cannot be loaded; the message says why.
        """
        self._loop = asyncio.get_running_loop()
        for worker in self._workers:
            worker.listen(self._loop, self._receive)
        await self._first.wait()
        if self._failure is not None:
            raise self._failure

    @property
    def is_ready(self) -> bool:
        """Whether a worker has its model."""
        return any(worker.is_ready for worker in self._workers)

    @property
    def n_jobs(self) -> int:
        """Recordings and live sessions that are not over."""
        return len(self._jobs)

    def add_file(
        self,
        options: TranscribeOptions,
        *,
        content: bytes = b"",
        file: int | None = None,
        likely_s: float,
        has_pieces: bool = False,
    ) -> Job:
        """Give a recording to a worker.

        Args:
            options: of the transcription.
            content: the file, where it is small.
            file: descriptor of the open file, where it is not; open until the job is over.
            likely_s: guess of its duration.
            has_pieces: the bytes of each token are wanted.

        Raises:
            BusyError: there is no room.
        """
        if self.backlog.is_full:
            raise BusyError(self.backlog.retry_after_s)
        job = self._add("file", options, content=content, file=file, has_pieces=has_pieces)
        self.backlog.set_left(job.number, likely_s)
        self._assign(job)
        return job

    def add_stream(self, options: LiveOptions) -> Job:
        """Open a live session."""
        job = self._add("stream", options)
        self._assign(job)
        return job

    def feed(self, job: Job, samples: bytes) -> None:
        """Feed a live session: float32 at 16 kHz."""
        self._send(job, Message(fields={"type": "samples", "id": job.number}, content=samples))

    def end(self, job: Job) -> None:
        """End a live session: its last words follow."""
        self._send(job, Message(fields={"type": "end", "id": job.number}))

    def cancel(self, job: Job) -> None:
        """Drop a job: nothing comes back any more. Nothing happens where it is over."""
        if self._jobs.pop(job.number, None) is not None:
            self.backlog.remove(job.number)
            self._send(job, Message(fields={"type": "cancel", "id": job.number}))

    async def updates(self, job: Job) -> AsyncIterator[Progress | Done | LiveUpdate]:
        """Yield what comes back of a job; leaving the loop early drops it.

        Raises:
            AudioError: the audio is refused.
            OptionError: an option is.
            WorkerError: the job is lost; the log says why.
        """
        try:
            while (update := await job.updates.get()) is not None:
                if isinstance(update, WorkerError):
                    log.error("lost a recording or live session: %s", update)
                if isinstance(update, Exception):
                    raise update
                yield update
        finally:
            self.cancel(job)

    def close(self) -> None:
        """End all workers."""
        self._is_closed = True
        for worker in self._workers:
            worker.close()

    def _add(
        self,
        kind: str,
        options: TranscribeOptions | LiveOptions,
        *,
        content: bytes = b"",
        file: int | None = None,
        has_pieces: bool = False,
    ) -> Job:
        number = next(self._numbers)
        fields = {"type": kind, "id": number, "options": options_fields(options), "has_pieces": has_pieces}
        job = Job(number=number, message=Message(fields=fields, content=content, file=file))
        self._jobs[number] = job
        return job

    def _assign(self, job: Job) -> None:
        """Give a job to the worker with the fewest; to the first one that starts, where there is none."""
        ready = [worker for worker in self._workers if worker.is_ready]
        if not ready:
            self._orphans.append(job)
            return
        loads = [sum(each.worker is worker for each in self._jobs.values()) for worker in ready]
        job.worker = ready[loads.index(min(loads))]
        job.n_tries += 1
        job.worker.send(job.message)

    @staticmethod
    def _send(job: Job, message: Message) -> None:
        if job.worker is not None:
            job.worker.send(message)

    def _receive(self, worker: Worker, message: Message | None) -> None:
        if message is None:
            self._lose(worker)
            return
        fields = message.fields
        match fields["type"]:
            case "ready":
                self._welcome(worker, fields)
            case "failed":
                self._failure = ResourceError(fields["message"])
            case "batch":
                self._measure(fields)
            case _:
                job = self._jobs.get(fields["id"])
                if job is not None and job.worker is worker:
                    self._update(job, fields)

    def _welcome(self, worker: Worker, fields: dict[str, Any]) -> None:
        worker.is_ready = True
        self.languages = tuple(fields["languages"])
        log.info("worker ready", extra={"pid": worker.process.pid})
        self._first.set()
        orphans, self._orphans = self._orphans, []
        for job in orphans:
            if job.number in self._jobs:
                self._assign(job)

    def _measure(self, fields: dict[str, Any]) -> None:
        values = {name: value for name, value in fields.items() if name != "type"}
        batch = Batch(**{**values, "queued_s": tuple(values["queued_s"])})
        self.backlog.measure(batch.audio_s, batch.work_s)
        self._on_batch(batch)

    def _update(self, job: Job, fields: dict[str, Any]) -> None:
        match fields["type"]:
            case "stated":
                job.duration_s = fields["duration_s"]
                self.backlog.set_left(job.number, fields["duration_s"])
            case "segments":
                job.updates.put_nowait(self._progress(job, fields))
            case "events":
                events = tuple(read_event(event) for event in fields["events"])
                job.updates.put_nowait(LiveUpdate(events=events, audio_s=fields["audio_s"]))
            case "done":
                values = {name: value for name, value in fields.items() if name not in {"type", "id"}}
                job.updates.put_nowait(Done(**values))
                self._end(job)
            case "ended":
                self._end(job)
            case "error":
                self._end(job, _ERRORS[fields["kind"]](fields["message"]))
            case _:
                pass

    def _progress(self, job: Job, fields: dict[str, Any]) -> Progress:
        done_s = fields["done_s"]
        if job.duration_s is not None:
            self.backlog.set_left(job.number, job.duration_s - done_s)
        segments = tuple(read_segment(segment) for segment in fields["segments"])
        n_again = min(job.n_known, len(segments))
        job.n_known -= n_again
        job.n_segments += len(segments) - n_again
        pieces = tuple(read_pieces(each) for each in fields["pieces"])
        return Progress(
            segments=segments[n_again:], pieces=pieces[n_again:], done_s=done_s, duration_s=job.duration_s
        )

    def _end(self, job: Job, error: Exception | None = None) -> None:
        self._jobs.pop(job.number, None)
        self.backlog.remove(job.number)
        job.updates.put_nowait(error)

    def _lose(self, worker: Worker) -> None:
        """Give the jobs of a worker that died to others, and start another one."""
        if self._is_closed:
            return
        has_worked, worker.is_ready = worker.is_ready, False
        worker.close()
        if not has_worked:
            self._failure = self._failure or ResourceError("a worker ended before its model was loaded")
            self._first.set()
            log.error("worker cannot start")
        else:
            log.error("worker died", extra={"pid": worker.process.pid})
        assert self._loop is not None  # noqa: S101 - it listens
        lived_s = time.monotonic() - worker.started_s
        self._loop.call_later(0.0 if has_worked and lived_s > RESTART_S else RESTART_S, self._restart, worker)
        for job in [each for each in self._jobs.values() if each.worker is worker]:
            self._rescue(job)

    def _rescue(self, job: Job) -> None:
        job.worker = None
        if job.is_stream or job.n_tries >= MOST_TRIES:
            self._end(job, WorkerError("the worker that transcribed this died"))
        else:
            job.n_known = job.n_segments
            self._assign(job)

    def _restart(self, worker: Worker) -> None:
        if self._is_closed or self._loop is None:
            return
        fresh = worker.again()
        self._workers[self._workers.index(worker)] = fresh
        fresh.listen(self._loop, self._receive)
