"""Devices for tests of the planner. The laptop has the rates of one thread of the machine of docs/benchmarks.md."""

import json
from pathlib import Path
from typing import Any

from sottovoce.machine.environment import Host
from sottovoce.runtime.planning.device import Device, StepRate

LAPTOP = Device(
    host=Host(
        os="Linux",
        machine="x86_64",
        cpu="a laptop",
        physical_cores=1,
        logical_cores=1,
        usable_cores=1,
        memory_bytes=8_000_000_000,
        instruction_sets=["avx2", "avx512f", "avx512_vnni", "avx512_bf16"],
        python="3.11.2",
    ),
    threads=1,
    available_memory_bytes=6_000_000_000,
    macs_per_s={"int8": 455e9, "bf16": 222e9, "f32": 112e9},
    steps=(
        StepRate(weight_bytes=28_000_000, bytes_per_s=45e9),
        StepRate(weight_bytes=50_000_000, bytes_per_s=38e9),
        StepRate(weight_bytes=140_000_000, bytes_per_s=33e9),
    ),
    operation_s=1.4e-6,
    frame_s=1e-5,
    disk_bytes_per_s=5e8,
)


def with_instructions(*names: str, machine: str = "x86_64") -> Device:
    """Return the laptop with another CPU."""
    host = LAPTOP.host.model_copy(update={"instruction_sets": list(names), "machine": machine})
    return LAPTOP.model_copy(update={"host": host})


def plan_file(path: Path, **more: Any) -> Path:
    """Write what `sottovoce plan --json` prints on the laptop, as far as another machine reads it."""
    path.write_text(json.dumps({"device": LAPTOP.model_dump(mode="json"), **more}), encoding="utf-8")
    return path
