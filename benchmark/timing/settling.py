"""Wait until the threads of an engine stop spinning.

Idle threads of a pool spin before they sleep (200 ms in Intel's OpenMP, see `KMP_BLOCKTIME`), and would take CPU time
from the next entry.
"""

import sys
import time
from contextlib import suppress

import psutil

INTERVAL_S = 0.02 if sys.platform == "linux" else 0.05
"""Two of the longest ticks of Linux's clock, which updates the CPU time of a running thread at each tick."""

MAX_BUSY_SHARE = 0.1
"""Of one core during an interval; a process below it is idle."""

LONGEST_S = 1.0
"""Limit for engines whose threads never sleep."""


def wait_until_idle(pid: int) -> float:
    """Wait until a process is idle or has ended; return the seconds waited, at most about `LONGEST_S`."""
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
    """Return the CPU seconds of all threads of a process; 0 if it has ended."""
    if sys.platform == "linux":
        with suppress(OSError):
            return time.clock_gettime(_cpu_clock(pid))
    else:
        with suppress(psutil.NoSuchProcess):
            used = psutil.Process(pid).cpu_times()
            return float(used.user + used.system)
    return 0.0


def _cpu_clock(pid: int) -> int:
    """Return the number of a process's CPU clock, as clock_getcpuclockid(3) computes it on Linux."""
    return ~pid << 3 | 2
