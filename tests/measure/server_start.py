"""How long a server takes until it answers `/readyz`, and how much of a processor it and its worker take until then.

    python tests/measure/server_start.py RUN --cores 0 --rounds 7
    python tests/measure/server_start.py RUN --cores 0,1 --than ../before/src     # another checkout, in turns

All processes run on the given cores, with a thread of inference for each.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

ADDRESS = re.compile(r"listens on (http://\S+)")
WAIT_S = 120.0
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A start of a server, in seconds.

    Attributes:
        until_ready: by the clock.
        server_cpu: that its process took of a processor.
        worker_cpu: that the process with the model took.
    """

    until_ready: float
    server_cpu: float
    worker_cpu: float


def measure(source: Path, run: Path, cores: str, options: list[str]) -> Start:
    """Start a server and wait until it is ready.

    Args:
        source: folder of the package `sottovoce`.
        run: folder.
        cores: as taskset has them.
        options: of `sottovoce serve`.
    """
    threads = str(len(cores.split(",")))
    command = [
        *("taskset", "-c", cores, sys.executable, "-m", "sottovoce", "serve", str(run), "--port", "0"),
        *("--threads", threads, *options),
    ]
    with tempfile.NamedTemporaryFile("w+") as log:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, stderr=log, env={**os.environ, "PYTHONPATH": str(source), "COLUMNS": "200"}
        )
        try:
            url = wait_for_address(Path(log.name))
            httpx.get(f"{url}/readyz").raise_for_status()
            seconds = time.perf_counter() - started
            (worker,) = children(process.pid)
            return Start(until_ready=seconds, server_cpu=cpu_s(process.pid), worker_cpu=cpu_s(worker))
        finally:
            process.terminate()
            process.wait()


def wait_for_address(log: Path) -> str:
    """Return the address that a server prints when its model is loaded."""
    end_s = time.monotonic() + WAIT_S
    while (match := ADDRESS.search(log.read_text())) is None:
        if time.monotonic() > end_s:
            raise RuntimeError(f"the server does not start: {log.read_text()}")
        time.sleep(0.005)
    return match[1]


def children(pid: int) -> list[int]:
    """Return the processes that a process started."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def cpu_s(pid: int) -> float:
    """Return the seconds of a processor that a process took."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / TICKS


def main() -> None:
    """Measure, and print a line for each checkout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--cores", default="0,1")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--than", type=Path, help="src of another checkout")
    given, options = parser.parse_known_args()
    sources = [Path("src").resolve(), *([given.than.resolve()] if given.than else [])]
    found: dict[Path, list[Start]] = {source: [] for source in sources}
    for number in range(given.rounds + 1):
        for source in sources:
            start = measure(source, given.run, given.cores, options)
            if number:  # the first round reads files into memory
                found[source].append(start)
    for source, starts in found.items():
        seconds = [start.until_ready for start in starts]
        print(
            f"{source}: ready after {statistics.median(seconds):.2f} s (median of {len(starts)}, {min(seconds):.2f} at least); "
            f"of a processor, the server takes {statistics.median(start.server_cpu for start in starts):.2f} s and "
            f"the worker {statistics.median(start.worker_cpu for start in starts):.2f} s"
        )


if __name__ == "__main__":
    main()
