"""The loop of a worker, without a model."""

import re
from collections.abc import Sequence
from queue import SimpleQueue
from threading import Event, Thread
from time import sleep
from typing import Any, cast

import numpy as np

from sottovoce.runtime.clock import PhaseClock
from sottovoce.runtime.decoding.context import DecodingContext, DetectedLanguage
from sottovoce.runtime.options import TranscribeOptions
from sottovoce.runtime.pipeline import InferencePipeline, WindowPlan
from sottovoce.runtime.vad.segmenter import AudioWindow
from sottovoce.runtime.window_queue import QueuedWindow, WindowQueue, WindowText
from sottovoce.serve.workers.batching import MOST_READING_S, READING_S, BatchPlanner
from sottovoce.serve.workers.engine import Engine
from sottovoce.serve.workers.jobs import FileJob

WAIT_S = 10.0
LONG, SHORT = 1, 2


class Script:
    """Stands for a pipeline: the content of a file says how many windows it has."""

    def __init__(self) -> None:
        self.decoding, self.has_read_clip = Event(), Event()
        self.batches: list[int] = []
        self.read_beside = False

    def complete(self, options: TranscribeOptions) -> TranscribeOptions:
        return options

    def plan(self, audio: Any, _options: TranscribeOptions, _clock: PhaseClock) -> WindowPlan:
        audio.close()
        is_short = self.decoding.is_set()
        if is_short:
            self.has_read_clip.set()
        n = 1 if is_short else 24
        windows = (
            AudioWindow(start_s=20.0 * number, wave=np.zeros(16_000, np.float32)) for number in range(n)
        )
        return WindowPlan(windows=windows, is_short=is_short)

    def first_windows(self, plan: WindowPlan, _options: TranscribeOptions) -> list[AudioWindow]:
        return [next(plan.windows)]

    def open_queue(
        self, first: Sequence[AudioWindow], options: TranscribeOptions, clock: PhaseClock, *, is_short: bool
    ) -> WindowQueue:
        detected = DetectedLanguage(language="en", probability=1.0)
        context = DecodingContext(options=options, clock=clock, detected=detected)
        queue = WindowQueue(context, (), lambda *_: WindowText(), has_speech=not is_short)
        queue.push(first)
        return queue

    def decode(self, windows: Sequence[QueuedWindow], _queue: WindowQueue) -> list[None]:
        self.batches.append(len(windows))
        if not self.decoding.is_set():
            self.decoding.set()
            self.read_beside = self.has_read_clip.wait(WAIT_S)
        return [None for _ in windows]


def test_a_clip_is_read_beside_a_batch_and_is_in_the_next_one() -> None:
    script, done = Script(), {LONG: Event(), SHORT: Event()}
    order: list[int] = []

    def send(**fields: Any) -> None:
        if fields["type"] == "done":
            order.append(fields["id"])
            done[fields["id"]].set()

    engine = Engine(cast("InferencePipeline", script), cast("Any", None), send)
    thread = Thread(target=engine.run)
    thread.start()
    message = {"options": {}, "has_pieces": False}
    engine.add_file({**message, "id": LONG}, b"", None)
    assert script.decoding.wait(WAIT_S)
    engine.add_file({**message, "id": SHORT}, b"", None)
    assert all(each.wait(WAIT_S) for each in done.values())
    engine.close()
    thread.join(WAIT_S)
    assert script.read_beside
    assert order == [SHORT, LONG]


def test_an_unexpected_error_is_reported_by_its_place_and_not_by_its_text() -> None:
    """Its text may hold what was said, and the log must not; without its place the cause is not found."""

    class Broken(Script):
        def plan(self, audio: Any, _options: TranscribeOptions, _clock: PhaseClock) -> WindowPlan:
            audio.close()
            raise KeyError("what was said")

    failed: SimpleQueue[dict[str, Any]] = SimpleQueue()

    def send(**fields: Any) -> None:
        if fields["type"] == "error":
            failed.put(fields)

    engine = Engine(cast("InferencePipeline", Broken()), cast("Any", None), send)
    thread = Thread(target=engine.run)
    thread.start()
    engine.add_file({"options": {}, "has_pieces": False, "id": SHORT}, b"", None)
    found = failed.get(timeout=WAIT_S)
    engine.close()
    thread.join(WAIT_S)
    assert found["kind"] == "internal"
    assert re.match(r"KeyError at .*test_engine\.py:\d+$", found["message"])
    assert "said" not in found["message"]


def being_read(*, came_s: float) -> FileJob:
    """Make a recording that came some seconds ago and is still read."""
    job = FileJob(number=SHORT, options=TranscribeOptions(), is_feeding=True)
    job.arrived_s -= came_s
    return job


def test_a_batch_waits_a_moment_for_a_file_that_is_read() -> None:
    """Clips that come together go together, though their files take different times to read."""
    planner = BatchPlanner()
    assert 0 < planner.linger_s([being_read(came_s=0.0)]) <= READING_S
    assert planner.linger_s([being_read(came_s=1.0)]) <= 0  # a file that takes long
    assert planner.linger_s([]) <= 0


def test_a_batch_does_not_wait_for_ever_while_files_come() -> None:
    planner = BatchPlanner()
    assert planner.linger_s([being_read(came_s=0.0)]) > 0
    sleep(MOST_READING_S)
    assert planner.linger_s([being_read(came_s=0.0)]) <= 0
