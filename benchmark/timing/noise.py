"""The noise of a machine while clips are timed: CPU time of the host and of other processes, throttling."""

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from sottovoce.machine.resources import usable_cpus

MAX_STEAL_SHARE = 0.05
MAX_FOREIGN_SHARE = 0.05
"""Shares of a block's CPU time; a block above is measured again. On two cores, a tenth of a core."""

MIN_BLOCK_S = 1.0
"""CPU time. The kernel counts in hundredths of a second per process: shares of shorter blocks are too coarse."""

THROTTLE_COUNTS = "/sys/devices/system/cpu/cpu*/thermal_throttle/core_throttle_count"
"""On Linux, for newer Intel and AMD CPUs; see Documentation/ABI/testing/sysfs-devices-system-cpu of the kernel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Counters of the CPUs that this process may use, in seconds.

    Attributes:
        total_s: including idle time.
        steal_s: taken by the host for other guests; 0 if the system does not count it.
        busy_s: used by any process.
        own_s: used by the benchmark's processes.
        throttled: events; None if the system does not count them.
    """

    total_s: float
    steal_s: float
    busy_s: float
    own_s: float
    throttled: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """The noise between two readings.

    Attributes:
        cpu_s: CPU time of all CPUs.
        steal_s: the part taken by the host.
        foreign_s: the part used by other processes.
        throttled: events of thermal throttling; None if the system does not count them.
    """

    cpu_s: float
    steal_s: float
    foreign_s: float
    throttled: int | None = None

    @property
    def is_beyond(self) -> bool:
        """Whether a limit is exceeded, so that times are not reliable."""
        if self.throttled:
            return True
        if self.cpu_s < MIN_BLOCK_S:
            return False
        return self.steal_s > MAX_STEAL_SHARE * self.cpu_s or self.foreign_s > MAX_FOREIGN_SHARE * self.cpu_s

    @property
    def rank(self) -> tuple[bool, int, float]:
        """Sort key: less disturbed first."""
        return self.is_beyond, self.throttled or 0, self.share

    @property
    def share(self) -> float:
        """Share of the CPU time that the host and other processes took."""
        return (self.steal_s + self.foreign_s) / self.cpu_s if self.cpu_s else 0.0


def read_cpu(pids: Sequence[int]) -> Reading:
    """Read the CPU counters.

    Args:
        pids: the benchmark's processes, except this one.
    """
    cpus = usable_cpus()
    times = [each for number, each in enumerate(psutil.cpu_times(percpu=True)) if number in cpus]
    steal_s = _sum(times, "steal")
    busy_s = _sum(times, "user", "system", "nice", "irq", "softirq")
    return Reading(
        total_s=busy_s + _sum(times, "idle", "iowait") + steal_s,
        steal_s=steal_s,
        busy_s=busy_s,
        own_s=sum(_used_s(pid) for pid in (os.getpid(), *pids)),
        throttled=_throttled(),
    )


def between(before: Reading, after: Reading) -> Disturbance:
    """Return the noise between two readings of the same processes."""
    throttled = None
    if before.throttled is not None and after.throttled is not None:
        throttled = after.throttled - before.throttled
    own_s = after.own_s - before.own_s
    return Disturbance(
        cpu_s=max(0.0, after.total_s - before.total_s),
        steal_s=max(0.0, after.steal_s - before.steal_s),
        foreign_s=max(0.0, after.busy_s - before.busy_s - own_s),
        throttled=throttled,
    )


def _sum(times: Iterable[Any], *names: str) -> float:
    """Add up the named kinds of time; a kind that the system lacks counts as 0."""
    return sum(float(getattr(each, name, 0.0)) for each in times for name in names)


def _used_s(pid: int) -> float:
    with suppress(psutil.NoSuchProcess):
        used = psutil.Process(pid).cpu_times()
        return float(used.user + used.system)
    return 0.0


def _throttled() -> int | None:
    counts = list(Path("/").glob(THROTTLE_COUNTS.lstrip("/")))
    try:
        return sum(int(count.read_text()) for count in counts) if counts else None
    except (OSError, ValueError):
        return None
