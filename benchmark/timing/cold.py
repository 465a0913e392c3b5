"""A fresh process, from its start to the first transcript, with nothing in it that its engine does not need.

`start_cold` in `worker.py` starts it and takes the time. Here is what runs inside: no pydantic and nothing of the
benchmark that brings it, so that what is timed is what a user of an engine waits for.
"""

import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any, TextIO, cast

from sottovoce.benchmark.engines.engine import EngineSpec, MakeEngine
from sottovoce.errors import SottovoceError
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ, WINDOW_S
from sottovoce.runtime.model.compute import ComputeSpec

if TYPE_CHECKING:
    from sottovoce.runtime.audio.decode import Wave

STDOUT, STDERR = 1, 2

Hear = Callable[["Wave", str | None], str]
"""Transcribes a wave, float32, shape (n_samples,), 16 kHz, in a language or one to detect."""

Answer = dict[str, str | int | bool]
"""What the process tells, as a line of JSON: `text` and `peak_rss_bytes`, or `error` and `is_fatal`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdRequest:
    """What the process is asked, as JSON through its standard input.

    Attributes:
        spec: the entry.
        clip: float32 samples as `.npy`.
        language: code; None where nobody knows.
        make: makes an engine that is not one of `OPENERS`: a function of a module, or a dataclass of simple values.
    """

    spec: EngineSpec
    clip: Path
    language: str | None
    make: MakeEngine | None = None

    def to_json(self) -> str:
        """Write the request; `from_json` reads it."""
        told = {
            "spec": asdict(self.spec),
            "clip": self.clip,
            "language": self.language,
            "make": None if self.make is None else _told_make(self.make),
        }
        return json.dumps(told, default=_simple)

    @classmethod
    def from_json(cls, text: str) -> "ColdRequest":
        """Read a request."""
        told = json.loads(text)
        spec, make = told["spec"], told["make"]
        return cls(
            spec=EngineSpec(
                engine=spec["engine"],
                variant=spec["variant"],
                folder=Path(spec["folder"]),
                compute=ComputeSpec.from_simple(spec["compute"]),
                is_again=spec["is_again"],
            ),
            clip=Path(told["clip"]),
            language=told["language"],
            make=None if make is None else _make(make),
        )


def _told_make(make: MakeEngine) -> dict[str, Any]:
    """Say where the maker of an engine is defined, and of what values it is made."""
    home = make if isinstance(make, FunctionType) else type(make)
    values = None if isinstance(make, FunctionType) else asdict(cast("Any", make))
    return {"module": home.__module__, "name": home.__qualname__, "values": values}


def _make(told: dict[str, Any]) -> MakeEngine:
    found = getattr(import_module(told["module"]), told["name"])
    return cast("MakeEngine", found if told["values"] is None else found(**told["values"]))


def _simple(value: object) -> object:
    """Return what JSON can say of a value."""
    return sorted(value) if isinstance(value, frozenset) else str(value)


def main() -> None:
    """Answer the request on standard input with one line on standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C ends
    with _own_stdout() as answers:
        request = ColdRequest.from_json(sys.stdin.read())
        answers.write(json.dumps(_answer(request)) + "\n")


def one_line(cause: Exception) -> str:
    """Tell an error in one line; one that is not ours with its type."""
    told = " ".join(str(cause).split()) or type(cause).__name__
    return told if isinstance(cause, SottovoceError) else f"{type(cause).__name__}: {told}"


def _own_stdout() -> TextIO:
    """Take standard output for the answer; what libraries print goes to standard error."""
    ours = os.fdopen(os.dup(STDOUT), "w", encoding="utf-8")
    os.dup2(STDERR, STDOUT)
    return ours


def _answer(request: ColdRequest) -> Answer:
    try:
        hear = _open(request)
    except Exception as cause:  # noqa: BLE001 - the edge of the process: reported to the parent
        return {"error": one_line(cause), "is_fatal": True}
    try:
        import numpy as np

        text = hear(np.load(request.clip, allow_pickle=False), request.language)
    except Exception as cause:  # noqa: BLE001 - the same
        return {"error": one_line(cause), "is_fatal": False}
    return {"text": text, "peak_rss_bytes": _peak_rss_bytes()}


def _open(request: ColdRequest) -> Hear:
    if request.make is None:
        return OPENERS[request.spec.engine](request.spec)
    engine = request.make(request.spec)()
    return lambda wave, language: engine.transcribe(wave, language).text


def _open_sottovoce(spec: EngineSpec) -> Hear:
    from sottovoce.runtime import TranscribeOptions, load

    transcriber = load(spec.folder, compute=spec.compute)

    def hear(wave: "Wave", language: str | None) -> str:
        known = language if language in transcriber.languages else None
        options = TranscribeOptions(language=known, without_timestamps=True, temperature=0.0)
        return transcriber.transcribe(wave, options).text

    return hear


def _open_optimum_intel(spec: EngineSpec) -> Hear:
    from sottovoce.reference_pipeline import OptimumPipeline, one_torch_thread

    variant = OptimumPipeline.load(spec.folder, spec.compute)

    def hear(wave: "Wave", language: str | None) -> str:
        with one_torch_thread():
            return variant.transcribe(wave, language if language in variant.languages else None).text

    return hear


def _open_openvino_genai(spec: EngineSpec) -> Hear:
    import openvino_genai

    pipeline = openvino_genai.WhisperPipeline(str(spec.folder), "CPU", **spec.compute.properties())
    config = pipeline.get_generation_config()

    def hear(wave: "Wave", language: str | None) -> str:
        token = f"<|{language}|>"
        asked = {"task": "transcribe"} if config.is_multilingual else {}
        if config.is_multilingual and token in config.lang_to_id:
            asked |= {"language": token}
        is_long = len(wave) > WINDOW_S * SAMPLE_RATE_HZ
        result = pipeline.generate(wave, return_timestamps=is_long, num_beams=1, do_sample=False, **asked)
        return str(result.texts[0]).strip()

    return hear


def _open_faster_whisper(spec: EngineSpec, *, is_batched: bool = False) -> Hear:
    import ctranslate2
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    ctranslate2.set_log_level(logging.ERROR)  # it warns of types that the CPU has no kernels for
    model = WhisperModel(
        str(spec.folder), device="cpu", compute_type="default", cpu_threads=spec.compute.threads
    )

    def hear(wave: "Wave", language: str | None) -> str:
        is_long = len(wave) > WINDOW_S * SAMPLE_RATE_HZ
        greedy = {
            "language": language if language in model.supported_languages else None,
            "beam_size": 1,
            "temperature": 0.0,
            "without_timestamps": is_batched or not is_long,
            "condition_on_previous_text": False,
        }
        if is_batched:
            segments = BatchedInferencePipeline(model).transcribe(wave, batch_size=8, **greedy)[0]
        else:
            segments = model.transcribe(wave, vad_filter=False, **greedy)[0]
        return " ".join(segment.text.strip() for segment in segments)

    return hear


def _open_whisper_cpp(spec: EngineSpec) -> Hear:
    import _pywhispercpp

    from sottovoce.benchmark.engines.whisper_cpp_model import ask, open_model

    model = open_model(spec.folder, spec.compute)

    def hear(wave: "Wave", language: str | None) -> str:
        is_long = len(wave) > WINDOW_S * SAMPLE_RATE_HZ
        asked = ask(_pywhispercpp, model._ctx, language, is_long=is_long)  # noqa: SLF001 - the wrapper does not tell
        return " ".join(segment.text.strip() for segment in model.transcribe(wave, **asked))

    return hear


def _open_torch(spec: EngineSpec, *, is_dynamic: bool = False) -> Hear:
    from sottovoce.benchmark.engines.torch_model import load_model, with_processor

    model = load_model(spec.folder, spec.compute, is_dynamic=is_dynamic)
    whisper = with_processor(model, spec.folder)

    def hear(wave: "Wave", language: str | None) -> str:
        return whisper.transcribe(wave, language if language in whisper.languages else None).text

    return hear


OPENERS: Mapping[str, Callable[[EngineSpec], Hear]] = {
    "sottovoce": _open_sottovoce,
    "optimum-intel": _open_optimum_intel,
    "openvino-genai": _open_openvino_genai,
    "faster-whisper": _open_faster_whisper,
    "faster-whisper-batched": partial(_open_faster_whisper, is_batched=True),
    "whisper.cpp": _open_whisper_cpp,
    "torch": _open_torch,
    "torch-dynamic": partial(_open_torch, is_dynamic=True),
}
"""How each engine is opened as its users do, with what the benchmark asks of it (`engines/`) and nothing that times it."""


def _peak_rss_bytes() -> int:
    """Return the largest resident set of this process; as `environment.peak_rss_bytes`, which brings pydantic."""
    with suppress(OSError), Path("/proc/self/status").open(encoding="ascii") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
