"""Find the folder that a program's name of a model means, and the variant in it that fits its compute type."""

import logging
import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sottovoce.errors import InputError, SpecError
from sottovoce.progress import Advance, no_advance
from sottovoce.runtime.model.variant import find_variant, read_variant_manifest

MODELS_VARIABLE = "SOTTOVOCE_MODELS"
"""Names the folder that holds a folder for each model."""

_CONVERTED = re.compile(r"[\w.-]+/faster-(distil-)?whisper-(?P<size>[\w.-]+?)(-int8)?")
"""Hub ids of models that were converted for faster-whisper."""

_ALIASES = {"turbo": "large-v3-turbo"}

AS_STORED = ("default", "auto")

INT8 = "int8"

KINDS = {
    INT8: INT8,
    "int8_float32": INT8,
    "int8_float16": INT8,
    "int8_bfloat16": INT8,
    "float32": "float32",
    "float16": "float16",
}
"""CTranslate2's compute types, as kinds of variants."""

_WEIGHTS = {"fp32": "float32", "fp16": "float16"}

logger = logging.getLogger("faster_whisper")


class _Log:
    """Reports to the log: a library has no terminal."""

    def note(self, text: str) -> None:
        """Report something about the work."""
        logger.warning("%s", text)

    @contextmanager
    def progress(self, what: str, total: int | None) -> Iterator[Advance]:
        """Report the start of a step."""
        logger.info("%s", what)
        yield no_advance


def find_model(name: str, *, root: str | None, local_files_only: bool) -> Path:
    """Return the folder of a run or variant.

    Args:
        name: a folder, or the name of a model (`base`, `Systran/faster-whisper-base`). A name is looked for in `root`,
            in the folder that `SOTTOVOCE_MODELS` names, and in the cache of `sottovoce transcribe NAME`, which makes the
            model once.
        root: folder with a folder for each model.
        local_files_only: do not make the model.

    Raises:
        InputError: there is no such model.
        MissingExtraError: it must be made first, and the libraries for that are not installed.
    """
    if Path(name).is_dir():
        return Path(name)
    short = _short_name(name)
    roots = [Path(given) for given in (root, os.environ.get(MODELS_VARIABLE)) if given]
    for folder in (folder / each for folder in roots for each in (short, name.replace("/", "--"))):
        if folder.is_dir():
            return folder
    return _cached(name, short, local_files_only=local_files_only)


def _cached(name: str, short: str, *, local_files_only: bool) -> Path:
    advice = f"give the folder of a run, or put it at ${MODELS_VARIABLE}/{short}"
    try:
        from sottovoce.optimize.cached_model import cached_model, find_cached_model
        from sottovoce.optimize.checkpoint.names import is_model_name
    except ModuleNotFoundError as cause:  # on a device
        raise InputError(f"there is no model {name} here; {advice}") from cause
    if not is_model_name(short):
        raise InputError(f"{name} is no folder and no name of a model; {advice}")
    if local_files_only:
        found = find_cached_model(short)
        if found is None:
            raise InputError(
                f"there is no model {name} here; {advice}, or run: sottovoce transcribe {short} AUDIO"
            )
        return found
    return cached_model(short, _Log())


def known_names() -> tuple[str, ...]:
    """Return the short names of published checkpoints; none on a device, which cannot make them."""
    try:
        from sottovoce.optimize.checkpoint.names import HUB_IDS
    except ModuleNotFoundError:
        return ()
    return (*HUB_IDS, *_ALIASES)


def _short_name(name: str) -> str:
    """Return `base` for `Systran/faster-whisper-base`; other names as they are."""
    converted = _CONVERTED.fullmatch(name)
    if converted is not None:
        name = f"{'distil-' if converted[1] else ''}{converted['size']}"
    return _ALIASES.get(name, name)


def choose_variant(folder: Path, compute_type: str) -> Path:
    """Return the folder of the variant to load.

    Args:
        folder: of a run, or of a variant.
        compute_type: of CTranslate2. `default` takes the run's quantized variant; `int8`, `float32` and `float16` a
            variant of the run with such weights.

    Raises:
        InputError: the folder holds no variant.
        SpecError: none has such weights.
    """
    if compute_type in AS_STORED:
        return find_variant(folder)
    kind = KINDS.get(compute_type)
    if kind is None:
        raise SpecError(f"compute_type={compute_type!r} is not supported: want default, {', '.join(KINDS)}")
    for each in _variants(folder):
        if _kind(read_variant_manifest(each)) == kind:
            return each
    raise SpecError(
        f"compute_type={compute_type!r}: {folder} has no variant with {kind} weights; leave compute_type out, or give "
        "another folder"
    )


def _variants(folder: Path) -> list[Path]:
    """Return the run's variants, its quantized one first and stateful ones before stateless; or the variant itself."""
    chosen = find_variant(folder)
    if chosen == folder:
        return [folder]
    names: Collection[str] = _facts(read_variant_manifest(folder)).get("variants") or ()
    others = sorted(
        (folder / name for name in names), key=lambda each: (not each.name.endswith("stateful"), each)
    )
    return [chosen, *(each for each in others if each.is_dir() and each != chosen)]


def _kind(manifest: dict[str, Any]) -> str | None:
    """Return `int8`, `float32` or `float16`, by the weights of a variant; None where its manifest does not say."""
    facts = _facts(manifest)
    if facts.get("ctranslate2_type"):
        return KINDS.get(facts["ctranslate2_type"])
    components = facts.get("components") or {}
    if any(each.get("int8_weights") for each in components.values()):
        return INT8
    return _WEIGHTS.get(facts.get("weights", ""))


def _facts(manifest: dict[str, Any]) -> dict[str, Any]:
    facts = manifest.get("facts")
    return facts if isinstance(facts, dict) else {}
