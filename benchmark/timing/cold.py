"""A fresh process, from its start to the first transcript; it imports nothing that its engine does not need.

`start_cold` in `worker.py` starts the process and times it. This module runs inside, without pydantic and the rest of
the benchmark, so that the time is that of a user of the engine.
"""

import json
import os
import pickle
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO, cast

from sottovoce.benchmark.engines.engine import Engine, EngineSpec, MakeEngine, Transcribe
from sottovoce.errors import SottovoceError
from sottovoce.machine.resources import peak_rss_bytes

STDOUT, STDERR = 1, 2

Answer = dict[str, str | int | bool]
"""What the process prints, as a line of JSON: `text` and `peak_rss_bytes`, or `error` and `is_fatal`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdRequest:
    """What the process does; it reads it with pickle from its standard input, which imports the engine's module.

    Attributes:
        spec: the entry.
        clip: float32 samples as `.npy`.
        language: code; None detects it.
        engine: the engine's class, or what takes its place.
    """

    spec: EngineSpec
    clip: Path
    language: str | None
    engine: type[Engine] | MakeEngine


def main() -> None:
    """Answer the request on standard input with one line on standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C ends
    with _own_stdout() as answers:
        request = pickle.load(sys.stdin.buffer)  # noqa: S301 - written by the parent
        answers.write(json.dumps(_answer(request)) + "\n")


def one_line(cause: Exception) -> str:
    """Write an error in one line; one that is not ours with its type."""
    text = " ".join(str(cause).split()) or type(cause).__name__
    return text if isinstance(cause, SottovoceError) else f"{type(cause).__name__}: {text}"


def _own_stdout() -> TextIO:
    """Reserve standard output for the answer; what libraries print goes to standard error."""
    ours = os.fdopen(os.dup(STDOUT), "w", encoding="utf-8")
    os.dup2(STDERR, STDOUT)
    return ours


def _answer(request: ColdRequest) -> Answer:
    try:
        transcribe = _open(request)
    except Exception as cause:  # noqa: BLE001 - the edge of the process: reported to the parent
        return {"error": one_line(cause), "is_fatal": True}
    try:
        import numpy as np

        text = transcribe(np.load(request.clip, allow_pickle=False), request.language)
    except Exception as cause:  # noqa: BLE001 - the same
        return {"error": one_line(cause), "is_fatal": False}
    return {"text": text, "peak_rss_bytes": peak_rss_bytes()}


def _open(request: ColdRequest) -> Transcribe:
    if isinstance(request.engine, type) and issubclass(request.engine, Engine):
        return request.engine.open_cold(request.spec)
    engine = cast("MakeEngine", request.engine)(request.spec)()
    return lambda wave, language: engine.transcribe(wave, language).text
