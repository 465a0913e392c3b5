"""The files of a Hugging Face checkpoint.

Not all files with weights are loaded: openai/whisper-large-v3 has its weights a second time, in float32.
"""

import json
from pathlib import Path
from typing import Any

from sottovoce.errors import InputError
from sottovoce.runtime.decoding.model_defaults import GENERATION_NAME
from sottovoce.storage.artifacts import canonical_sha256, sha256_of_file

WEIGHTS_NAME = "model.safetensors"
INDEX_NAME = "model.safetensors.index.json"


NEEDED_FILES = (
    (GENERATION_NAME,),
    ("preprocessor_config.json", "processor_config.json"),
    ("tokenizer.json", "vocab.json"),
)
"""Needed in addition to `config.json` and weights: one file of each line."""

PICKLED_WEIGHTS = (
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "model.pt",
    "tf_model.h5",
    "flax_model.msgpack",
)


def weight_files(folder: Path) -> tuple[Path, ...]:
    """Return the weight files that transformers loads: one, or the shards of an index; empty if there is neither.

    Raises:
        InputError: the index is damaged, or names a shard that does not exist.
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
        raise InputError(f"{index} is not an index of weights ({cause}); copy it again") from cause
    for shard in shards:
        # A name that leads out of the folder would let a manifest leak the hash of that file.
        if shard.parent != index.parent or shard.suffix != ".safetensors" or not shard.is_file():
            raise InputError(
                f"{index} names {shard.name}, which is not a safetensors file in the same folder; copy it again"
            )
    return shards


def weights_sha256(folder: Path) -> str | None:
    """Hash a checkpoint's weights, several files by the list of their hashes; None if there are none."""
    hashes = [sha256_of_file(path) for path in weight_files(folder)]
    if len(hashes) > 1:
        return canonical_sha256(hashes)
    return hashes[0] if hashes else None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InputError: the file holds something else.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as cause:
        raise InputError(f"{path} is not JSON ({cause}); copy it again") from cause
    if not isinstance(config, dict):
        raise InputError(f"{path} holds no JSON object; copy it again")
    return config
