"""A run's checkpoint for faster-whisper: converted by CTranslate2 once, kept beside the checkpoints."""

import contextlib
import io
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from sottovoce.artifacts import Parent, canonical_sha256, sha256_of_file
from sottovoce.errors import SpecError
from sottovoce.optimize.checkpoints import Checkpoint, default_cache, resolve_checkpoint
from sottovoce.runs import Run

QUANTIZATION = "int8"
"""Of the weights on disk. CTranslate2 computes the same from float16 weights loaded as int8; these
are smaller, load faster and are rounded once instead of twice."""


def find_checkpoint(run: Run, name: str | None, *, cache: Path | None = None) -> Checkpoint:
    """Find the checkpoint that a run was made of.

    Args:
        run: its manifest tells which checkpoint.
        name: as `optimize` takes it; None looks in the cache and on the hub.
        cache: of checkpoints; the user's by default.

    Raises:
        SpecError: it is another checkpoint than the run's, or it cannot be found without a name.
        InputError: there is no such checkpoint.
    """
    origin = next(parent for parent in run.manifest.parents if parent.role == "checkpoint")
    if name is None:
        return _known_checkpoint(run, origin, cache or default_cache())
    found = resolve_checkpoint(name, cache=cache)
    if _differ(found.origin, origin):
        raise SpecError(
            f"--checkpoint {name} is not the checkpoint of {run.folder} ({origin.name}); "
            "no comparison between different models would be fair"
        )
    return found


def _known_checkpoint(run: Run, origin: Parent, cache: Path) -> Checkpoint:
    if origin.revision is not None:
        return resolve_checkpoint(f"{origin.name}@{origin.revision}", cache=cache)
    digest = "" if origin.sha256 is None else origin.sha256[:16]
    folder = next((path for path in cache.glob(f"*-{digest}") if digest and path.is_dir()), None)
    if folder is None:
        raise SpecError(
            f"faster-whisper needs the checkpoint that {run.folder} was made of ({origin.name}); "
            "name it with --checkpoint"
        )
    return Checkpoint(name=folder.name.removesuffix(f"-{digest}"), folder=folder, origin=origin)


def _differ(one: Parent, other: Parent) -> bool:
    """Tell whether two origins contradict each other; what neither knows does not count."""
    known = ((one.sha256, other.sha256), (one.revision, other.revision))
    return any(a != b for a, b in known if a is not None and b is not None)


def convert_checkpoint(checkpoint: Checkpoint, *, cache: Path | None = None) -> Path:
    """Convert a Hugging Face checkpoint to CTranslate2 with INT8 weights, once.

    Args:
        checkpoint: the hash of its weights and settings names the result.
        cache: where the result is kept; the user's checkpoint cache by default.

    Returns:
        A folder that faster-whisper loads.

    Raises:
        InputError: CTranslate2 cannot convert it.
    """
    from filelock import FileLock

    cache = cache or default_cache()
    name = f"{checkpoint.name}-{_digest(checkpoint.folder)[:16]}-ctranslate2-{version('ctranslate2')}"
    folder = cache / f"{name}-{QUANTIZATION}"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{folder.name}.lock"):
        if not folder.is_dir():
            with _work_folder(folder) as work:
                _convert(checkpoint.folder, work)
                work.rename(folder)
    return folder


def _convert(source: Path, into: Path) -> None:
    from ctranslate2.converters import TransformersConverter
    from transformers import WhisperFeatureExtractor, WhisperTokenizerFast

    from sottovoce.variants import quiet_libraries

    with quiet_libraries(), contextlib.redirect_stderr(io.StringIO()):
        try:
            TransformersConverter(str(source)).convert(str(into), quantization=QUANTIZATION, force=True)
        except (ValueError, KeyError, RuntimeError) as cause:
            raise SpecError(
                f"CTranslate2 cannot convert the checkpoint for faster-whisper: {cause}"
            ) from cause
        WhisperTokenizerFast.from_pretrained(source).save_pretrained(into)
        WhisperFeatureExtractor.from_pretrained(source).save_pretrained(into)


@contextmanager
def _work_folder(folder: Path) -> Iterator[Path]:
    work = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        yield work
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def _digest(folder: Path) -> str:
    parts = sorted((*folder.glob("*.safetensors"), *folder.glob("*.json")))
    return canonical_sha256([(part.name, sha256_of_file(part)) for part in parts])
