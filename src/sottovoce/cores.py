"""How many cores this process has; apart, so that a device can ask without importing more."""

import os


def usable_cores() -> int:
    """Count the cores that this process may use, affinity included."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
