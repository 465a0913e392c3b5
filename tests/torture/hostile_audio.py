"""Sixty hostile files, each transcribed in a process of its own: a transcript or one typed error, soon and in little memory.

Run it as a script. A process counts from its start, imports and loading a tiny variant included.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from sottovoce.optimize.openvino.export import TorchWhisper, export_fp32
from sottovoce.terms import Layout
from tests.support.checkpoints import tiny_checkpoint
from tests.support.hostile_audio import HOSTILE_AUDIO

WALL_LIMIT_S = 2.0
RSS_LIMIT_MB = 300
HANG_S = 60.0

SUBJECT = """
import sys
from pathlib import Path
from sottovoce.errors import SottovoceError
from sottovoce.runtime import load
try:
    transcript = load(Path(sys.argv[1])).transcribe(Path(sys.argv[2]))
    print("transcript", repr(transcript.text[:60]))
except SottovoceError as error:
    print("error", type(error).__name__, repr(str(error)))
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(peak.split()[1])
"""
"""VmHWM starts at zero in each program; the peak of `wait4` does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a process took a file."""

    message: str
    wall_s: float
    cpu_s: float
    peak_mb: float

    def is_fine(self, *, by_cpu: bool) -> bool:
        seconds = self.cpu_s if by_cpu else self.wall_s
        is_answer = self.message.startswith(("transcript", "error")) and "\n" not in self.message
        return is_answer and seconds < WALL_LIMIT_S and self.peak_mb < RSS_LIMIT_MB


def run(variant: Path, audio: Path) -> Outcome:
    before = os.times()
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", SUBJECT, variant, audio],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        output, _ = process.communicate(timeout=HANG_S)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        output = f"hangs\n{process.communicate()[0]}"
    wall_s = time.perf_counter() - started
    after = os.times()
    lines = output.splitlines()
    ended_well = process.returncode == 0 and len(lines) == 2
    return Outcome(
        message=lines[0] if ended_well else f"exit code {process.returncode}: {' '.join(lines[-1:])}",
        wall_s=wall_s,
        cpu_s=sum(after[2:4]) - sum(before[2:4]),
        peak_mb=int(lines[-1]) / 1024 if ended_well else float("inf"),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--by-cpu", action="store_true", help="on a busy machine: hold seconds of CPU to the limit"
    )
    parser.add_argument(
        "--variant", type=Path, help="a variant to transcribe with; by default a tiny one is made"
    )
    options = parser.parse_args()
    outcomes: list[Outcome] = []
    n_fine = 0
    with tempfile.TemporaryDirectory() as folder:
        variant = options.variant or Path(folder) / "variant"
        if options.variant is None:
            export_fp32(TorchWhisper(tiny_checkpoint(Path(folder) / "tiny")), Layout.STATEFUL, variant)
        for name, write in HOSTILE_AUDIO.items():
            write(Path(folder) / name)
            outcome = run(variant, Path(folder) / name)
            outcomes.append(outcome)
            is_fine = outcome.is_fine(by_cpu=options.by_cpu)
            n_fine += is_fine
            figures = f"{outcome.wall_s:5.2f} s {outcome.cpu_s:5.2f} s CPU {outcome.peak_mb:4.0f} MB"
            print(
                f"{'ok  ' if is_fine else 'FAIL'} {name:40} {figures} {outcome.message.replace(folder, '')}"
            )
    worst = max(outcome.wall_s for outcome in outcomes), max(outcome.cpu_s for outcome in outcomes)
    print(f"at most {worst[0]:.2f} s, {worst[1]:.2f} s CPU, {max(each.peak_mb for each in outcomes):.0f} MB")
    print(f"hostile audio: {n_fine} of {len(HOSTILE_AUDIO)}")
    return 0 if n_fine == len(HOSTILE_AUDIO) else 1


if __name__ == "__main__":
    sys.exit(main())
