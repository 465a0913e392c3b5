"""The files of a Hugging Face checkpoint.

Not all files with weights are loaded: openai/whisper-large-v3 has its weights a second time, in float32.
"""

import json
from pathlib import Path
from typing import Any

from sottovoce.errors import InputError
from sottovoce.runtime.decoding.tokenizer import GENERATION_NAME
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


def check_checkpoint(folder: Path) -> None:
    """Check that a folder holds a Whisper in Hugging Face's layout with safetensors.

    Raises:
        InputError: it does not; the message names what is missing.
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
    """Check that the settings contain whether the model is multilingual, and its languages and tasks.

    Old versions of transformers wrote files without them, and fine-tunes of that time have kept those.
    """
    config = read_json(path)
    wanted = ("is_multilingual", *(("lang_to_id", "task_to_id") if config.get("is_multilingual") else ()))
    missing = [key for key in wanted if config.get(key) is None]
    if missing:
        raise InputError(
            f"{path} has no {' and no '.join(missing)}: an old version of transformers wrote it; "
            "copy the file from the Whisper that the model was trained from"
        )


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(
            f"{path.parent} is no Whisper checkpoint: it has no config.json. "
            "Give a Hugging Face folder, a CTranslate2 folder or a hub id"
        )
    return read_json(path)


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
