"""Memory that a process holds and no longer needs, given back to the system."""

import ctypes
import gc
import mmap
import sys
from pathlib import Path
from typing import Any

import numpy as np

from sottovoce.errors import InputError
from sottovoce.runtime.model.openvino.graph_check import check_ir
from sottovoce.runtime.model.openvino.quiet_import import shared_core


class GraphFile:
    """A graph (OpenVINO IR) on disk, to be kept for as long as what was compiled from it.

    OpenVINO packs weights anew for its kernels and hardly reads the file again, yet the pages of its own
    mapping stay resident: 75 MB of base in INT8. So the mapping is made here, and its pages are dropped when
    the kernels have theirs. A page that is needed again is read again.
    """

    def __init__(self, path: Path) -> None:
        """Map a graph's weights.

        Args:
            path: of the `.xml`; the weights lie beside it in `.bin`.

        Raises:
            InputError: one of the files is missing or empty, no regular file, or a graph that is refused.
        """
        weights = path.with_suffix(".bin")
        irregular = next((each for each in (path, weights) if each.exists() and not each.is_file()), None)
        if irregular is not None:
            raise InputError(f"{irregular} is no regular file; make the variant again")
        try:
            self._graph = path.read_bytes()
            with weights.open("rb") as file:
                # A private mapping: OpenVINO asks for memory that may be written, and writes none of it.
                self._mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        except (OSError, ValueError) as cause:
            raise InputError(f"{path} or its .bin cannot be read: {cause}; make the variant again") from cause
        check_ir(self._graph, len(self._mapped), path)
        self._path = path
        self._weights = np.frombuffer(self._mapped, dtype=np.uint8)

    def read(self) -> Any:
        """Return the graph (`openvino.Model`): one of its own each time, over the same weights.

        Raises:
            InputError: the graph is damaged.
        """
        import openvino

        weights = openvino.Tensor(self._weights, shared_memory=True)
        try:
            return shared_core().read_model(self._graph, weights)
        except RuntimeError as cause:
            raise InputError(f"{self._path} is damaged: {cause}; make the variant again") from cause

    def give_back(self) -> None:
        """Drop the pages that were read."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._mapped.madvise(mmap.MADV_DONTNEED)


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's `mallopt`, see mallopt(3)."""

MAPPED_BLOCK_BYTES = 1 << 20
TRIMMED_HEAP_BYTES = 16 << 20


def map_large_blocks() -> None:
    """Let glibc map each block of 1 MiB or more by itself, so that it goes back to the system when it is freed.

    Without it glibc learns from the first large block that it frees to keep up to 32 MiB each in its heap: tracing an encoder of
    large-v3's shape leaves 0.33 GiB a layer behind. It holds for the rest of the process, and does nothing elsewhere.
    """
    set_option = _glibc("mallopt")
    if set_option is not None:
        set_option(M_MMAP_THRESHOLD, MAPPED_BLOCK_BYTES)
        set_option(M_TRIM_THRESHOLD, TRIMMED_HEAP_BYTES)


def give_back_freed() -> None:
    """Give freed memory back: after compiling base, glibc keeps 75 MB of it. Does nothing elsewhere."""
    trim = _glibc("malloc_trim")
    if trim is not None:
        trim(0)


def give_back_unused() -> None:
    """Free objects that refer to each other in a circle, as models of optimum-intel do, and give freed memory back."""
    gc.collect()
    give_back_freed()


def _glibc(name: str) -> Any | None:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
