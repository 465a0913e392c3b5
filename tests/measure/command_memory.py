"""Memory of a command and of all processes that it starts, by what it does at the time.

    python tests/measure/command_memory.py optimize CHECKPOINT --recipe int8-fast --data SPEECH --out runs/small

The arguments are those of `sottovoce`. Twice a second the proportional set sizes (PSS) of all its processes are added up, and the part of
them that is anonymous: what a machine must have, since the kernel can drop pages of files. A line of the command's own output names
what it does; seconds of CPU are those of its processes.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

INTERVAL_S = 0.5
GIB = 1 << 30


@dataclass(slots=True)
class Stage:
    """The most memory while a line of output was the last one, and the time that it was."""

    label: str
    started_s: float
    started_cpu_s: float
    resident_bytes: int = 0
    anonymous_bytes: int = 0


@dataclass(slots=True)
class Watch:
    """Stages of a command, the last one open."""

    stages: list[Stage] = field(default_factory=list)
    cpu_s: float = 0.0

    def begin(self, label: str) -> None:
        self.stages.append(Stage(label, time.monotonic(), self.cpu_s))


def main() -> int:
    """Run the command, and print its stages and the peak."""
    watch = Watch()
    watch.begin("start")
    command = [sys.executable, "-m", "sottovoce", *sys.argv[1:]]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        reader = threading.Thread(target=follow, args=(process.stderr, watch))
        reader.start()
        while process.poll() is None:
            sample(psutil.Process(process.pid), watch)
            time.sleep(INTERVAL_S)
        reader.join()
    watch.begin("end")
    for stage, following in zip(watch.stages, watch.stages[1:], strict=False):
        seconds, cpu_s = following.started_s - stage.started_s, following.started_cpu_s - stage.started_cpu_s
        print(
            f"{stage.anonymous_bytes / GIB:5.2f} GiB anonymous, {stage.resident_bytes / GIB:5.2f} with files, "
            f"{seconds:6.1f} s, {cpu_s:6.1f} s of CPU: {stage.label}"
        )
    anonymous = max(stage.anonymous_bytes for stage in watch.stages)
    resident = max(stage.resident_bytes for stage in watch.stages)
    print(f"peak {anonymous / GIB:.2f} GiB anonymous, {resident / GIB:.2f} with files")
    return process.returncode


def follow(lines: Iterable[str], watch: Watch) -> None:
    for line in lines:
        sys.stderr.write(line)
        watch.begin(line.strip()[:80])


def sample(root: psutil.Process, watch: Watch) -> None:
    """Add the memory of a process and its children to the open stage."""
    resident = anonymous = 0
    cpu_s = 0.0
    try:
        processes = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in processes:
        try:
            sizes = proportional(process.pid)
            times = process.cpu_times()
        except (OSError, psutil.Error):
            continue
        resident, anonymous = resident + sizes["Pss"], anonymous + sizes["Pss_Anon"]
        cpu_s += times.user + times.system + times.children_user + times.children_system
    stage = watch.stages[-1]
    stage.resident_bytes = max(stage.resident_bytes, resident)
    stage.anonymous_bytes = max(stage.anonymous_bytes, anonymous)
    watch.cpu_s = max(watch.cpu_s, cpu_s)


def proportional(pid: int) -> dict[str, int]:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()[1:]
    rows = (line.split() for line in lines)
    return {name.rstrip(":"): int(kib) * 1024 for name, kib, *_ in rows}


if __name__ == "__main__":
    sys.exit(main())
