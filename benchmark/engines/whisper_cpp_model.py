"""A ggml file in whisper.cpp, and what is asked of it; nothing that a cold start would wait for."""

from pathlib import Path
from typing import Any

from sottovoce.runtime.compute import ComputeSpec

FILE_NAME = "ggml-model.bin"

DETECT = ""


def open_model(folder: Path, compute: ComputeSpec) -> Any:
    """Load a ggml file."""
    from pywhispercpp.model import Model

    return Model(
        str(folder / FILE_NAME),
        redirect_whispercpp_logs_to=None,
        n_threads=compute.threads,
        print_progress=False,
        print_realtime=False,
    )


def ask(library: Any, language: str | None, *, is_multilingual: bool, is_long: bool) -> dict[str, Any]:
    """Return the parameters of a greedy transcription.

    Args:
        library: pywhispercpp's bindings.
        language: code; one that whisper.cpp does not know is detected.
        is_multilingual: the model knows more than English.
        is_long: the audio is over 30 s: without timestamps whisper.cpp could not tell where its windows end.
    """
    is_known = language is not None and library.whisper_lang_id(language) >= 0
    return {
        "language": (language if is_known else DETECT) if is_multilingual else "en",
        "no_timestamps": not is_long,
        "no_context": True,
        "temperature": 0.0,
        "temperature_inc": 0.0,
        "greedy": {"best_of": 1},
    }
