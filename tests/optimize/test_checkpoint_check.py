"""What is wrong with a checkpoint is said before any work, all of it in one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from sottovoce.errors import InputError
from sottovoce.optimize.checkpoint.check import check_checkpoint
from sottovoce.optimize.checkpoint.shapes import expected_shapes
from sottovoce.runtime.decoding.tokenizer import WhisperTokenizer
from tests.support.checkpoints import tiny_checkpoint

Tensors = dict[str, np.ndarray[Any, Any]]


@pytest.fixture
def folder(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "mine"))


def change_settings(path: Path, **changes: object) -> None:
    settings = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(settings | changes), encoding="utf-8")


def change_weights(folder: Path, change: Callable[[Tensors], Tensors]) -> None:
    path = folder / "model.safetensors"
    save_file(change(dict(load_file(path))), path, {"format": "pt"})


def problem(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        check_checkpoint(folder)
    text = str(caught.value)
    assert text.startswith(str(folder))
    assert "\n" not in text
    return text


@pytest.mark.parametrize("decoder_layers", [1, 2])
@pytest.mark.parametrize("multilingual", [True, False])
def test_the_expected_tensors_are_those_that_transformers_saves(
    tmp_path: Path, decoder_layers: int, *, multilingual: bool
) -> None:
    saved = tiny_checkpoint(tmp_path / "tiny", decoder_layers=decoder_layers, multilingual=multilingual)
    config = json.loads((saved / "config.json").read_text(encoding="utf-8"))
    shapes = {name: tensor.shape for name, tensor in load_file(saved / "model.safetensors").items()}
    shapes.pop("proj_out.weight", None)
    assert expected_shapes(config) == shapes
    check_checkpoint(saved)


def test_weights_of_a_compiled_model_are_refused(folder: Path) -> None:
    change_weights(folder, lambda tensors: {f"_orig_mod.{name}": value for name, value in tensors.items()})
    assert "saved from a compiled model" in problem(folder)


def test_a_missing_tensor_is_named(folder: Path) -> None:
    change_weights(
        folder, lambda tensors: {name: value for name, value in tensors.items() if "layers.1.fc1" not in name}
    )
    assert "lack model.decoder.layers.1.fc1.bias, model.decoder.layers.1.fc1.weight and 2 more" in problem(
        folder
    )


def test_an_unknown_tensor_is_named(folder: Path) -> None:
    change_weights(folder, lambda tensors: tensors | {"model.extra": np.zeros(2, np.float32)})
    assert "have model.extra, which config.json does not expect" in problem(folder)


def test_the_model_without_its_output_layer_is_accepted(folder: Path) -> None:
    change_weights(
        folder, lambda tensors: {name.removeprefix("model."): value for name, value in tensors.items()}
    )
    check_checkpoint(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_pointer_of_git_lfs_is_recognised(folder: Path, name: str) -> None:
    (folder / name).write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n", encoding="utf-8"
    )
    assert f"{name} is a pointer of Git LFS" in problem(folder)


def test_weights_that_are_cut_off_are_recognised(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert "model.safetensors cannot be read" in problem(folder)
    assert "cut off or damaged; copy it again" in problem(folder)


def test_a_lora_folder_is_recognised(folder: Path) -> None:
    (folder / "config.json").rename(folder / "adapter_config.json")
    assert "is a LoRA adapter" in problem(folder)
    assert "merge_and_unload()" in problem(folder)


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        (
            "config.json",
            {"max_source_positions": 1000},
            "max_source_positions in config.json does not fit the weights",
        ),
        ("config.json", {"vocab_size": 50}, "vocab_size in config.json does not fit the weights"),
        (
            "config.json",
            {"encoder_ffn_dim": 99},
            "tensors do not fit config.json, such as model.encoder.layers.0.fc1",
        ),
        ("config.json", {"d_model": None}, "config.json lacks sizes of the model"),
        (
            "config.json",
            {"decoder_attention_heads": 3},
            "decoder_attention_heads in config.json is 3, which does not divide d_model, 64",
        ),
        (
            "generation_config.json",
            {"alignment_heads": [1, 2]},
            "alignment_heads in generation_config.json is not a list of pairs",
        ),
        (
            "preprocessor_config.json",
            {"feature_size": 128},
            "feature_size in preprocessor_config.json is 128",
        ),
    ],
)
def test_a_setting_that_does_not_fit_is_named(
    folder: Path, name: str, change: dict[str, object], expected: str
) -> None:
    change_settings(folder / name, **change)
    assert expected in problem(folder)


def test_a_tokenizer_larger_than_the_embedding_is_refused(folder: Path) -> None:
    path = folder / "tokenizer.json"
    added = json.loads(path.read_text(encoding="utf-8"))["added_tokens"]
    change_settings(path, added_tokens=[*added, added[-1] | {"id": 60_000, "content": "<|new|>"}])
    assert "tokenizer.json has tokens up to 60000, vocab_size in config.json is " in problem(folder)


def test_all_problems_come_in_one_message(folder: Path) -> None:
    (folder / "generation_config.json").unlink()
    change_settings(folder / "preprocessor_config.json", feature_size=128)
    change_weights(folder, lambda tensors: tensors | {"model.extra": np.zeros(2, np.float32)})
    text = problem(folder)
    assert "3 problems: " in text
    assert all(part in text for part in ("no generation_config.json", "model.extra", "feature_size"))


def test_alignment_heads_of_a_larger_decoder_are_noted(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    change_settings(folder / "generation_config.json", alignment_heads=[[7, 1]])
    check_checkpoint(folder)
    assert "alignment_heads in" in caplog.text
    assert "later layers instead" in caplog.text


@pytest.mark.parametrize("others", [[], [3]])
def test_several_end_tokens_mean_whisper_s_own(folder: Path, others: list[int]) -> None:
    end = WhisperTokenizer.load(folder).special.end
    change_settings(folder / "generation_config.json", eos_token_id=[*others, end])
    assert WhisperTokenizer.load(folder).special.end == end
