"""The facts of the machine, compared with those of the system."""

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import psutil
import pytest

from sottovoce.machine import resources
from sottovoce.machine.cpu import INSTRUCTION_SETS
from sottovoce.machine.environment import Host, library_versions, read_host
from sottovoce.machine.resources import available_memory_bytes, peak_rss_bytes, usable_cores

MIB = 1 << 20
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_the_host_has_the_facts_of_the_system() -> None:
    host = read_host()
    assert host.logical_cores == psutil.cpu_count()
    assert host.memory_bytes == psutil.virtual_memory().total
    assert host.python == platform.python_version()
    assert host.cpu
    assert set(host.instruction_sets) <= set(INSTRUCTION_SETS)


def test_the_host_survives_being_written_and_read() -> None:
    assert Host.model_validate_json(read_host().model_dump_json()) == read_host()


def test_the_host_does_not_contain_the_name_of_the_machine() -> None:
    node = platform.node()
    if len(node) < 5:
        pytest.skip("the name of this machine is too short to look for")
    assert node not in read_host().model_dump_json()


@needs_linux
def test_a_process_that_may_use_one_core_counts_one() -> None:
    code = (
        "import os, sottovoce.machine.resources as e; "
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); print(e.usable_cores())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def test_usable_cores_are_at_least_one_and_not_more_than_there_are() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


def test_available_memory_is_positive_and_not_more_than_there_is() -> None:
    assert 0 < available_memory_bytes() <= psutil.virtual_memory().total


def test_the_page_cache_of_a_container_counts_as_available(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "CGROUP", tmp_path)
    for name, text in (
        ("memory.max", f"{500 * MIB}\n"),
        ("memory.current", f"{490 * MIB}\n"),
        ("memory.stat", f"anon 1\ninactive_file {300 * MIB}\nactive_file {100 * MIB}\n"),
    ):
        (tmp_path / name).write_text(text)
    assert available_memory_bytes() == min(410 * MIB, psutil.virtual_memory().available)
    (tmp_path / "memory.max").write_text("max\n")
    assert available_memory_bytes() > 410 * MIB


@needs_linux
def test_a_limit_on_the_address_space_counts() -> None:
    code = """
import resource
from sottovoce.machine.resources import available_memory_bytes
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
print(available_memory_bytes())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0 < int(done.stdout) < 1 << 30


def test_the_peak_is_not_below_what_is_resident_now() -> None:
    assert peak_rss_bytes() >= psutil.Process().memory_info().rss - 16 * MIB


def test_a_block_that_fills_memory_raises_its_peak() -> None:
    """In a process of its own: the heap of a long one may hold enough freed memory for the block."""
    code = """
import numpy as np
from sottovoce.machine.resources import PeakMemory
with PeakMemory() as idle:
    pass
with PeakMemory() as busy:
    np.ones(96 << 20, dtype=np.uint8)
print(busy.peak_bytes - idle.peak_bytes)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 64 * MIB


@needs_linux
def test_what_ran_before_a_block_does_not_count() -> None:
    """In a fresh process: one in which libraries have changed how memory is allocated keeps what it frees."""
    code = """
import numpy as np
from sottovoce.machine.resources import PeakMemory
with PeakMemory() as before:
    filled = np.ones(256 << 20, dtype=np.uint8)
    del filled
with PeakMemory() as after:
    pass
print(before.peak_bytes - after.peak_bytes)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 128 * MIB


def test_a_child_does_not_inherit_the_peak_of_its_parent() -> None:
    if sys.platform == "win32":
        pytest.skip("there is no fork")
    filled = np.ones(512 * MIB, dtype=np.uint8)
    code = "import sottovoce.machine.resources as e; print(e.peak_rss_bytes())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 256 * MIB
    del filled


def test_versions_are_those_that_are_installed() -> None:
    found = library_versions()
    assert found["sottovoce"] == version("sottovoce")
    assert found["numpy"] == np.__version__
