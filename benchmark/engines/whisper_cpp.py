"""The engine `whisper.cpp`, through the package pywhispercpp."""

import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sottovoce.benchmark.engines.engine import (
    ConvertingEngine,
    EngineSpec,
    Entry,
    ModelSource,
    Transcribe,
    is_long,
)
from sottovoce.benchmark.engines.transcription import TimedTranscript
from sottovoce.errors import SpecError
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.terms import Stage

if TYPE_CHECKING:
    from sottovoce.benchmark.schema.precision import Precision
    from sottovoce.runtime.audio.decode import Wave

FILE_NAME = "ggml-model.bin"

DETECT = ""
"""The language with which whisper.cpp detects one."""

N_OTHER_TOKENS = 51_766
"""Of a multilingual vocabulary: all but those of languages (`num_languages` in whisper.cpp)."""


class GgmlType(StrEnum):
    """What most matrices are stored in.

    f16: float16.
    q8_0: blocks of 32 numbers in INT8 with one float16 scale.
    """

    F16 = "f16"
    Q8_0 = "q8_0"


class WhisperCppEngine(ConvertingEngine):
    """A ggml file in whisper.cpp, greedy and without temperature fallback."""

    name = "whisper.cpp"
    help = "ggml, for the checkpoint in q8_0 or f16"
    modules = ("pywhispercpp", "gguf")
    extra = "peers"
    distributions = ("pywhispercpp",)
    default_variant = str(GgmlType.Q8_0)
    takes_long = True

    def __init__(self, folder: Path, compute: ComputeSpec) -> None:
        import _pywhispercpp as library

        self._library = library
        self._threads = compute.threads
        self._label = folder.name.rpartition("-")[2]
        self._model = _load(folder, compute)
        self._end = int(library.whisper_token_eot(self._model._ctx))  # noqa: SLF001 - the wrapper shows no tokens

    @classmethod
    def entry(cls, source: ModelSource, variant: str) -> Entry | None:
        """Choose the checkpoint converted to a ggml type."""
        types = [str(kind) for kind in GgmlType]
        if variant not in types:
            raise SpecError(f"{cls.name}:{variant}: {cls.name} is measured with {' or '.join(types)}")
        return cls._converted_entry(source, variant)

    @staticmethod
    def converter() -> str:
        """Our converter, which uses the package gguf."""
        from importlib.metadata import version

        from sottovoce.benchmark.engines.ggml_export import GGML_EXPORT

        return f"ggml-{GGML_EXPORT}-{version('gguf')}"

    @staticmethod
    def convert(checkpoint: Path, into: Path, kind: str) -> None:
        """Convert a checkpoint to a ggml file."""
        from sottovoce.benchmark.engines.ggml_export import export_ggml

        export_ggml(checkpoint, into / FILE_NAME, kind)

    @classmethod
    def import_libraries(cls, folder: Path) -> None:  # noqa: ARG003 - the same for every variant
        """Import pywhispercpp."""
        import pywhispercpp.model  # noqa: F401

    @classmethod
    def open_cold(cls, spec: EngineSpec) -> Transcribe:
        """Load a ggml file in pywhispercpp."""
        import _pywhispercpp as library

        model = _load(spec.folder, spec.compute)
        return lambda wave, language: _text(
            model.transcribe(wave, **_options(library, model, wave, language))
        )

    def transcribe(self, wave: "Wave", language: str | None) -> TimedTranscript:
        """Transcribe a wave, float32, shape (n_samples,), 16 kHz; one over 30 s with timestamps, which it needs."""
        options = _options(self._library, self._model, wave, language)
        started = time.perf_counter()
        text = _text(self._model.transcribe(wave, **options))
        latency = time.perf_counter() - started
        return TimedTranscript(
            text=text,
            n_tokens=self._count_tokens(),
            latency_s=latency,
            stage_s={Stage.OTHER: latency},
            calls={},
        )

    def _count_tokens(self) -> int:
        context: Any = self._model._ctx  # noqa: SLF001 - the wrapper shows no tokens
        full = self._library
        return sum(
            full.whisper_full_get_token_id(context, segment, index) < self._end
            for segment in range(full.whisper_full_n_segments(context))
            for index in range(full.whisper_full_n_tokens(context, segment))
        )

    def precision(self) -> "Precision":
        """Return the type of the weights; whisper.cpp shows no nodes to read back."""
        from sottovoce.benchmark.schema.precision import Precision

        return Precision(label=self._label, components={}, threads=self._threads, streams=1)


def _load(folder: Path, compute: ComputeSpec) -> Any:
    """Load a ggml file (`pywhispercpp.model.Model`)."""
    from pywhispercpp.model import Model

    return Model(
        str(folder / FILE_NAME),
        redirect_whispercpp_logs_to=None,
        n_threads=compute.threads,
        print_progress=False,
        print_realtime=False,
    )


def _options(library: Any, model: Any, wave: "Wave", language: str | None) -> dict[str, Any]:
    """Return the options of a greedy transcription; with timestamps for long audio, which end its windows."""
    return {
        "language": _language(library, model._ctx, language),  # noqa: SLF001 - the wrapper shows no languages
        "no_timestamps": not is_long(wave),
        "no_context": True,
        "suppress_nst": True,
        "temperature": 0.0,
        "temperature_inc": 0.0,
        "greedy": {"best_of": 1},
    }


def _language(library: Any, context: Any, language: str | None) -> str:
    """Return a language that the model knows: some vocabularies have fewer than the library."""
    if not library.whisper_is_multilingual(context):
        return "en"
    n_known = library.whisper_n_vocab(context) - N_OTHER_TOKENS
    return language if language is not None and 0 <= library.whisper_lang_id(language) < n_known else DETECT


def _text(segments: Any) -> str:
    return " ".join(segment.text.strip() for segment in segments)
