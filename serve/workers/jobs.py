"""What a worker keeps of a recording and of a live session."""

import os
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave, stated_duration_s
from sottovoce.runtime.audio.stream import BlockStream, read_blocks
from sottovoce.runtime.clock import PhaseClock
from sottovoce.runtime.live.session import LiveSession
from sottovoce.runtime.options import TranscribeOptions
from sottovoce.runtime.pipeline import WindowPlan
from sottovoce.runtime.protocol import decode_options
from sottovoce.runtime.vad.segmenter import AudioWindow
from sottovoce.runtime.window_queue import WindowQueue
from sottovoce.serve.scheduler.batches import Priority

LABEL = "the file"
"""How errors name an upload, whose file name is the client's."""


class CancelledJob(Exception):  # noqa: N818 - nothing went wrong
    """The client is gone."""


@dataclass(eq=False, slots=True, kw_only=True)
class FileJob:
    """A recording that is transcribed.

    Attributes:
        number: of the job.
        options: of the transcription.
        has_pieces: the bytes of each token are wanted.
        content: the file, where it is small.
        file: descriptor of the open file, where it is not.
        plan: its windows, once its start is read.
        queue: its windows that are settled, once its language is known.
        first: windows that the queue starts with.
        is_feeding: a thread reads more windows.
        is_fed: there are no more windows.
        is_cancelled: the client is gone.
        served: number of the last batch with one of its windows.
        arrived_s: by the monotonic clock.
    """

    number: int
    options: TranscribeOptions
    has_pieces: bool = False
    content: bytes = b""
    file: int | None = None
    plan: WindowPlan | None = None
    queue: WindowQueue | None = None
    first: list[AudioWindow] = field(default_factory=list)
    is_feeding: bool = False
    is_fed: bool = False
    is_cancelled: bool = False
    served: int = 0
    arrived_s: float = field(default_factory=time.monotonic)
    audio: BlockStream = field(init=False)

    def __post_init__(self) -> None:
        self.audio = BlockStream(self._blocks(), PhaseClock())

    @property
    def source(self) -> Path | bytes:
        """The audio, as the runtime opens it."""
        return self.content if self.file is None else Path(f"/dev/fd/{self.file}")

    @property
    def priority(self) -> Priority:
        """Short is what is one window."""
        return Priority.SHORT if self.plan is None or self.plan.is_short else Priority.LONG

    @property
    def duration_s(self) -> float:
        """Seconds of audio that were read."""
        return self.audio.n_samples / SAMPLE_RATE_HZ

    def stated_duration_s(self) -> float | None:
        """Return the duration that the header states."""
        return stated_duration_s(self.source)

    def close(self) -> None:
        """Close the audio; not while a thread reads it."""
        self.audio.close()
        if self.file is not None:
            os.close(self.file)
            self.file = None

    def _blocks(self) -> Generator[Wave, None, None]:
        """Yield the audio until the client is gone."""
        for block in read_blocks(self.source, LABEL, decode_options(self.options)):
            if self.is_cancelled:
                raise CancelledJob
            yield block


@dataclass(eq=False, slots=True, kw_only=True)
class LiveJob:
    """A stream that is transcribed while it goes on.

    Attributes:
        number: of the job.
        session: of the stream.
        waiting: samples that were not fed yet.
        is_ended: there are no more samples.
    """

    number: int
    session: LiveSession
    waiting: list[Wave] = field(default_factory=list)
    is_ended: bool = False

    @property
    def has_work(self) -> bool:
        """Whether there is something to feed or to finish."""
        return bool(self.waiting) or self.is_ended

    def take(self) -> Wave:
        """Take the samples that wait."""
        taken = np.concatenate([np.zeros(0, np.float32), *self.waiting])
        self.waiting = []
        return taken


Send = Callable[..., None]
"""Sends a message with these fields."""
