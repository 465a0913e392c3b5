"""Waiting until the threads of an engine that has answered stop spinning.

Thread pools let their threads ask for more work for a while before they sleep (Intel's OpenMP 200 ms, see
`KMP_BLOCKTIME`): they would take the CPU of the entry that is measured next.
"""

import sys
import time
from contextlib import suppress

import psutil

INTERVAL_S = 0.02 if sys.platform == "linux" else 0.05
"""Two of the longest ticks of Linux's clock: the CPU time of a thread that runs is told at each tick only."""

MAX_BUSY_SHARE = 0.1
"""Of one core during an interval; whoever takes less is not spinning."""

LONGEST_S = 1.0
"""An engine whose threads never sleep would be waited for without end."""


def wait_until_idle(pid: int) -> float:
    """Wait until a process uses next to no CPU.

    Args:
        pid: of the process; one that has ended is idle.

    Returns:
        Seconds that were waited, at most about `LONGEST_S`.
    """
    started = now = time.perf_counter()
    used_s = _used_s(pid)
    while now - started < LONGEST_S:
        time.sleep(INTERVAL_S)
        before, now = now, time.perf_counter()
        used_before, used_s = used_s, _used_s(pid)
        if used_s - used_before < MAX_BUSY_SHARE * (now - before):
            break
    return now - started


def _used_s(pid: int) -> float:
    """Return the CPU seconds of all threads of a process so far; 0 of one that has ended."""
    if sys.platform == "linux":
        with suppress(OSError):
            return time.clock_gettime(_cpu_clock(pid))
    else:
        with suppress(psutil.NoSuchProcess):
            used = psutil.Process(pid).cpu_times()
            return float(used.user + used.system)
    return 0.0


def _cpu_clock(pid: int) -> int:
    """Return the number of a process's CPU clock, as clock_getcpuclockid(3) of Linux's C libraries makes it."""
    return ~pid << 3 | 2
