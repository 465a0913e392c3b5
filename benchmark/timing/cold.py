"""A fresh process, from its start to the first transcript; it imports nothing that its engine does not need.

`start_cold` in `worker.py` starts the process and times it. This module runs inside, without pydantic and the rest of
the benchmark, so that the time is that of a user of the engine.
"""

import json
import os
import signal
import sys
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from types import FunctionType
from typing import Any, TextIO, cast

from sottovoce.benchmark.engines.engine import Engine, EngineSpec, MakeEngine, Transcribe
from sottovoce.errors import SottovoceError
from sottovoce.machine.resources import peak_rss_bytes
from sottovoce.runtime.model.compute import ComputeSpec

STDOUT, STDERR = 1, 2

Answer = dict[str, str | int | bool]
"""What the process prints, as a line of JSON: `text` and `peak_rss_bytes`, or `error` and `is_fatal`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdRequest:
    """What the process does, as JSON through its standard input.

    Attributes:
        spec: the entry.
        clip: float32 samples as `.npy`.
        language: code; None detects it.
        engine: the engine's class, or what makes its engine: a function of a module, or a dataclass of simple values.
    """

    spec: EngineSpec
    clip: Path
    language: str | None
    engine: type[Engine] | MakeEngine

    def to_json(self) -> str:
        """Write the request; `from_json` reads it."""
        request = {
            "spec": asdict(self.spec),
            "clip": self.clip,
            "language": self.language,
            "engine": _reference(self.engine),
        }
        return json.dumps(request, default=_simple)

    @classmethod
    def from_json(cls, text: str) -> "ColdRequest":
        """Read a request; imports the module of its engine."""
        request = json.loads(text)
        spec = request["spec"]
        return cls(
            spec=EngineSpec(
                engine=spec["engine"],
                variant=spec["variant"],
                folder=Path(spec["folder"]),
                compute=ComputeSpec.from_simple(spec["compute"]),
                is_aa_check=spec["is_aa_check"],
            ),
            clip=Path(request["clip"]),
            language=request["language"],
            engine=_resolve(request["engine"]),
        )


def _reference(engine: type[Engine] | MakeEngine) -> dict[str, Any]:
    """Name the module and the class or function, with the values of a dataclass."""
    has_values = not isinstance(engine, FunctionType | type)
    home = type(engine) if has_values else engine
    values = asdict(cast("Any", engine)) if has_values else None
    return {"module": home.__module__, "name": cast("Any", home).__qualname__, "values": values}


def _resolve(reference: dict[str, Any]) -> type[Engine] | MakeEngine:
    found = getattr(import_module(reference["module"]), reference["name"])
    values = reference["values"]
    return cast("type[Engine] | MakeEngine", found if values is None else found(**values))


def _simple(value: object) -> object:
    """Return a value that JSON can hold."""
    return sorted(value) if isinstance(value, frozenset) else str(value)


def main() -> None:
    """Answer the request on standard input with one line on standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C ends
    with _own_stdout() as answers:
        request = ColdRequest.from_json(sys.stdin.read())
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
