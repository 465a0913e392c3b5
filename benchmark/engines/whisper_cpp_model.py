"""A ggml file in whisper.cpp, and what is asked of it; nothing that a cold start would wait for."""

from pathlib import Path
from typing import Any

from sottovoce.runtime.model.compute import ComputeSpec

FILE_NAME = "ggml-model.bin"

DETECT = ""
"""The language that whisper.cpp is to find out."""

N_OTHER_TOKENS = 51_766
"""Of a multilingual vocabulary: all but those of languages (`num_languages` in whisper.cpp)."""


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


def ask(library: Any, context: Any, language: str | None, *, is_long: bool) -> dict[str, Any]:
    """Return the parameters of a greedy transcription.

    Args:
        library: pywhispercpp's bindings.
        context: of the model.
        language: code; one that the model does not know is detected.
        is_long: the audio is over 30 s: without timestamps whisper.cpp could not tell where its windows end.
    """
    return {
        "language": _language(library, context, language),
        "no_timestamps": not is_long,
        "no_context": True,
        "suppress_nst": True,
        "temperature": 0.0,
        "temperature_inc": 0.0,
        "greedy": {"best_of": 1},
    }


def _language(library: Any, context: Any, language: str | None) -> str:
    """Return a language that the model knows: there are vocabularies with fewer than the library has."""
    if not library.whisper_is_multilingual(context):
        return "en"
    n_known = library.whisper_n_vocab(context) - N_OTHER_TOKENS
    return language if language is not None and 0 <= library.whisper_lang_id(language) < n_known else DETECT
