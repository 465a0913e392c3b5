"""Ctrl-C and SIGTERM at any moment: soon gone, the right exit code, nothing half-written."""

import shutil
import signal
from pathlib import Path

import pytest

from tests.support.torture import Job, left_over, moments

LONGEST_S = 5.0

MAY_STAY = {
    ".out.unfinished.new",
    "out.unfinished",
    ".out.lock",
    ".out.new",
    ".out.unfinished.lock",
    ".out.unfinished.gone",
}
"""What the next command of the same output goes on with, or removes."""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_command_soon(
    number: signal.Signals, code: int, optimize: Job, rounds: int, tmp_path: Path
) -> None:
    (tmp_path / "whole").mkdir()
    whole = optimize.run(tmp_path / "whole" / "out")
    assert whole.code == 0, whole.err
    expected = optimize.result(tmp_path / "whole" / "out")
    taken, good = [], 0
    for i, moment in enumerate(moments(rounds, whole.seconds, seed=2)):
        out = tmp_path / f"round-{i}" / "out"
        out.parent.mkdir()
        ended = optimize.stop(out, 0.3 + moment, number)  # Python itself starts in the first tenths
        fine = ended is None
        if ended is not None:
            taken.append(ended.seconds)
            fine = ended.seconds < LONGEST_S and "Traceback" not in ended.err
            if out.exists():  # it had done its work, and Python was leaving
                fine = fine and ended.code in {code, -number} and optimize.result(out) == expected
            else:
                fine = fine and ended.code == code and set(left_over(out)) <= MAY_STAY
        good += fine
        print(
            f"{number.name} {i + 1} of {rounds}, after {moment:.1f} s: {'fine' if fine else ended}",
            flush=True,
        )
        if not fine:
            print(f"  left {left_over(out)}", flush=True)
        shutil.rmtree(out.parent)
    slowest = max(taken, default=0.0)
    print(f"{number.name}: {good} of {rounds}, {len(taken)} before its end, slowest {slowest:.2f} s")
    assert good == rounds
