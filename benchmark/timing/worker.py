"""One fresh process for each entry, so that memory, load time and threads are its own.

Nothing here imports an engine's libraries: they would count in the memory of every engine.
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
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeVar, cast

import numpy as np

from sottovoce.benchmark.engines.engine import (
    Engine,
    EngineSpec,
    MakeEngine,
    Probe,
    SupportsDetail,
    SupportsProbe,
)
from sottovoce.benchmark.engines.registry import find_engine
from sottovoce.benchmark.engines.transcription import DetailedTranscript, TimedTranscript
from sottovoce.benchmark.schema.precision import Precision
from sottovoce.benchmark.timing.cold import ColdRequest, one_line
from sottovoce.errors import StageError
from sottovoce.machine.resources import peak_rss_bytes
from sottovoce.runtime.audio.decode import Wave
from sottovoce.speech.loading import LoadedClip

STOP_TIMEOUT_S = 10.0

COLD_COMMAND = (sys.executable, "-P", "-c", "from sottovoce.benchmark.timing.cold import main; main()")
"""Not `-m`, which would import the module of `ColdRequest` twice."""

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The load time of a variant, and its precision."""

    load_s: float
    precision: Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdRun:
    """The first transcript of a fresh process.

    Attributes:
        seconds: from starting the process to receiving the transcript.
        peak_rss_bytes: largest resident set of the process.
    """

    seconds: float
    peak_rss_bytes: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready:
    load_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """A call of one of the engine's methods, or of a function of `_ANSWERS`."""

    method: str
    arguments: tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failure:
    message: str
    is_fatal: bool


class ClipError(Exception):
    """An engine failed on one clip; the others go on."""


class Worker:
    """A process that runs one engine; only one worker works at a time.

    Each method raises StageError where the process died or the engine failed, and ClipError where the engine failed on
    a clip.
    """

    def __init__(self, spec: EngineSpec, make: MakeEngine | None = None) -> None:
        self.spec = spec
        make = make or find_engine(spec.engine).open
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, spec, make), daemon=True)
        self._process.start()
        theirs.close()

    def load(self) -> Loaded:
        """Wait until the variant is loaded, and read its precision back."""
        load_s = self.wait_until_loaded()
        return Loaded(load_s=load_s, precision=self._call(Precision, "precision"))

    def wait_until_loaded(self) -> float:
        """Return the seconds that loading took, without imports."""
        return self._receive(_Ready).load_s

    def transcribe(self, wave: Wave, language: str | None) -> TimedTranscript:
        """Transcribe a clip in the process."""
        return self._call(TimedTranscript, "transcribe", wave, language)

    @property
    def pid(self) -> int:
        """The number of the process."""
        return cast("int", self._process.pid)

    def transcribe_batch(self, clips: Sequence[LoadedClip], batch_size: int) -> float:
        """Transcribe clips in batches in the process; return the seconds that it took there."""
        waves = tuple(clip.wave for clip in clips)
        languages = tuple(clip.clip.language for clip in clips)
        return self._call(float, "transcribe_batch", waves, languages, batch_size)

    def supports_detail(self) -> bool:
        """Whether the engine returns tokens, words and languages."""
        return self._call(bool, "supports_detail")

    def detail(self, wave: Wave, language: str | None) -> DetailedTranscript:
        """Transcribe a clip in the process, with its tokens, words and language."""
        return self._call(DetailedTranscript, "detail", wave, language)

    def peak_rss_bytes(self) -> int:
        """Return the largest resident set of the process so far."""
        return self._call(int, "peak_rss_bytes")

    def probe(self) -> Probe | None:
        """Time the engine's parts alone; None where the engine cannot."""
        probe = self._call(object, "probe")
        return probe if isinstance(probe, Probe) else None

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

    def _call(self, kind: type[_Answer], method: str, *arguments: object) -> _Answer:
        try:
            self._ours.send(_Call(method=method, arguments=arguments))
        except OSError as cause:
            raise self._died() from cause
        return self._receive(kind)

    def _receive(self, kind: type[_Answer]) -> _Answer:
        try:
            answer = self._ours.recv()
        except (EOFError, OSError) as cause:
            raise self._died() from cause
        if isinstance(answer, _Failure):
            raise _failed(self.spec, answer)
        if not isinstance(answer, kind):
            raise StageError(f"{self.spec.name}: unexpected answer {answer!r}")
        return answer

    def _died(self) -> StageError:
        self._process.join(STOP_TIMEOUT_S)
        return _ended(self.spec, self._process.exitcode)


def start_cold(spec: EngineSpec, wave: Wave, language: str | None, make: MakeEngine | None = None) -> ColdRun:
    """Time a fresh process from its start to its first transcript: imports, loading and the transcription.

    The first process of an engine is not counted: it writes the bytecode of the libraries, which an installer or
    the first use leaves on a user's machine, and reads files from the disk into its cache.

    Args:
        spec: the entry.
        wave: float32, shape (n_samples,), 16 kHz.
        language: code; None detects it.
        make: takes the place of the registry's engine.

    Raises:
        StageError: it cannot be loaded, or the process died.
        ClipError: the engine failed on the clip.
    """
    bytecode = _bytecode_folder() / spec.engine
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.npy"
        np.save(clip, wave)
        engine = make or find_engine(spec.engine)
        request = ColdRequest(spec=spec, clip=clip, language=language, engine=engine)
        if not bytecode.is_dir():
            _run_cold(request, bytecode)
        return _run_cold(request, bytecode)


@cache
def _bytecode_folder() -> Path:
    """Make the folder for the bytecode of cold starts; it is removed when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="sottovoce-bytecode-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _run_cold(request: ColdRequest, bytecode: Path) -> ColdRun:
    request_file = request.clip.with_name("request.json")
    request_file.write_text(request.to_json(), encoding="utf-8")
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    with (
        request_file.open("rb") as stdin,
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
    """Run in the process: load, then answer until the parent sends None."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C ends
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, ConnectionError):  # the parent was killed
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
    """End this process as soon as its parent is killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _load(spec: EngineSpec, make: MakeEngine) -> tuple[Engine, _Ready]:
    """Load the engine; importing its libraries is not part of the load time."""
    load = make(spec)
    started = time.perf_counter()
    engine = load()
    return engine, _Ready(load_s=time.perf_counter() - started)


def _answer(engine: Engine, call: _Call) -> object:
    try:
        answer = _ANSWERS.get(call.method)
        return getattr(engine, call.method)(*call.arguments) if answer is None else answer(engine)
    except Exception as cause:  # noqa: BLE001 - the edge of the process; a clip that failed is kept as failed
        return _Failure(message=one_line(cause), is_fatal=call.method not in {"transcribe", "detail"})


_ANSWERS: dict[str, Callable[[Engine], object]] = {
    "peak_rss_bytes": lambda _: peak_rss_bytes(),
    "probe": lambda engine: engine.probe() if isinstance(engine, SupportsProbe) else None,
    "supports_detail": lambda engine: isinstance(engine, SupportsDetail),
}
"""Calls that any engine answers."""
