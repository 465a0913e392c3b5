"""Many processes on one output leave it whole."""

import shutil
from pathlib import Path

from tests.support.torture import Job, left_over

N_PROCESSES = 8


def test_eight_processes_write_one_output(optimize: Job, rounds: int, tmp_path: Path) -> None:
    expected = None
    good = 0
    for i in range(rounds):
        folder = tmp_path / f"round-{i}"
        folder.mkdir()
        out = folder / "out"
        processes = [optimize.start(out, tmp_path / f"{n}.err") for n in range(N_PROCESSES)]
        codes = [process.wait() for process in processes]
        hashes = optimize.result(out)
        expected = expected or hashes
        whole = codes == [0] * N_PROCESSES and hashes == expected and left_over(out) == []
        good += whole
        if not whole:
            print(f"round {i}: codes {codes}, left {left_over(out)}")
        shutil.rmtree(folder)
    print(f"crowd of {N_PROCESSES}: {good} of {rounds}")
    assert good == rounds
