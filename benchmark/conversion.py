"""A run's checkpoint in the formats of other engines: converted once, and cached beside the checkpoints."""

from pathlib import Path

from sottovoce.benchmark.engines.engine import ConvertingEngine
from sottovoce.optimize.checkpoint.files import weight_files
from sottovoce.optimize.checkpoint.resolve import Checkpoint, default_cache
from sottovoce.storage.artifacts import canonical_sha256, sha256_of_file
from sottovoce.storage.folders import temporary_folder


def convert_checkpoint(
    checkpoint: Checkpoint, engine: type[ConvertingEngine], kind: str, *, cache: Path | None = None
) -> Path:
    """Convert a Hugging Face checkpoint for an engine, once; return a folder that the engine loads.

    Args:
        checkpoint: the hash of its weights and settings names the result.
        engine: whose format it is converted to.
        kind: the type of the weights, as the engine calls it.
        cache: keeps the result; the user's checkpoint cache by default.

    Raises:
        InputError: the checkpoint cannot be converted.
    """
    from filelock import FileLock

    cache = cache or default_cache()
    folder = cache / f"{checkpoint.name}-{_digest(checkpoint.folder)[:16]}-{engine.converter()}-{kind}"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{folder.name}.lock"):
        if not folder.is_dir():
            with temporary_folder(cache) as work:
                engine.convert(checkpoint.folder, work, kind)
                work.rename(folder)
    return folder


def _digest(folder: Path) -> str:
    parts = sorted((*weight_files(folder), *folder.glob("*.json")))
    return canonical_sha256([(part.name, sha256_of_file(part)) for part in parts])
