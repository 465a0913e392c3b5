"""The loop of a worker: one thread decodes batches of windows and live audio; others read files.

The state belongs to the thread of `run`. What other threads find or receive reaches it as calls in an inbox.
"""

import os
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from sottovoce.errors import InputError, SottovoceError, SpecError
from sottovoce.runtime.clock import PhaseClock
from sottovoce.runtime.decoding.context import DetectedLanguage
from sottovoce.runtime.live.options import LiveOptions
from sottovoce.runtime.live.session import LiveSession
from sottovoce.runtime.pipeline import InferencePipeline
from sottovoce.runtime.transcript import Segment
from sottovoce.runtime.window_queue import QueuedWindow
from sottovoce.serve.scheduler.batches import BatchLimits
from sottovoce.serve.workers.batching import DEFAULT_LIMITS, BatchPlanner, JobWindows, waiting_windows
from sottovoce.serve.workers.jobs import CancelledJob, FileJob, LiveJob, Send
from sottovoce.serve.workers.wire import (
    describe_place,
    event_fields,
    pieces_fields,
    segment_fields,
    transcribe_options,
)

READERS = 8
"""Threads that decode files: a file that is slow to read keeps none of the others waiting."""

FED_WINDOWS = 12
"""Read ahead for each long file."""

_COMMAND_ADVICE = re.compile(r", or [^,;]* with --[a-z-]+")
"""In errors: options of the command line, which clients do not have."""

OpenLive = Callable[[LiveOptions], LiveSession]


class Engine:
    """Transcribes recordings and streams with one session of a model."""

    def __init__(
        self,
        pipeline: InferencePipeline,
        open_live: OpenLive,
        send: Send,
        limits: BatchLimits = DEFAULT_LIMITS,
    ) -> None:
        """Prepare the loop.

        Args:
            pipeline: of the model.
            open_live: opens a live session on the same model.
            send: sends the fields of a message to the server; from any thread.
            limits: of batches.
        """
        self._pipeline = pipeline
        self._open_live = open_live
        self._send = send
        self._batches = BatchPlanner(limits)
        self._inbox = SimpleQueue[Callable[[], None]]()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="sottovoce-read")
        self._files: dict[int, FileJob] = {}
        self._streams: dict[int, LiveJob] = {}
        self._was_live = False
        self._is_closed = False

    def run(self) -> None:
        """Work until `close`."""
        while not self._is_closed:
            self._take_calls(wait=not self._has_work())
            self._linger()
            self._work()

    def add_file(self, fields: dict[str, Any], content: bytes, file: int | None) -> None:
        """Take a recording: its message and its file; like all that follows, for any thread.

        It is read at once, beside a batch that is decoded, so that it can be in the next one.
        """
        number = fields["id"]
        try:
            options = self._pipeline.complete(transcribe_options(fields["options"]))
        except SottovoceError as error:
            self._fail(number, error)
            if file is not None:
                os.close(file)
            return
        job = FileJob(
            number=number, options=options, has_pieces=fields["has_pieces"], content=content, file=file
        )
        job.is_feeding = True
        self._inbox.put(partial(self._files.__setitem__, number, job))
        self._readers.submit(self._read, job, self._plan)

    def add_stream(self, number: int, options: dict[str, Any]) -> None:
        """Open a live session."""
        self._inbox.put(partial(self._add_stream, number, options))

    def feed_stream(self, number: int, samples: bytes) -> None:
        """Take samples of a live session: float32 at 16 kHz."""
        self._inbox.put(partial(self._feed_stream, number, samples))

    def end_stream(self, number: int) -> None:
        """End a live session: its last words follow."""
        self._inbox.put(partial(self._end_stream, number))

    def cancel(self, number: int) -> None:
        """Drop a recording or a live session."""
        self._inbox.put(partial(self._cancel, number))

    def close(self) -> None:
        """End `run`."""
        self._inbox.put(self._close)

    def _close(self) -> None:
        self._is_closed = True
        for job in self._files.values():
            job.is_cancelled = True
        self._readers.shutdown(wait=False, cancel_futures=True)

    def _take_calls(self, *, wait: bool) -> None:
        """Make the calls of the inbox; wait for one where there is nothing else to do."""
        if wait:
            self._inbox.get()()
        while True:
            try:
                call = self._inbox.get_nowait()
            except Empty:
                return
            call()

    def _linger(self) -> None:
        """Wait a moment for further clips; not where there is live audio."""
        while self._live_job() is None and (left_s := self._batches.linger_s(self._files.values())) > 0:
            with suppress(Empty):
                self._inbox.get(timeout=left_s)()

    def _has_work(self) -> bool:
        return (
            self._live_job() is not None
            or any(job.first for job in self._files.values())
            or self._has_windows()
        )

    def _has_windows(self) -> bool:
        return bool(waiting_windows(self._files.values()))

    def _work(self) -> None:
        """Do one thing: the most urgent one, and after live audio something else where there is some."""
        live = self._live_job()
        if live is not None and not (self._was_live and self._has_windows()):
            self._was_live = True
            self._advance_stream(live)
            return
        self._was_live = False
        for job in list(self._files.values()):
            if job.first and job.queue is None:
                self._guard(job, partial(self._open, job))
        if batch := self._batches.take(self._files.values()):
            self._decode(batch)

    # Recordings

    def _read(self, job: FileJob, read: Callable[[FileJob], Callable[[], None]]) -> None:
        """Read a file in a thread of the readers, and pass on what was found."""
        try:
            found = read(job)
        except Exception as error:  # noqa: BLE001 - of any kind: it belongs to the job
            found = partial(self._end_file, job, error)
        self._inbox.put(partial(self._take_reading, job, found))

    def _take_reading(self, job: FileJob, found: Callable[[], None]) -> None:
        job.is_feeding = False
        if job.is_cancelled:
            job.close()
        else:
            found()

    def _plan(self, job: FileJob) -> Callable[[], None]:
        plan = self._pipeline.plan(job.audio, job.options, PhaseClock())
        stated_s = job.duration_s if plan.is_short else job.stated_duration_s()
        first = self._pipeline.first_windows(plan, job.options)

        def take() -> None:
            job.plan, job.first = plan, first
            if plan.is_short:
                self._batches.note_company()
            if stated_s is not None:
                self._send(type="stated", id=job.number, duration_s=stated_s)
            if not first:
                self._finish(job)

        return take

    def _feed(self, job: FileJob) -> Callable[[], None]:
        windows = [] if job.plan is None else list(islice(job.plan.windows, FED_WINDOWS))

        def take() -> None:
            job.is_fed = len(windows) < FED_WINDOWS
            if job.queue is not None:
                job.queue.push(windows)
            self._go_on(job)

        return take

    def _open(self, job: FileJob) -> None:
        """Detect the language of a recording, and queue its first windows."""
        assert job.plan is not None  # noqa: S101 - it has first windows
        first, job.first = job.first, []
        job.queue = self._pipeline.open_queue(first, job.options, PhaseClock(), is_short=job.plan.is_short)
        job.is_fed = job.plan.is_short
        self._go_on(job)

    def _go_on(self, job: FileJob) -> None:
        """Read further windows of a recording where few are left; finish it where there are none."""
        n_left = len(job.queue) if job.queue is not None else 0
        if job.is_fed:
            if not n_left:
                self._finish(job)
        elif n_left < FED_WINDOWS and not job.is_feeding:
            job.is_feeding = True
            self._readers.submit(self._read, job, self._feed)

    def _decode(self, batch: Sequence[JobWindows]) -> None:
        """Decode windows of several recordings together."""
        started_s = time.monotonic()
        queue = batch[0].job.queue
        assert queue is not None  # noqa: S101 - it has windows
        try:
            results = self._pipeline.decode([each for part in batch for each in part.windows], queue)
        except Exception as error:  # noqa: BLE001 - of any kind: it belongs to the jobs of the batch
            for part in batch:
                self._end_file(part.job, error)
            return
        for part in batch:
            own, results = results[: len(part.windows)], results[len(part.windows) :]
            self._guard(part.job, partial(self._settle, part.job, part.windows, own))
        self._send(type="batch", **self._batches.measure(batch, time.monotonic() - started_s))

    def _settle(self, job: FileJob, windows: list[QueuedWindow], results: Sequence[Any]) -> None:
        queue = job.queue
        assert queue is not None  # noqa: S101 - its windows were decoded
        self._send_segments(job, queue.settle(windows, results))
        self._go_on(job)

    def _send_segments(self, job: FileJob, segments: Sequence[Segment]) -> None:
        if job.queue is not None:
            self._send(
                type="segments",
                id=job.number,
                segments=[segment_fields(segment) for segment in segments],
                pieces=[
                    pieces_fields(self._pipeline.token_bytes(segment.tokens)) if job.has_pieces else []
                    for segment in segments
                ],
                done_s=job.queue.done_s,
            )

    def _finish(self, job: FileJob) -> None:
        detected = DetectedLanguage(language=job.options.language or "en", probability=0.0)
        if job.queue is not None:
            self._send_segments(job, job.queue.finish())
            detected = job.queue.context.detected
        self._send(
            type="done",
            id=job.number,
            language=detected.language,
            language_probability=detected.probability,
            duration_s=job.duration_s,
        )
        self._forget(job)

    def _guard(self, job: FileJob, work: Callable[[], None]) -> None:
        """Work for a recording; an error ends that one only."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 - of any kind: it belongs to the job
            self._end_file(job, error)

    def _end_file(self, job: FileJob, error: Exception) -> None:
        if not isinstance(error, CancelledJob):
            self._fail(job.number, error)
        self._forget(job)

    def _forget(self, job: FileJob) -> None:
        self._files.pop(job.number, None)
        job.is_cancelled = True
        if not job.is_feeding:
            job.close()

    def _cancel(self, number: int) -> None:
        if (job := self._files.get(number)) is not None:
            self._forget(job)
        self._streams.pop(number, None)

    def _fail(self, number: int, error: Exception) -> None:
        """Report an error: of the client by its text, any other by its type and place, since its text may hold what was said."""
        kind = (
            "input"
            if isinstance(error, InputError)
            else "option"
            if isinstance(error, SpecError)
            else "internal"
        )
        self._send(
            type="error",
            id=number,
            kind=kind,
            message=_COMMAND_ADVICE.sub("", str(error))
            if isinstance(error, SottovoceError)
            else describe_place(error),
        )

    # Streams

    def _add_stream(self, number: int, options: dict[str, Any]) -> None:
        try:
            self._streams[number] = LiveJob(number=number, session=self._open_live(LiveOptions(**options)))
        except SottovoceError as error:
            self._fail(number, error)

    def _feed_stream(self, number: int, samples: bytes) -> None:
        if (job := self._streams.get(number)) is not None:
            job.waiting.append(np.frombuffer(samples, np.float32))

    def _end_stream(self, number: int) -> None:
        if (job := self._streams.get(number)) is not None:
            job.is_ended = True

    def _live_job(self) -> LiveJob | None:
        """Return the stream whose turn it is: they take turns by going to the end of the line."""
        return next((job for job in self._streams.values() if job.has_work), None)

    def _advance_stream(self, job: LiveJob) -> None:
        self._batches.note_company()
        self._streams[job.number] = self._streams.pop(job.number)
        try:
            events = job.session.feed(job.take())
            events += job.session.finish() if job.is_ended else []
        except Exception as error:  # noqa: BLE001 - of any kind: it belongs to the stream
            self._fail(job.number, error)
            del self._streams[job.number]
            return
        self._send(
            type="events",
            id=job.number,
            events=[event_fields(event) for event in events],
            audio_s=job.session.audio_s,
        )
        if job.is_ended:
            self._send(type="ended", id=job.number)
            del self._streams[job.number]
