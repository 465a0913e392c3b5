"""The files of a checkpoint that hold the weights which transformers loads.

A folder may hold others beside them: openai/whisper-large-v3 has its weights a second time, in float32.
"""

import json
from pathlib import Path

from sottovoce.errors import InputError
from sottovoce.storage.artifacts import canonical_sha256, sha256_of_file

WEIGHTS_NAME = "model.safetensors"
INDEX_NAME = "model.safetensors.index.json"


def weight_files(folder: Path) -> tuple[Path, ...]:
    """Name the files that transformers loads: one, else the shards of an index; empty where there is neither.

    Raises:
        InputError: the index is damaged, or names a shard that is not there.
    """
    whole = folder / WEIGHTS_NAME
    if whole.is_file():
        return (whole,)
    index = folder / INDEX_NAME
    return _shards(index) if index.is_file() else ()


def _shards(index: Path) -> tuple[Path, ...]:
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        shards = tuple(index.parent / name for name in names)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as cause:
        raise InputError(f"{index} is no index of weights ({cause}); copy it again") from cause
    for shard in shards:
        # A name that leads out of the folder would be read, and its hash be told.
        if shard.parent != index.parent or shard.suffix != ".safetensors" or not shard.is_file():
            raise InputError(f"{index} names {shard.name}, which is no safetensors beside it; copy it again")
    return shards


def weights_sha256(folder: Path) -> str | None:
    """Hash a checkpoint's weights: of several files the list of their hashes; None where there are none."""
    hashes = [sha256_of_file(path) for path in weight_files(folder)]
    if len(hashes) > 1:
        return canonical_sha256(hashes)
    return hashes[0] if hashes else None
