"""The simulated clock: when a reader sees what a stream computes."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from sottovoce.benchmark.live.clock import feed, stopped
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.live.events import LiveEvent, Partial
from tests.support.live_systems import CountingSystem


@dataclass
class Slow:
    """Shows its audio after each frame, which takes as long as `costs_s` says."""

    costs_s: dict[int, float]
    now_s: float = 0.0
    sizes: list[int] = field(default_factory=list)

    def clock(self) -> float:
        return self.now_s

    def feed(self, samples: Wave) -> Sequence[LiveEvent]:
        self.now_s += self.costs_s.get(len(self.sizes), 0.0)
        self.sizes.append(len(samples))
        return [Partial(words=(), audio_s=sum(self.sizes) / SAMPLE_RATE_HZ)]

    def finish(self) -> Sequence[LiveEvent]:
        return [Partial(words=(), audio_s=-1.0)]


def seconds(length_s: float) -> Wave:
    return np.zeros(round(length_s * SAMPLE_RATE_HZ), np.float32)


def test_computation_delays_what_is_shown_and_the_frames_behind_it() -> None:
    slow = Slow({1: 0.25})
    trace = feed(slow, seconds(0.5), slow.clock)
    assert [display.shown_s for display in trace.displays] == pytest.approx([0.1, 0.45, 0.45, 0.45, 0.5])
    assert trace.max_backlog_s == pytest.approx(0.25)


def test_a_slow_stream_falls_behind_frame_by_frame() -> None:
    slow = Slow(dict.fromkeys(range(10), 0.15))
    trace = feed(slow, seconds(1.0), slow.clock)
    assert trace.displays[-1].shown_s == pytest.approx(0.1 + 10 * 0.15)
    assert trace.max_backlog_s == pytest.approx(0.6)


def test_computation_does_not_count_on_a_clock_that_stands() -> None:
    trace = feed(Slow({1: 0.25}), seconds(0.3), stopped)
    assert [display.shown_s for display in trace.displays] == pytest.approx([0.1, 0.2, 0.3])
    assert trace.max_backlog_s == 0.0


def test_in_real_time_no_frame_is_fed_before_it_is_spoken() -> None:
    started_s = time.perf_counter()
    trace = CountingSystem().feed_in_real_time(seconds(0.35), "en")
    assert time.perf_counter() - started_s >= 0.35
    assert [display.shown_s for display in trace.displays] == pytest.approx([0.1, 0.2, 0.3, 0.35], abs=0.05)


def test_all_audio_is_fed_and_the_stream_is_finished_once() -> None:
    slow = Slow({})
    trace = feed(slow, seconds(0.25), stopped)
    assert slow.sizes == [1600, 1600, 800]
    assert [event.audio_s for event in trace.displays[-1].events] == [0.25, -1.0]
    assert trace.audio_s == 0.25
