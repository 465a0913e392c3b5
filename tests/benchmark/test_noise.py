"""What else a machine does while clips are timed."""

import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from sottovoce.benchmark.timing.noise import Disturbance, Reading, between, read_cpu
from sottovoce.machine.resources import usable_cpus

BEFORE = Reading(total_s=100, steal_s=1, busy_s=40, own_s=10, throttled=5)
BUSY = "import time; end = time.process_time() + 0.6\nwhile time.process_time() < end: pass"


def test_cpu_time_of_other_processes_is_foreign() -> None:
    after = Reading(total_s=110, steal_s=1.5, busy_s=47, own_s=16, throttled=5)
    found = between(BEFORE, after)
    assert found.cpu_s == pytest.approx(10)
    assert found.steal_s == pytest.approx(0.5)
    assert found.foreign_s == pytest.approx(1)
    assert found.share == pytest.approx(0.15)


@pytest.mark.parametrize(
    ("found", "is_beyond"),
    [
        (Disturbance(cpu_s=10, steal_s=0.4, foreign_s=0.4), False),
        (Disturbance(cpu_s=10, steal_s=0.6, foreign_s=0), True),
        (Disturbance(cpu_s=10, steal_s=0, foreign_s=0.6), True),
        (Disturbance(cpu_s=10, steal_s=0, foreign_s=0, throttled=1), True),
        (Disturbance(cpu_s=0.1, steal_s=0.02, foreign_s=0), False),
        (Disturbance(cpu_s=0, steal_s=0, foreign_s=0), False),
    ],
)
def test_a_block_counts_as_disturbed_beyond_a_limit(found: Disturbance, *, is_beyond: bool) -> None:
    assert found.is_beyond is is_beyond


def test_throttling_is_counted_only_where_the_kernel_counts_it() -> None:
    assert between(BEFORE, replace(BEFORE, throttled=7)).throttled == 2
    assert between(BEFORE, replace(BEFORE, throttled=None)).throttled is None


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs Linux's affinity")
def test_cpu_time_of_a_process_is_foreign_unless_its_pid_is_given() -> None:
    """Both at the same time: whatever else the machine does is in either."""
    with subprocess.Popen([sys.executable, "-c", BUSY + "\ninput()"], stdin=subprocess.PIPE) as process:
        before = read_cpu([]), read_cpu([process.pid])
        time.sleep(1.5)
        foreign, ours = between(before[0], read_cpu([])), between(before[1], read_cpu([process.pid]))
        process.communicate(b"\n")
    assert foreign.foreign_s > ours.foreign_s
    assert 1.5 * len(usable_cpus()) * 0.9 < foreign.cpu_s < 60
