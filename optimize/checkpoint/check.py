"""Check a Hugging Face folder before any work: everything that is wrong with it, in one message.

transformers fills weights that a file lacks with random numbers, and ignores those that it does not expect.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sottovoce.errors import InputError
from sottovoce.optimize.checkpoint.files import (
    NEEDED_FILES,
    PICKLED_WEIGHTS,
    WEIGHTS_NAME,
    read_json,
    weight_files,
)
from sottovoce.optimize.checkpoint.shapes import SETTING_OF, Shape, expected_shapes, is_optional
from sottovoce.runtime.decoding.model_defaults import GENERATION_NAME
from sottovoce.runtime.decoding.tokenizer import TOKENIZER_NAME

logger = logging.getLogger(__name__)

CONFIG_NAME = "config.json"
PREPROCESSOR_NAMES = ("preprocessor_config.json", "processor_config.json")
ADAPTER_NAME = "adapter_config.json"
ALIGNMENT_HEADS = "alignment_heads"

LFS_HEAD = b"version https://git-lfs"
COMPILED_PREFIX = "_orig_mod."
BASE_PREFIX = "model."
"""`WhisperModel`, without the output layer, is saved without it."""

_N_NAMED = 2


def check_checkpoint(folder: Path) -> None:
    """Check that a folder holds a whole Whisper in Hugging Face's layout with safetensors.

    Raises:
        InputError: it does not; the message names everything that is wrong.
    """
    config = _whisper_config(folder)
    problems = [*_file_problems(folder), *_generation_problems(folder / GENERATION_NAME)]
    weights = _weights(folder, problems)
    if weights is not None:
        problems += _weight_problems(weights, config)
    problems += _setting_problems(folder, config)
    if problems:
        count = "" if len(problems) == 1 else f"{len(problems)} problems: "
        raise InputError(f"{folder}: {count}{'; '.join(problems)}")
    _note_alignment_heads(folder, config)


def _whisper_config(folder: Path) -> dict[str, Any]:
    """Return the settings of a folder that claims to be a Whisper."""
    if not (folder / CONFIG_NAME).is_file():
        if (folder / ADAPTER_NAME).is_file():
            raise InputError(
                f"{folder} is a LoRA adapter, not a whole model: merge it into its base first, with peft's "
                "merge_and_unload() and save_pretrained()"
            )
        raise InputError(
            f"{folder} is no Whisper checkpoint: it has no config.json. "
            "Give a Hugging Face folder, a CTranslate2 folder or a hub id"
        )
    _refuse_pointer(folder / CONFIG_NAME)
    config = read_json(folder / CONFIG_NAME)
    if config.get("model_type") != "whisper":
        raise InputError(
            f"{folder} holds a model of type {config.get('model_type', 'unknown')}, want whisper: "
            "give a Whisper or Distil-Whisper checkpoint"
        )
    return config


def _refuse_pointer(path: Path) -> None:
    if _is_lfs_pointer(path):
        raise InputError(f"{path} {_POINTER}")


_POINTER = "is a pointer of Git LFS, not the file: run git lfs pull in its folder"


def _is_lfs_pointer(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(LFS_HEAD)) == LFS_HEAD


def _file_problems(folder: Path) -> Iterator[str]:
    for alternatives in NEEDED_FILES:
        present = [folder / name for name in alternatives if (folder / name).is_file()]
        if not present:
            yield f"has no {alternatives[0]}; copy it from the original Whisper checkpoint"
        yield from (f"{path.name} {_POINTER}" for path in present if _is_lfs_pointer(path))


def _weights(folder: Path, problems: list[str]) -> dict[str, Shape] | None:
    """Return the shapes of the tensors in the weight files; None, and a problem, if they cannot be read."""
    files = weight_files(folder)
    if not files:
        problems.append(_no_weights(folder))
        return None
    shapes: dict[str, Shape] = {}
    n_before = len(problems)
    for path in files:
        if _is_lfs_pointer(path):
            problems.append(f"{path.name} {_POINTER}")
        else:
            shapes |= _tensor_shapes(path, problems)
    return shapes if len(problems) == n_before else None


def _no_weights(folder: Path) -> str:
    pickled = next((file for file in PICKLED_WEIGHTS if (folder / file).is_file()), None)
    if pickled is not None:
        return (
            f"has its weights in {pickled} only, which can run code when it is read. Save them as "
            "safetensors: WhisperForConditionalGeneration.from_pretrained(...).save_pretrained(...)"
        )
    if (folder / ADAPTER_NAME).is_file():
        return "is a LoRA adapter without its base; merge them first, with peft's merge_and_unload()"
    return f"has no weights: want {WEIGHTS_NAME}, or {WEIGHTS_NAME}.index.json and its shards"


def _tensor_shapes(path: Path, problems: list[str]) -> dict[str, Shape]:
    """Return the shape of each tensor of a safetensors file; a file that is cut off has none, and is a problem."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError) as cause:
        problems.append(f"{path.name} cannot be read ({cause}): it is cut off or damaged; copy it again")
        return {}


def _weight_problems(found: Mapping[str, Shape], config: Mapping[str, Any]) -> Iterator[str]:
    """Compare the tensors of the files with those that the settings expect."""
    expected = expected_shapes(config)
    if expected is None:
        yield f"{CONFIG_NAME} lacks sizes of the model; copy it from the original Whisper checkpoint"
        return
    if any(name.startswith(COMPILED_PREFIX) for name in found):
        yield (
            f"its weights were saved from a compiled model, and are named {COMPILED_PREFIX}...: save the model itself, "
            "model._orig_mod.save_pretrained(...)"
        )
        return
    if found and not any(name.startswith(BASE_PREFIX) for name in found):
        found = {BASE_PREFIX + name: shape for name, shape in found.items()}
    missing = sorted(expected.keys() - found.keys())
    unknown = sorted(name for name in found.keys() - expected.keys() if not is_optional(name))
    if missing:
        yield f"its weights lack {_named(missing)}, which {CONFIG_NAME} expects"
    if unknown:
        yield f"its weights have {_named(unknown)}, which {CONFIG_NAME} does not expect"
    yield from _shape_problems(found, expected)


def _shape_problems(found: Mapping[str, Shape], expected: Mapping[str, Shape]) -> Iterator[str]:
    wrong = [name for name, shape in expected.items() if name in found and found[name] != shape]
    settings = [name for name in SETTING_OF if name in wrong]
    for name in settings:
        yield (
            f"{SETTING_OF[name]} in {CONFIG_NAME} does not fit the weights: {name} is {_shape(found[name])}, "
            f"the settings make it {_shape(expected[name])}"
        )
    if wrong and not settings:
        name = wrong[0]
        yield (
            f"{len(wrong)} tensors do not fit {CONFIG_NAME}, such as {name}: it is {_shape(found[name])}, the settings "
            f"make it {_shape(expected[name])}"
        )


def _setting_problems(folder: Path, config: Mapping[str, Any]) -> Iterator[str]:
    """Check the numbers of heads, and compare preprocessor and tokenizer with the model."""
    for name in ("encoder_attention_heads", "decoder_attention_heads"):
        width, n_heads = config.get("d_model"), config.get(name)
        if isinstance(width, int) and not (isinstance(n_heads, int) and n_heads > 0 and width % n_heads == 0):
            yield f"{name} in {CONFIG_NAME} is {n_heads}, which does not divide d_model, {width}"
    extractor = next((folder / name for name in PREPROCESSOR_NAMES if (folder / name).is_file()), None)
    if extractor is not None and not _is_lfs_pointer(extractor):
        settings = read_json(extractor)
        size = settings.get("feature_extractor", settings).get("feature_size")
        if size is not None and size != config.get("num_mel_bins"):
            yield (
                f"feature_size in {extractor.name} is {size}, num_mel_bins in {CONFIG_NAME} "
                f"{config.get('num_mel_bins')}; they must be equal"
            )
    tokenizer = folder / TOKENIZER_NAME
    if tokenizer.is_file() and not _is_lfs_pointer(tokenizer):
        largest, n_rows = _largest_token(tokenizer), config.get("vocab_size", 0)
        if largest >= n_rows:
            yield (
                f"{TOKENIZER_NAME} has tokens up to {largest}, vocab_size in {CONFIG_NAME} is {n_rows}: tokens were added "
                "without resizing the embedding, or the tokenizer is of another Whisper"
            )


def _largest_token(path: Path) -> int:
    document = read_json(path)
    try:
        added = [token["id"] for token in document.get("added_tokens", ())]
        return max([*document["model"]["vocab"].values(), *added], default=-1)
    except (KeyError, TypeError, AttributeError) as cause:
        raise InputError(f"{path} is not a tokenizer of Whisper ({cause}); copy it again") from cause


def _generation_problems(path: Path) -> Iterator[str]:
    """Check that the settings contain whether the model is multilingual, and its languages and tasks.

    Old versions of transformers wrote files without them, and fine-tunes of that time have kept those.
    """
    if not path.is_file() or _is_lfs_pointer(path):
        return
    config = read_json(path)
    wanted = ("is_multilingual", *(("lang_to_id", "task_to_id") if config.get("is_multilingual") else ()))
    missing = [key for key in wanted if config.get(key) is None]
    if missing:
        yield (
            f"{path.name} has no {' and no '.join(missing)}: an old version of transformers wrote it; "
            "copy the file from the Whisper that the model was trained from"
        )
    if not _are_pairs(config.get(ALIGNMENT_HEADS) or []):
        yield f"{ALIGNMENT_HEADS} in {path.name} is not a list of pairs of layer and head; copy it from the original Whisper"


def _are_pairs(heads: object) -> bool:
    return isinstance(heads, list) and all(
        isinstance(pair, list) and [type(number) for number in pair] == [int, int] for pair in heads
    )


def _note_alignment_heads(folder: Path, config: Mapping[str, Any]) -> None:
    """Say that word times come from other heads, where the settings name some that the decoder does not have."""
    heads = read_json(folder / GENERATION_NAME).get(ALIGNMENT_HEADS) or ()
    n_layers, n_heads = config["decoder_layers"], config["decoder_attention_heads"]
    if not all(layer < n_layers and head < n_heads for layer, head in heads):
        logger.warning(
            "alignment_heads in %s are of a larger decoder; word times come from all heads of the later layers instead",
            folder / GENERATION_NAME,
        )


def _named(names: Iterable[str]) -> str:
    first = list(names)
    left = len(first) - _N_NAMED
    return ", ".join(first[:_N_NAMED]) + (f" and {left} more" if left > 0 else "")


def _shape(shape: Shape) -> str:
    return " x ".join(map(str, shape))
