"""Temporary folders are gone after use, and after a kill with the next use."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from sottovoce.storage.folders import NEW_S, temporary_folder

HOLD = """
import sys, time
from pathlib import Path
from sottovoce.storage.folders import temporary_folder
with temporary_folder(Path(sys.argv[1])) as folder:
    (folder / "weights").write_bytes(b"0" * 100)
    print(folder, flush=True)
    time.sleep(600)
"""


def _holder(above: Path) -> tuple["subprocess.Popen[str]", Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(above)], stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    old = folder.stat().st_mtime - 2 * NEW_S
    os.utime(folder.parent, (old, old))
    return process, folder


def test_a_folder_is_empty_and_gone_afterwards(tmp_path: Path) -> None:
    with temporary_folder(tmp_path) as folder:
        assert list(folder.iterdir()) == []
        (folder / "x").write_text("x")
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_killed_process_goes_with_the_next_and_that_of_a_living_one_stays(
    tmp_path: Path,
) -> None:
    process, folder = _holder(tmp_path)
    try:
        with temporary_folder(tmp_path):
            assert (folder / "weights").stat().st_size == 100
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert folder.exists()
    with temporary_folder(tmp_path):
        assert not folder.parent.exists()


def test_folders_of_others_stay(tmp_path: Path) -> None:
    other = tmp_path / "sottovoce-notes"
    other.mkdir()
    os.utime(other, (0, 0))
    with temporary_folder(tmp_path):
        assert other.exists()
