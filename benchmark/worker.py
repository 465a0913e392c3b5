"""One fresh process for each variant, so that memory, load time and threads are its own."""

import multiprocessing
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self

from sottovoce.benchmark.engines.engine import Engine, EngineSpec, Timed
from sottovoce.benchmark.engines.registry import make_engine
from sottovoce.benchmark.results import Precision
from sottovoce.environment import peak_rss_bytes
from sottovoce.errors import SottovoceError, StageError
from sottovoce.runtime.audio import Wave
from sottovoce.variants import quiet_libraries

STOP_TIMEOUT_S = 10.0

MakeEngine = Callable[[EngineSpec], Engine]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What loading a variant took, and what it computes in."""

    load_s: float
    precision: Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class _Transcribe:
    wave: Wave
    language: str | None


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
        """Wait until the variant is loaded.

        Raises:
            StageError: it cannot be loaded, or the process died.
        """
        answer = self._receive()
        if not isinstance(answer, Loaded):
            raise StageError(f"{self.spec.variant} in {self.spec.engine}: unexpected answer {answer!r}")
        return answer

    def transcribe(self, wave: Wave, language: str | None) -> Timed:
        """Transcribe a clip in the process.

        Raises:
            ClipError: the engine failed on this clip.
            StageError: the process died.
        """
        self._ours.send(_Transcribe(wave=wave, language=language))
        answer = self._receive()
        if not isinstance(answer, Timed):
            raise StageError(f"{self.spec.variant} in {self.spec.engine}: unexpected answer {answer!r}")
        return answer

    def peak_rss_bytes(self) -> int:
        """Ask the process for its largest resident set so far."""
        self._ours.send("peak")
        return int(str(self._receive()))

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

    def _receive(self) -> object:
        try:
            answer = self._ours.recv()
        except EOFError as cause:
            self._process.join(STOP_TIMEOUT_S)
            raise StageError(
                f"the process of {self.spec.variant} in {self.spec.engine} ended unexpectedly "
                f"(exit code {self._process.exitcode}; -9 means too little memory)"
            ) from cause
        if isinstance(answer, _Failure):
            told = f"{self.spec.variant} in {self.spec.engine}: {answer.message}"
            raise StageError(told) if answer.is_fatal else ClipError(answer.message)
        return answer


def _serve(connection: Connection, spec: EngineSpec, make: MakeEngine) -> None:
    """Run in the process: load, then answer until told to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C ends
    try:
        engine, loaded = _load(spec, make)
    except Exception as cause:  # noqa: BLE001 - the edge of the process: reported to the parent
        connection.send(_Failure(message=_one_line(cause), is_fatal=True))
        return
    connection.send(loaded)
    while (request := connection.recv()) is not None:
        connection.send(_answer(engine, request))


def _load(spec: EngineSpec, make: MakeEngine) -> tuple[Engine, Loaded]:
    """Load the engine; the import of its libraries is not part of the load time."""
    from optimum.intel import OVModelForSpeechSeq2Seq  # noqa: F401
    from transformers import WhisperProcessor  # noqa: F401

    with quiet_libraries():
        started = time.perf_counter()
        engine = make(spec)
        load_s = time.perf_counter() - started
    return engine, Loaded(load_s=load_s, precision=engine.precision())


def _answer(engine: Engine, request: object) -> object:
    if isinstance(request, _Transcribe):
        try:
            return engine.transcribe(request.wave, request.language)
        except Exception as cause:  # noqa: BLE001 - one clip failed; it is kept as failed
            return _Failure(message=_one_line(cause), is_fatal=False)
    return peak_rss_bytes()


def _one_line(cause: Exception) -> str:
    told = " ".join(str(cause).split()) or type(cause).__name__
    return told if isinstance(cause, SottovoceError) else f"{type(cause).__name__}: {told}"
