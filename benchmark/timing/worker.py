"""One fresh process for each entry, so that memory, load time and threads are its own.

Nothing here imports an engine's libraries: the memory of an engine is not to hold another's.
"""

import atexit
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeVar, cast

import numpy as np

from sottovoce.benchmark.engines.engine import (
    Batching,
    Detail,
    Detailing,
    Engine,
    EngineSpec,
    MakeEngine,
    Probe,
    Probing,
    Timed,
)
from sottovoce.benchmark.engines.registry import make_engine
from sottovoce.benchmark.schema.results import Precision
from sottovoce.benchmark.timing.cold import ColdRequest, one_line
from sottovoce.errors import StageError
from sottovoce.machine.resources import peak_rss_bytes
from sottovoce.runtime.audio.decode import Wave
from sottovoce.speech.loading import LoadedClip

STOP_TIMEOUT_S = 10.0

COLD_COMMAND = (sys.executable, "-P", "-c", "from sottovoce.benchmark.timing.cold import main; main()")
"""Not `-m`: what the request is made of would be imported twice then."""

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What loading a variant took, and what it computes in."""

    load_s: float
    precision: Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdRun:
    """What the first transcript of a fresh process took.

    Attributes:
        seconds: from starting the process to having the transcript.
        peak_rss_bytes: largest resident set of the process.
        text: the transcript.
    """

    seconds: float
    peak_rss_bytes: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready:
    load_s: float


class _Question(StrEnum):
    PEAK = "peak"
    PRECISION = "precision"
    TELLS_DETAILS = "tells_details"
    PROBE = "probe"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Transcribe:
    wave: Wave
    language: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _TellDetail:
    wave: Wave
    language: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _TranscribeBatch:
    waves: tuple[Wave, ...]
    languages: tuple[str | None, ...]
    batch_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failure:
    message: str
    is_fatal: bool


class ClipError(Exception):
    """An engine failed on one clip; the others go on."""


class Worker:
    """A process that runs one engine; only one worker is asked at a time."""

    def __init__(self, spec: EngineSpec, make: MakeEngine = make_engine) -> None:
        self.spec = spec
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, spec, make), daemon=True)
        self._process.start()
        theirs.close()

    def load(self) -> Loaded:
        """Wait until the variant is loaded, and ask what it computes in.

        Raises:
            StageError: it cannot be loaded, or the process died.
        """
        load_s = self.wait_until_loaded()
        self._send(_Question.PRECISION)
        return Loaded(load_s=load_s, precision=self._expect(Precision))

    def wait_until_loaded(self) -> float:
        """Return the seconds that loading took, imports not counted.

        Raises:
            StageError: it cannot be loaded, or the process died.
        """
        return self._expect(_Ready).load_s

    def transcribe(self, wave: Wave, language: str | None) -> Timed:
        """Transcribe a clip in the process.

        Raises:
            ClipError: the engine failed on this clip.
            StageError: the process died.
        """
        self._send(_Transcribe(wave=wave, language=language))
        return self._expect(Timed)

    @property
    def pid(self) -> int:
        """The number of the process."""
        return cast("int", self._process.pid)

    def transcribe_batch(self, clips: Sequence[LoadedClip], batch_size: int) -> float:
        """Transcribe clips in batches in the process; return the seconds that it took there.

        Raises:
            StageError: the engine failed, or the process died.
        """
        self._send(
            _TranscribeBatch(
                waves=tuple(clip.wave for clip in clips),
                languages=tuple(clip.clip.language for clip in clips),
                batch_size=batch_size,
            )
        )
        return self._expect(float)

    def tells_details(self) -> bool:
        """Ask whether the engine tells tokens, words and languages."""
        self._send(_Question.TELLS_DETAILS)
        return self._expect(bool)

    def detail(self, wave: Wave, language: str | None) -> Detail:
        """Transcribe a clip in the process, and tell more of it than its text.

        Raises:
            ClipError: the engine failed on this clip.
            StageError: the process died.
        """
        self._send(_TellDetail(wave=wave, language=language))
        return self._expect(Detail)

    def peak_rss_bytes(self) -> int:
        """Ask the process for its largest resident set so far."""
        self._send(_Question.PEAK)
        return self._expect(int)

    def probe(self) -> Probe | None:
        """Let the process time the engine's parts alone; None where the engine cannot."""
        self._send(_Question.PROBE)
        answer = self._receive()
        return answer if isinstance(answer, Probe) else None

    def close(self) -> None:
        """End the process."""
        with suppress(OSError):
            self._ours.send(None)
        self._process.join(STOP_TIMEOUT_S)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()
        self._ours.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._process.terminate()
        self.close()

    def _expect(self, kind: type[_Answer]) -> _Answer:
        answer = self._receive()
        if not isinstance(answer, kind):
            raise StageError(f"{self.spec.name}: unexpected answer {answer!r}")
        return answer

    def _send(self, question: object) -> None:
        try:
            self._ours.send(question)
        except OSError as cause:
            raise self._died() from cause

    def _died(self) -> StageError:
        self._process.join(STOP_TIMEOUT_S)
        return _ended(self.spec, self._process.exitcode)

    def _receive(self) -> object:
        try:
            answer = self._ours.recv()
        except (EOFError, OSError) as cause:
            raise self._died() from cause
        if isinstance(answer, _Failure):
            raise _failed(self.spec, answer)
        return answer


def start_cold(spec: EngineSpec, wave: Wave, language: str | None, make: MakeEngine = make_engine) -> ColdRun:
    """Time a fresh process from its start to its first transcript: imports, loading and the work.

    The first process of an engine is not counted: it writes the bytecode of the libraries, which an installer or
    the first use leaves on a user's machine, and fetches files from the disk.

    Args:
        spec: the entry.
        wave: float32, shape (n_samples,), 16 kHz.
        language: code; None detects it.
        make: makes the engine, where it is none of the registry's.

    Raises:
        StageError: it cannot be loaded, or the process died.
        ClipError: the engine failed on the clip.
    """
    bytecode = _bytecode_folder() / spec.engine
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.npy"
        np.save(clip, wave)
        own_make = None if make is make_engine else make
        request = ColdRequest(spec=spec, clip=clip, language=language, make=own_make)
        if not bytecode.is_dir():
            _run_cold(request, bytecode)
        return _run_cold(request, bytecode)


@cache
def _bytecode_folder() -> Path:
    """Make the folder that holds the bytecode of this process's cold starts, until it ends."""
    folder = Path(tempfile.mkdtemp(prefix="sottovoce-bytecode-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _run_cold(request: ColdRequest, bytecode: Path) -> ColdRun:
    asked = request.clip.with_name("request.json")
    asked.write_text(request.to_json(), encoding="utf-8")
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    with (
        asked.open("rb") as stdin,
        subprocess.Popen(
            COLD_COMMAND,
            stdin=stdin,
            stdout=subprocess.PIPE,
            env=inherited | {"PYTHONPYCACHEPREFIX": str(bytecode)},
        ) as process,
    ):
        try:
            line = cast("IO[bytes]", process.stdout).readline()
            seconds = time.perf_counter() - started
            if not line:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(STOP_TIMEOUT_S)
        finally:
            process.kill()
    if not line:
        raise _ended(request.spec, process.returncode)
    return _cold_run(request.spec, json.loads(line), seconds)


def _cold_run(spec: EngineSpec, answer: dict[str, Any], seconds: float) -> ColdRun:
    if "error" in answer:
        raise _failed(spec, _Failure(message=answer["error"], is_fatal=answer["is_fatal"]))
    return ColdRun(seconds=seconds, peak_rss_bytes=answer["peak_rss_bytes"], text=answer["text"])


def _ended(spec: EngineSpec, exit_code: int | None) -> StageError:
    return StageError(
        f"the process of {spec.name} ended unexpectedly (exit code {exit_code}; -9 means too little memory)"
    )


def _failed(spec: EngineSpec, failure: _Failure) -> StageError | ClipError:
    if failure.is_fatal:
        return StageError(f"{spec.name}: {failure.message}")
    return ClipError(failure.message)


def _serve(connection: Connection, spec: EngineSpec, make: MakeEngine) -> None:
    """Run in the process: load, then answer until told to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C ends
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, ConnectionError):  # the parent was killed: nobody is left to tell
        _converse(connection, spec, make)


def _converse(connection: Connection, spec: EngineSpec, make: MakeEngine) -> None:
    try:
        engine, ready = _load(spec, make)
    except Exception as cause:  # noqa: BLE001 - the edge of the process: reported to the parent
        connection.send(_Failure(message=one_line(cause), is_fatal=True))
        return
    connection.send(ready)
    while (request := connection.recv()) is not None:
        connection.send(_answer(engine, request))


def _end_with_parent() -> None:
    """End this process, whatever it is doing, when its parent was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _load(spec: EngineSpec, make: MakeEngine) -> tuple[Engine, _Ready]:
    """Load the engine; the import of its libraries is not part of the load time."""
    load = make(spec)
    started = time.perf_counter()
    engine = load()
    return engine, _Ready(load_s=time.perf_counter() - started)


def _answer(engine: Engine, request: object) -> object:
    try:
        return _do(engine, request)
    except Exception as cause:  # noqa: BLE001 - the edge of the process; a clip that failed is kept as failed
        return _Failure(message=one_line(cause), is_fatal=not isinstance(request, _Transcribe | _TellDetail))


def _do(engine: Engine, request: object) -> object:
    match request:
        case _Transcribe(wave=wave, language=language):
            return engine.transcribe(wave, language)
        case _TellDetail(wave=wave, language=language):
            return cast("Detailing", engine).detail(wave, language)
        case _TranscribeBatch(waves=waves, languages=languages, batch_size=batch_size):
            return cast("Batching", engine).transcribe_batch(waves, languages, batch_size)
        case _:
            return _tell(engine, cast("_Question", request))


def _tell(engine: Engine, question: _Question) -> object:
    match question:
        case _Question.TELLS_DETAILS:
            return isinstance(engine, Detailing)
        case _Question.PRECISION:
            return engine.precision()
        case _Question.PROBE:
            return engine.probe() if isinstance(engine, Probing) else None
        case _Question.PEAK:
            return peak_rss_bytes()
