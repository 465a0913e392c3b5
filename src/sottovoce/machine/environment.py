"""What machine this is, and with which versions."""

import platform
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Self

import psutil
from pydantic import BaseModel, ConfigDict

from sottovoce.machine.cores import usable_cores

VERSIONS_OF = (
    "sottovoce",
    "openvino",
    "optimum-intel",
    "nncf",
    "onnx",
    "onnxruntime",
    "ctranslate2",
    "faster-whisper",
    "transformers",
    "torch",
    "numpy",
    "av",
    "jiwer",
    "whisper-normalizer",
)
"""Distributions whose version can change a number that we report."""

INSTRUCTION_SETS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx_vnni",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "asimddp",
    "i8mm",
    "sve",
)
"""CPU flags that decide which INT8, bf16 or fp32 kernels run, as Linux spells them."""


class Host(BaseModel):
    """The machine: what a reader needs to judge a measured time."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    os: str
    machine: str
    cpu: str
    physical_cores: int
    logical_cores: int
    usable_cores: int
    memory_bytes: int
    instruction_sets: list[str]
    python: str


def read_host() -> Host:
    """Read the machine that this process runs on."""
    return Host(
        os=f"{platform.system()} {platform.release()}",
        machine=platform.machine(),
        cpu=_cpu_name(),
        physical_cores=psutil.cpu_count(logical=False) or 1,
        logical_cores=psutil.cpu_count() or 1,
        usable_cores=usable_cores(),
        memory_bytes=psutil.virtual_memory().total,
        instruction_sets=_instruction_sets(),
        python=platform.python_version(),
    )


def available_memory_bytes() -> int:
    """Return the memory that can be had without swapping, a container's limit included."""
    available = int(psutil.virtual_memory().available)
    limit = _cgroup_headroom_bytes()
    return available if limit is None else min(available, limit)


def peak_rss_bytes() -> int:
    """Return the largest resident set of this process since it was started.

    Linux: `VmHWM`, which belongs to the address space; `ru_maxrss` would include the parent's
    peak, since it survives `exec`. Elsewhere: what the system counts.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class PeakMemory:
    """Measure the largest resident set of this process while a block runs.

    On Linux the kernel's mark is set back at the start (`/proc/self/clear_refs`, see proc(5)), so
    that what ran earlier does not count; elsewhere the mark since the start of the process holds.
    """

    peak_bytes: int = 0

    def __enter__(self) -> Self:
        """Set the mark back."""
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        return self

    def __exit__(self, *_: object) -> None:
        """Read the mark."""
        self.peak_bytes = peak_rss_bytes()


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that are installed, of those that matter."""
    found = {}
    for name in VERSIONS_OF:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _cpu_info_field(*names: str) -> str | None:
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return None
    for line in info.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() in names:
            return value.strip()
    return None


def _cpu_name() -> str:
    return _cpu_info_field("model name") or platform.processor() or platform.machine()


def _instruction_sets() -> list[str]:
    flags = set((_cpu_info_field("flags", "Features") or "").split())
    return [name for name in INSTRUCTION_SETS if name in flags]


def _cgroup_headroom_bytes() -> int | None:
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    try:
        return int(limit.read_text()) - int(used.read_text())
    except (OSError, ValueError):  # no cgroup v2, or "max": no limit
        return None
