"""A server of a run in a process of its own, and a little speech for it."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave
from sottovoce.speech.synthetic import demo_speech
from tests.support.tones import tone

START_S = 60.0
LOG_S = 10.0
_ADDRESS = re.compile(r"listens on (http://\S+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServer:
    """A server.

    Attributes:
        url: without a path.
        process: of the server; its workers are children of it.
        log: file of its standard error.
    """

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def workers(self) -> list[int]:
        """Process ids of the workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def wait_for_log(self, text: str) -> str:
        """Wait until the log has a text; return all of it."""
        end_s = time.monotonic() + LOG_S
        while text not in (log := self.log.read_text()) and time.monotonic() < end_s:
            time.sleep(0.02)
        return log

    def stop(self, timeout_s: float = 40.0) -> int:
        """Send SIGTERM; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)


@contextmanager
def running_server(
    run: Path, folder: Path, options: Sequence[str] = (), *, threads: int = 1
) -> Iterator[RunningServer]:
    """Start a server on a free port, and stop it at the end of the block."""
    log = folder / "server.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "sottovoce",
                "serve",
                str(run),
                "--port",
                "0",
                "--threads",
                str(threads),
                *options,
            ],
            stderr=file,
            env={**os.environ, "COLUMNS": "200"},
        )
    try:
        yield RunningServer(url=_wait(process, log), process=process, log=log)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(process: subprocess.Popen[bytes], log: Path) -> str:
    end_s = time.monotonic() + START_S
    while time.monotonic() < end_s:
        if (match := _ADDRESS.search(log.read_text())) is not None:
            return match[1]
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}: {log.read_text()}")
        time.sleep(0.02)
    raise RuntimeError(f"the server does not start: {log.read_text()}")


def wav(duration_s: float = 2.0, pitch_hz: float = 440.0) -> bytes:
    """Return a tone as the bytes of a WAV file."""
    return encoded(tone(duration_s, pitch_hz=pitch_hz))


def silence(duration_s: float = 1.0) -> bytes:
    """Return digital silence as the bytes of a WAV file."""
    return encoded(np.zeros(round(duration_s * SAMPLE_RATE_HZ), np.float32))


def encoded(wave: Wave, kind: str = "WAV") -> bytes:
    """Return a wave as the bytes of a file."""
    file = io.BytesIO()
    soundfile.write(file, wave, SAMPLE_RATE_HZ, format=kind)
    return file.getvalue()


def speech(rate_hz: int) -> bytes:
    """Return a spoken sentence and two seconds of silence, as PCM."""
    manifest = demo_speech()
    first = json.loads(manifest.read_text(encoding="utf-8").splitlines()[0])
    wave, its_rate_hz = soundfile.read(manifest.parent / first["audio"], dtype="float32")
    wave = np.concatenate([soxr.resample(wave, its_rate_hz, rate_hz), np.zeros(2 * rate_hz, np.float32)])
    return pcm(wave)


def pcm(wave: Any) -> bytes:
    return bytes((np.clip(wave, -1, 1) * 32_767).astype("<i2").tobytes())
