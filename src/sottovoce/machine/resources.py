"""Cores and memory of this process. Imports nothing heavy, so that the runtime can use it."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Self

CGROUP = Path("/sys/fs/cgroup")


def usable_cpus() -> frozenset[int]:
    """Return the numbers of the cores that this process may use, affinity included."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def usable_cores() -> int:
    """Count the cores that this process may use, affinity included."""
    return len(usable_cpus())


def available_memory_bytes() -> int:
    """Return the memory that is available without swapping, limits of the container and of the process included."""
    limits = (
        _available_bytes(),
        _cgroup_headroom_bytes(),
        _address_space_headroom_bytes(),
    )
    return min(limit for limit in limits if limit is not None)


def held_memory_bytes() -> int:
    """Return the memory of this process that is not of files."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    import psutil

    return int(psutil.Process().memory_info().rss)


def _available_bytes() -> int:
    """Return the memory of the machine that is available without swapping; Linux says so without an import."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    import psutil

    return int(psutil.virtual_memory().available)


def peak_rss_bytes() -> int:
    """Return the largest resident set of this process since it started.

    Linux: `VmHWM`, which belongs to the address space; `ru_maxrss` survives `exec` and would include the parent's
    peak. Other systems: their own counter.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class PeakMemory:
    """Measure the largest resident set of this process while a block runs.

    On Linux the kernel's peak counter is reset at the start (`/proc/self/clear_refs`, see proc(5)), so that earlier
    work does not count; on other systems the peak since the start of the process is returned.
    """

    peak_bytes: int = 0

    def __enter__(self) -> Self:
        """Reset the peak counter."""
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        return self

    def __exit__(self, *_: object) -> None:
        """Read the peak counter."""
        self.peak_bytes = peak_rss_bytes()


def _cgroup_headroom_bytes() -> int | None:
    """Return what the container may still take; its page cache does not count as taken, since the kernel frees it."""
    try:
        limit, used = (int((CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        counts = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
        return limit - used + int(counts["inactive_file"]) + int(counts["active_file"])
    except (OSError, ValueError, KeyError):  # no cgroup v2, or "max": no limit
        return None


def _address_space_headroom_bytes() -> int | None:
    """Return what `ulimit -v` leaves to this process; None where there is no such limit."""
    if sys.platform != "linux":
        return None
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    n_pages = int(Path("/proc/self/statm").read_text().split()[0])
    return max(0, limit - n_pages * resource.getpagesize())
