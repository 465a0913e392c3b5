"""Killed at any moment, the same command ends with the same files."""

import shutil
import signal
from pathlib import Path

import pytest

from tests.support.torture import Job, left_over, moments


@pytest.mark.parametrize("command", ["optimize", "search", "benchmark", "bundle"])
def test_the_same_command_after_a_kill_gives_the_same_files(
    command: str, rounds: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    job: Job = request.getfixturevalue(command)
    (tmp_path / "whole").mkdir()
    whole = job.run(tmp_path / "whole" / "out")
    assert whole.code == 0, whole.err
    expected = job.result(tmp_path / "whole" / "out")
    good = n_killed = 0
    for i, moment in enumerate(moments(rounds, whole.seconds, seed=1)):
        out = tmp_path / f"round-{i}" / "out"
        out.parent.mkdir()
        killed = job.stop(out, moment, signal.SIGKILL)
        n_killed += killed is not None
        again = job.run(out) if killed is not None else None
        same = (again is None or again.code == 0) and job.result(out) == expected and left_over(out) == []
        good += same
        print(
            f"kill {command} {i + 1} of {rounds}, after {moment:.1f} s: {'same' if same else again}",
            flush=True,
        )
        if not same:
            print(f"  left {left_over(out)}", flush=True)
        shutil.rmtree(out.parent)
    print(f"kill {command}: {good} of {rounds}, {n_killed} before its end")
    assert good == rounds
