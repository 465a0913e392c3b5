"""Which cores this process has; apart, so that a device can ask without importing more."""

import os


def usable_cpus() -> frozenset[int]:
    """Return the numbers of the cores that this process may use, affinity included."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def usable_cores() -> int:
    """Count the cores that this process may use, affinity included."""
    return len(usable_cpus())
