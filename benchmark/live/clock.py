"""Feed a recording to live transcription on a simulated clock."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import psutil

from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.live.events import LiveEvent

FRAME_S = 0.1

RSS_EVERY = 100
"""Frames between two readings of the resident set."""

Clock = Callable[[], float]
"""Seconds, as `time.perf_counter`."""


class LiveStream(Protocol):
    """What transcribes one stream; `LiveSession` is one."""

    def feed(self, samples: Wave) -> Sequence[LiveEvent]:
        """Take the next samples: float32, shape (n_samples,), 16 kHz; return what they settle."""

    def finish(self) -> Sequence[LiveEvent]:
        """End the stream; return the last events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Display:
    """Events of one frame, and when they are shown, seconds from the start of the recording."""

    shown_s: float
    events: tuple[LiveEvent, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A recording that was fed.

    Attributes:
        displays: of frames with events, in order.
        audio_s: length of the recording.
        cpu_s: of all threads of the process.
        max_backlog_s: longest wait of a frame until its events were shown.
        rss: seconds of audio and bytes of the resident set, now and then.
    """

    displays: tuple[Display, ...]
    audio_s: float
    cpu_s: float
    max_backlog_s: float
    rss: tuple[tuple[float, int], ...]


def stopped() -> float:
    """Be a clock that stands still."""
    return 0.0


def at_once(_: float) -> None:
    """Wait for no time of a recording."""


def feed(
    stream: LiveStream, wave: Wave, clock: Clock, wait_until: Callable[[float], None] = at_once
) -> Trace:
    """Feed a recording in frames of 0.1 s; as fast as the stream takes them, where nothing waits.

    A frame can be taken when it is spoken and the stream is done with the one before. Its events are shown when its
    computation ends.

    Args:
        stream: at its start.
        wave: float32, shape (n_samples,), 16 kHz.
        clock: read before and after each frame; `stopped` does not count computation.
        wait_until: returns when that many seconds of the recording are spoken.
    """
    frame = round(FRAME_S * SAMPLE_RATE_HZ)
    process = psutil.Process()
    displays, rss = [], []
    free_s = max_backlog_s = 0.0
    cpu_s = time.process_time()
    ends = [*range(frame, len(wave), frame), len(wave)]
    for number, end in enumerate(ends):
        spoken_s = end / SAMPLE_RATE_HZ
        wait_until(spoken_s)
        started_s = clock()
        events = [*stream.feed(wave[number * frame : end])]
        if end == len(wave):
            events += stream.finish()
        free_s = max(spoken_s, free_s) + clock() - started_s
        max_backlog_s = max(max_backlog_s, free_s - spoken_s)
        if events:
            displays.append(Display(shown_s=free_s, events=tuple(events)))
        if number % RSS_EVERY == 0:
            rss.append((spoken_s, int(process.memory_info().rss)))
    return Trace(
        displays=tuple(displays),
        audio_s=len(wave) / SAMPLE_RATE_HZ,
        cpu_s=time.process_time() - cpu_s,
        max_backlog_s=max_backlog_s,
        rss=tuple(rss),
    )
