"""Folders that survive whatever ends their writer."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sottovoce.errors import InputError, OutputExistsError, ResourceError
from sottovoce.storage.folders import (
    exchange,
    new_folder,
    recover_interrupted_write,
    remove_folder,
    replace_folder,
    sibling,
)
from sottovoce.storage.locks import lock_path, output_lock

WRITER = """
import os, signal, sys
from pathlib import Path
from sottovoce.storage import folders

def die(one, other):
    os.kill(os.getpid(), signal.SIGKILL)

out, moment = Path(sys.argv[1]), sys.argv[2]
with folders.output_lock(out):
    folders.recover_interrupted_write(out)
    work = folders.sibling(out, folders.NEW) / out.name
    work.mkdir(parents=True)
    (work / "a.txt").write_text("new")
    if moment == "before":
        die(None, None)
    folders.replace_folder(work, out, exchange=lambda one, other: False if moment == "between" else die(one, other))
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def folder_with(path: Path, text: str) -> Path:
    path.mkdir(parents=True)
    (path / "a.txt").write_text(text, encoding="utf-8")
    return path


def test_the_next_writer_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WRITER, str(tmp_path / "run"), "before"], check=False, timeout=60
    )
    assert done.returncode == -signal.SIGKILL
    assert names(tmp_path) == [".run.lock", ".run.new"]
    with new_folder(tmp_path / "run") as work:
        assert list(work.iterdir()) == []
    assert names(tmp_path) == ["run"]


def test_a_replacement_is_one_step(tmp_path: Path) -> None:
    old, new = folder_with(tmp_path / "old", "old"), folder_with(tmp_path / "new", "new")
    if not exchange(new, old):
        pytest.skip("this file system cannot exchange two names")
    assert (old / "a.txt").read_text(encoding="utf-8") == "new"
    assert (new / "a.txt").read_text(encoding="utf-8") == "old"


def test_a_replacement_in_two_steps_gives_the_new_folder(tmp_path: Path) -> None:
    old, new = folder_with(tmp_path / "old", "old"), folder_with(tmp_path / "new", "new")
    replace_folder(new, old, exchange=lambda *_: False)
    assert (old / "a.txt").read_text(encoding="utf-8") == "new"
    assert names(tmp_path) == ["old"]


def test_a_kill_between_two_renames_is_put_right(tmp_path: Path) -> None:
    out = folder_with(tmp_path / "run", "old")
    out.rename(sibling(out, "old"))
    folder_with(sibling(out, "new") / "run", "new")
    recover_interrupted_write(out)
    assert (out / "a.txt").read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["run"]


@pytest.mark.parametrize("force", [False, True])
def test_a_file_where_a_folder_is_to_be_written_is_kept(force: bool, tmp_path: Path) -> None:  # noqa: FBT001 - data
    notes = tmp_path / "notes.txt"
    notes.write_text("years of work", encoding="utf-8")
    with (
        pytest.raises(InputError, match=r"is not a folder.*does not delete it"),
        new_folder(notes, force=force),
    ):
        pytest.fail("work began")
    assert notes.read_text(encoding="utf-8") == "years of work"
    assert names(tmp_path) == ["notes.txt"]


def test_a_file_that_appears_while_a_folder_is_written_is_kept(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    with (
        pytest.raises(InputError, match="is not a folder"),
        new_folder(notes, force=True),
    ):
        notes.write_text("years of work", encoding="utf-8")
    assert notes.read_text(encoding="utf-8") == "years of work"
    assert names(tmp_path) == ["notes.txt"]


def test_a_link_that_leads_nowhere_is_kept(tmp_path: Path) -> None:
    (tmp_path / "run").symlink_to(tmp_path / "gone")
    with pytest.raises(InputError, match="is not a folder"), new_folder(tmp_path / "run", force=True):
        pytest.fail("work began")
    assert (tmp_path / "run").is_symlink()


def test_a_file_that_a_killed_writer_moved_away_is_put_back(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    sibling(notes, "old").write_text("years of work", encoding="utf-8")
    recover_interrupted_write(notes)
    assert notes.read_text(encoding="utf-8") == "years of work"
    assert names(tmp_path) == ["notes.txt"]
    run = folder_with(tmp_path / "run", "new")
    sibling(run, "old").write_text("years of work", encoding="utf-8")
    recover_interrupted_write(run)
    assert names(tmp_path) == [".run.old", "notes.txt", "run"]


def test_a_removed_folder_is_gone(tmp_path: Path) -> None:
    remove_folder(folder_with(tmp_path / "run", "old"))
    remove_folder(tmp_path / "run")
    assert names(tmp_path) == []


def test_a_folder_shows_its_own_name_while_it_is_written(tmp_path: Path) -> None:
    with new_folder(tmp_path / "fp32") as work:
        assert work.name == "fp32"


def in_another_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_second_writer_waits_and_says_so(tmp_path: Path) -> None:
    out, notes, waited = tmp_path / "run", list[str](), list[bool]()

    def second() -> None:
        with output_lock(out, note=notes.append) as had_to_wait:
            waited.append(had_to_wait)

    with output_lock(out) as first_waited:
        thread = in_another_thread(second)
        while not notes:
            thread.join(0.01)
        assert waited == []
    thread.join()
    assert (first_waited, waited) == (False, [True])
    assert notes == [f"another process is writing {out}; waiting for it"]
    assert names(tmp_path) == []


def test_a_writer_that_does_not_wait_gets_an_error(tmp_path: Path) -> None:
    caught: list[str] = []

    def second() -> None:
        try:
            with output_lock(tmp_path / "run", wait=False):
                pass
        except InputError as error:
            caught.append(str(error))

    with output_lock(tmp_path / "run"):
        in_another_thread(second).join()
    assert caught == [f"another process is writing {tmp_path / 'run'}; wait for it, or choose another --out"]


def test_one_thread_may_hold_a_lock_twice(tmp_path: Path) -> None:
    with output_lock(tmp_path / "run"):
        with output_lock(tmp_path / "run"):
            pass
        assert lock_path(tmp_path / "run").exists()
    assert names(tmp_path) == []


def test_writers_in_a_row_each_see_the_folder_of_the_one_before(tmp_path: Path) -> None:
    made: list[str] = []

    def write() -> None:
        try:
            with new_folder(tmp_path / "run"):
                made.append("made")
        except OutputExistsError:
            made.append("exists")

    threads = [in_another_thread(write) for _ in range(6)]
    for thread in threads:
        thread.join()
    assert sorted(made) == ["exists"] * 5 + ["made"]
    assert names(tmp_path) == ["run"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounts a tmpfs, which only root may")
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_full_disk_is_one_line_and_leaves_nothing(small_disk: Path) -> None:
    with (
        pytest.raises(ResourceError, match=r"the disk is full.*make room"),
        new_folder(small_disk / "run") as work,
    ):
        (work / "large").write_bytes(bytes(1 << 20))
    assert names(small_disk) == []


def test_a_disk_that_was_filled_without_a_word_is_found(small_disk: Path) -> None:
    with pytest.raises(ResourceError, match="the disk is full"), new_folder(small_disk / "run") as work:
        fill(work / "cut short")
    assert names(small_disk) == []


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_a_folder_that_may_not_be_written_is_one_line(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,ro", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounts a tmpfs, which only root may")
    try:
        with (
            pytest.raises(InputError, match=r"Read-only file system\); change its permissions"),
            new_folder(disk / "run"),
        ):
            pass
    finally:
        subprocess.run(["umount", disk], check=True)
