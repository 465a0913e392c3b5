"""What else a machine does while clips are timed: time that the host takes, work of other processes, throttling."""

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
"""Of the CPU time of a block: beyond, it is measured again. A tenth of a core on two cores."""

MIN_BLOCK_S = 1.0
"""CPU time. The kernel counts in hundredths of a second for each process: shares of shorter blocks are too coarse."""

THROTTLE_COUNTS = "/sys/devices/system/cpu/cpu*/thermal_throttle/core_throttle_count"
"""Linux, of Intel's and AMD's newer CPUs; see Documentation/ABI/testing/sysfs-devices-system-cpu of the kernel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Seconds that the CPUs which this process may use have counted so far.

    Attributes:
        total_s: of all of them, idle ones too.
        steal_s: taken by the host for others; 0 where the system does not tell.
        busy_s: used by any process.
        own_s: used by the benchmark's processes.
        throttled: events so far; None where they are not counted.
    """

    total_s: float
    steal_s: float
    busy_s: float
    own_s: float
    throttled: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """What else happened between two readings.

    Attributes:
        cpu_s: CPU time of all CPUs together.
        steal_s: of it taken by the host.
        foreign_s: of it used by other processes.
        throttled: events of thermal throttling; None where they are not counted.
    """

    cpu_s: float
    steal_s: float
    foreign_s: float
    throttled: int | None = None

    @property
    def is_beyond(self) -> bool:
        """Whether figures taken meanwhile say more of the machine than of an engine."""
        if self.throttled:
            return True
        if self.cpu_s < MIN_BLOCK_S:
            return False
        return self.steal_s > MAX_STEAL_SHARE * self.cpu_s or self.foreign_s > MAX_FOREIGN_SHARE * self.cpu_s

    @property
    def rank(self) -> tuple[bool, int, float]:
        """How disturbed it was, to choose the quieter of two."""
        return self.is_beyond, self.throttled or 0, self.share

    @property
    def share(self) -> float:
        """The part of the CPU time that others had."""
        return (self.steal_s + self.foreign_s) / self.cpu_s if self.cpu_s else 0.0


def read_cpu(pids: Sequence[int]) -> Reading:
    """Read the CPU's counts.

    Args:
        pids: the benchmark's processes beside this one.
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
    """Tell what happened between two readings of the same processes."""
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
    """Add up kinds of time, of those that this system counts."""
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
