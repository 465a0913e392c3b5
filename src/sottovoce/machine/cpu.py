"""The instructions of this CPU that decide which kernels run. Imports nothing heavy, so that the runtime can use it."""

import os
import platform
from collections.abc import Mapping
from pathlib import Path

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

X86, ARM = "x86_64", "aarch64"

VNNI = ("avx512_vnni", "avx_vnni", "amx_int8")
"""They add products of INT8 in 32 bits. The older `vpmaddubsw` adds two products in 16 bits and saturates if weights
use all 8 bits (oneDNN, "Nuances of int8 computations")."""

BF16 = ("avx512_bf16", "amx_bf16")

LIMIT_NAMES = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
"""Environment variables that keep oneDNN, which OpenVINO computes with, from using newer instructions."""

_AVX512 = ("avx2", "avx512f")
_LIMITS: Mapping[str, tuple[str, ...]] = {
    "SSE41": (),
    "AVX": (),
    "AVX2": ("avx2",),
    "AVX2_VNNI": ("avx2", "avx_vnni"),
    "AVX2_VNNI_2": ("avx2", "avx_vnni"),
    "AVX512_CORE": _AVX512,
    "AVX512_CORE_VNNI": (*_AVX512, "avx512_vnni"),
    "AVX512_CORE_BF16": (*_AVX512, "avx512_vnni", "avx512_bf16"),
    "AVX512_CORE_FP16": (*_AVX512, "avx512_vnni", "avx512_bf16", "avx_vnni"),
    "AVX10_1_512": (*_AVX512, "avx512_vnni", "avx512_bf16", "avx_vnni"),
}
"""The flags that each limit leaves (oneDNN, "CPU Dispatcher Control"); other values set no limit that matters here."""


def architecture() -> str:
    """Return the architecture as Linux spells it: `x86_64`, `aarch64`."""
    machine = platform.machine()
    return {"AMD64": X86, "arm64": ARM}.get(machine, machine)


def instruction_limit() -> str | None:
    """Return the variable that limits the instructions, as `NAME=VALUE`; None where there is none or it has no effect."""
    for name in LIMIT_NAMES:
        value = os.environ.get(name)
        if value:
            return f"{name}={value}" if value.upper() in _LIMITS else None
    return None


def cpu_flags() -> frozenset[str] | None:
    """Return the flags of this CPU as Linux spells them; None if the system does not list them."""
    flags = cpu_info_field("flags", "Features")
    return None if flags is None else frozenset(flags.split())


def usable_flags() -> frozenset[str] | None:
    """Return the flags of this CPU without those that a limit hides; None if they are unknown."""
    flags, limit = cpu_flags(), instruction_limit()
    if flags is None or limit is None or architecture() != X86:
        return flags
    return flags - set(INSTRUCTION_SETS).difference(_LIMITS[limit.partition("=")[2].upper()])


def lacks_all(names: tuple[str, ...]) -> bool:
    """Return whether this is an x86 CPU that can use none of the named flags; False if its flags are unknown."""
    usable = usable_flags()
    return architecture() == X86 and usable is not None and usable.isdisjoint(names)


def why_lacking(names: tuple[str, ...]) -> str:
    """Return why none of the named flags can be used, after "which"."""
    is_hidden = not (cpu_flags() or frozenset()).isdisjoint(names)
    return f"{instruction_limit()} hides" if is_hidden else "this CPU does not have"


def cpu_info_field(*names: str) -> str | None:
    """Return the first field with one of the names in Linux's description of the CPU."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as lines:
            pairs = (line.partition(":") for line in lines)
            return next((value.strip() for key, _, value in pairs if key.strip() in names), None)
    except OSError:
        return None
