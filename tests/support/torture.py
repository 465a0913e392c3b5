"""Commands that are killed, starved and interrupted: how they are started, and what must be left of them."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from sottovoce.benchmark.schema.results import read_results
from sottovoce.storage.artifacts import MANIFEST_NAME, is_artifact, list_files, sha256_of_file

TIMEOUT_S = 3600.0

POLL_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended.

    Attributes:
        code: exit code; below zero the signal that killed it.
        err: text on standard error.
        seconds: from its start, or from the signal that it was sent, to its end.
        address_space_bytes: largest that was seen.
    """

    code: int
    err: str
    seconds: float
    address_space_bytes: int = 0

    @property
    def errors(self) -> list[str]:
        """Return the lines of errors."""
        return [line for line in self.err.splitlines() if line.startswith("error: ")]

    @property
    def is_plain_error(self) -> bool:
        """Return whether it failed with one line and the exit code of an error."""
        return self.code == 1 and len(self.errors) == 1 and "Traceback" not in self.err


def model_files(run: Path) -> Mapping[str, str]:
    """Return the hashes of a run's files, of all variants and of the recorded sequences; manifests contain times."""
    return {
        f"{folder.name}/{entry.path}": entry.sha256
        for folder in sorted(run.iterdir())
        if is_artifact(folder)
        for entry in list_files(folder)
        if Path(entry.path).name != MANIFEST_NAME
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A command with one output.

    Attributes:
        arguments: of `sottovoce`, without the output.
        result: returns the content of an output in a comparable form.
    """

    arguments: tuple[str, ...]
    result: Callable[[Path], Mapping[str, str]] = model_files

    def start(self, out: Path, err: Path, *, under: Sequence[str] = ()) -> "subprocess.Popen[bytes]":
        """Start the command in a process group of its own.

        Args:
            out: its output.
            err: file for standard error.
            under: a command that limits what it starts.
        """
        with err.open("wb") as stderr:
            return subprocess.Popen(
                [*under, sys.executable, "-m", "sottovoce", *self.arguments, "--out", str(out)],
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
                env={**os.environ, "SOTTOVOCE_HISTORY": ""},
            )

    def run(self, out: Path, *, under: Sequence[str] = ()) -> Ended:
        """Run the command to its end."""
        with TemporaryDirectory() as folder:  # not beside the output, whose disk may be full
            err = Path(folder) / "err"
            started, peak = time.monotonic(), 0
            process = self.start(out, err, under=under)
            while process.poll() is None:
                with suppress(psutil.NoSuchProcess):
                    peak = max(peak, psutil.Process(process.pid).memory_info().vms)
                if time.monotonic() - started > TIMEOUT_S:
                    process.kill()
                time.sleep(POLL_S)
            return _ended(process, err, time.monotonic() - started, peak)

    def stop(self, out: Path, after_s: float, number: signal.Signals) -> Ended | None:
        """Start the command, send it a signal, and wait for its end.

        Returns:
            How it ended, and how long that took after the signal; None where it had ended before.
        """
        with TemporaryDirectory() as folder:
            err = Path(folder) / "err"
            process = self.start(out, err)
            with suppress(subprocess.TimeoutExpired):
                process.wait(after_s)
                return None
            children = psutil.Process(process.pid).children(recursive=True)
            sent = time.monotonic()
            process.send_signal(number)
            process.wait(TIMEOUT_S)
            seconds = time.monotonic() - sent
            _, alive = psutil.wait_procs(children, timeout=5)
            if alive:
                raise AssertionError(f"{len(alive)} child processes outlived the command")
            return _ended(process, err, seconds, 0)


def _ended(process: "subprocess.Popen[bytes]", err: Path, seconds: float, peak: int) -> Ended:
    text = err.read_text(encoding="utf-8", errors="replace")
    return Ended(code=process.returncode, err=text, seconds=seconds, address_space_bytes=peak)


def float_files(run: Path) -> Mapping[str, str]:
    """Return what a search does not decide on by times: the float variants and the record."""
    return {
        name: digest for name, digest in model_files(run).items() if name.startswith(("fp", "calibration"))
    }


def transcripts(results: Path) -> Mapping[str, str]:
    """Return the transcripts of every variant of a benchmark."""
    _, rows = read_results(results)
    return {f"{row.variant}/{row.clip_id}": row.hypothesis for row in rows}


def bundle_hash(bundle: Path) -> Mapping[str, str]:
    """Return the hash of a bundle."""
    return {"bundle": sha256_of_file(bundle)}


def left_over(out: Path) -> list[str]:
    """Name what lies in the folder of an output beside it, and hidden files within."""
    beside = [path.name for path in out.parent.iterdir() if path != out]
    inside = [path.relative_to(out).as_posix() for path in out.rglob(".*")]
    return sorted(beside + inside)


def moments(count: int, longest_s: float, *, seed: int) -> Iterator[float]:
    """Yield random moments of a command that takes so long."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    for _ in range(count):
        yield chance.uniform(0, longest_s)


def limited(address_space_bytes: int) -> Sequence[str]:
    """Return the command that limits the address space of what it starts (util-linux)."""
    return ("prlimit", f"--as={address_space_bytes}")
