"""A full disk and too little memory: one line, nothing half-written, and the same command goes on."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.torture import Job, left_over, limited

MARGIN = 3
"""Room for what is there twice for a moment, by the size of the run."""


@contextmanager
def small_disk(folder: Path, n_bytes: int) -> Iterator[None]:
    """Mount a tmpfs of a size."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def enlarge(folder: Path, n_bytes: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={n_bytes}", folder], check=True)


def size_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_a_full_disk_is_an_error_and_the_command_resumes(optimize: Job, rounds: int, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounts a tmpfs, which only root may")
    (tmp_path / "whole").mkdir()
    assert optimize.run(tmp_path / "whole" / "out").code == 0
    expected = optimize.result(tmp_path / "whole" / "out")
    size = size_bytes(tmp_path / "whole")
    good = 0
    for i in range(rounds):
        disk = tmp_path / f"disk-{i}"
        n_bytes = size * (i + 1) // (rounds + 1)
        with small_disk(disk, n_bytes):
            out = disk / "out"
            full = optimize.run(out)
            is_reported = full.is_plain_error and "disk" in full.errors[0] and not out.exists()
            enlarge(disk, MARGIN * size)
            again = optimize.run(out)
            fine = (
                is_reported and again.code == 0 and optimize.result(out) == expected and left_over(out) == []
            )
            good += fine
            print(f"{n_bytes} bytes: {full.errors}")
            if not fine:
                print(f"  {full}\n  again {again}")
        shutil.rmtree(disk)
    print(f"full disk (tmpfs): {good} of {rounds}")
    assert good == rounds


def test_too_little_memory_is_an_error_and_the_command_resumes(
    optimize: Job, rounds: int, tmp_path: Path
) -> None:
    (tmp_path / "whole").mkdir()
    whole = optimize.run(tmp_path / "whole" / "out")
    expected = optimize.result(tmp_path / "whole" / "out")
    good = 0
    for i in range(rounds):
        out = tmp_path / f"round-{i}" / "out"
        out.parent.mkdir()
        n_bytes = whole.address_space_bytes * (i + 1) // (rounds + 1)
        short = optimize.run(out, under=limited(n_bytes))
        is_reported = short.code == 0 or (
            short.is_plain_error and "memory" in short.errors[0] and not out.exists()
        )
        again = optimize.run(out) if short.code else short
        fine = is_reported and again.code == 0 and optimize.result(out) == expected and left_over(out) == []
        good += fine
        print(f"{n_bytes >> 20} MiB: {short.code} {short.errors}")
        if not fine:
            print(f"  {short}\n  again {again}")
        shutil.rmtree(out.parent)
    print(f"short memory (RLIMIT_AS): {good} of {rounds}")
    assert good == rounds
