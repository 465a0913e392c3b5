"""Weights in huge pages: a step reads all of them, and with pages of 4 kB the processor looks up thousands of addresses.

Linux gives huge pages of 2 MB on request (`MADV_HUGEPAGE`); memory that is in small pages already is moved by
`MADV_COLLAPSE`, from Linux 6.1 on. See `Documentation/admin-guide/mm/transhuge.rst` of the kernel. Whole clips take
0.95 to 0.97 of the time then (docs/lab-notes.md).
"""

import ctypes
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Thread

HUGE_PAGE_BYTES = 2 * 1024 * 1024
ADVISE_HUGE, COLLAPSE = 14, 25
"""`MADV_HUGEPAGE` and `MADV_COLLAPSE`; `mmap` has no names for them."""

SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")
MAPS = Path("/proc/self/maps")

HEAP = "[heap]"
N_FIELDS_UNNAMED = 5


def start_moving() -> None:
    """Move this process's memory into huge pages beside its work; nothing where the system has or wants none.

    It takes 0.3 to 0.5 s of one core, and 15 MB (tiny.en) to 40 MB (base) of memory: pages that nothing has used yet.
    """
    if sys.platform == "linux" and is_allowed(SETTING):
        Thread(target=move, name="huge pages", daemon=True).start()


def is_allowed(setting: Path) -> bool:
    """Return whether the system gives huge pages on request; an administrator may have turned them off."""
    try:
        return "[never]" not in setting.read_text(encoding="ascii")
    except OSError:
        return False


def move() -> int:
    """Move anonymous memory into huge pages; return the bytes that were moved.

    What the kernel refuses, for want of free huge pages or by its version, stays as it is.
    """
    advise = ctypes.CDLL(None, use_errno=True).madvise
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    moved = 0
    for start, size in list(spans(MAPS.read_text(encoding="utf-8").splitlines())):
        if advise(start, size, ADVISE_HUGE) == 0 and advise(start, size, COLLAPSE) == 0:
            moved += size
    return moved


def spans(lines: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Yield where whole huge pages fit into a process's own memory: address and bytes.

    Args:
        lines: of `/proc/PID/maps`.
    """
    for line in lines:
        fields = line.split()
        is_own = fields[1] == "rw-p" and fields[4] == "0"
        if not is_own or (len(fields) > N_FIELDS_UNNAMED and fields[N_FIELDS_UNNAMED] != HEAP):
            continue
        start, end = (int(address, 16) for address in fields[0].split("-"))
        first = -(-start // HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES
        size = end // HUGE_PAGE_BYTES * HUGE_PAGE_BYTES - first
        if size > 0:
            yield first, size
