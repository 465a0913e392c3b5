"""Converting to CTranslate2 with its own converter and back loses nothing."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.errors import InputError
from sottovoce.optimize.checkpoint.ctranslate2_import import find_files, write_huggingface_checkpoint
from sottovoce.optimize.checkpoint.ctranslate2_reader import huggingface_weights, read_model
from sottovoce.reference_pipeline import quiet_libraries, quiet_output
from tests.support.checkpoints import tiny_checkpoint

pytest.importorskip("ctranslate2", reason="ctranslate2 comes with the extra peers")

HEADER_BYTES = 4096


@pytest.fixture(scope="module")
def english(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(
        tmp_path_factory.mktemp("english") / "tiny.en", multilingual=False, decoder_layers=3
    )


@pytest.fixture(scope="module")
def converted(english: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("converted")
    return {kind: convert(english, folder / kind, kind) for kind in ("float32", "float16", "int8")}


@pytest.fixture(scope="module")
def model_bin(converted: dict[str, Path]) -> bytes:
    return (converted["float16"] / "model.bin").read_bytes()


def convert(source: Path, into: Path, kind: str) -> Path:
    from ctranslate2.converters import TransformersConverter

    with quiet_libraries(), quiet_output():
        TransformersConverter(str(source), copy_files=["tokenizer.json"]).convert(
            str(into), quantization=kind
        )
    return into


def tensors(folder: Path) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    from safetensors.numpy import load_file

    found: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]] = load_file(
        folder / "model.safetensors"
    )
    return found


@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_every_tensor_is_converted_back_bit_for_bit(
    english: Path, converted: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    write_huggingface_checkpoint(find_files(converted[kind]), tmp_path / "back")
    before, after = tensors(english), tensors(tmp_path / "back")
    assert set(after) == set(before)
    for name, values in before.items():
        assert after[name].dtype == kind
        np.testing.assert_array_equal(after[name], values.astype(kind), err_msg=name)


def test_the_settings_are_converted_back(english: Path, converted: dict[str, Path], tmp_path: Path) -> None:
    from sottovoce.optimize.checkpoint.identity import check_identity, read_identity

    write_huggingface_checkpoint(find_files(converted["float32"]), tmp_path / "back")
    check_identity(tmp_path / "back", read_identity(english))


def test_the_heads_and_sizes_of_the_layers_are_converted_back(
    english: Path, converted: dict[str, Path], tmp_path: Path
) -> None:
    from transformers import WhisperConfig

    write_huggingface_checkpoint(find_files(converted["float32"]), tmp_path / "back")
    before, after = WhisperConfig.from_pretrained(english), WhisperConfig.from_pretrained(tmp_path / "back")
    for key in (
        "encoder_attention_heads",
        "decoder_attention_heads",
        "encoder_ffn_dim",
        "decoder_ffn_dim",
        "max_source_positions",
        "d_model",
    ):
        assert getattr(after, key) == getattr(before, key), key


def test_timestamps_that_a_tokenizer_leaves_out_are_added(
    english: Path, converted: dict[str, Path], tmp_path: Path
) -> None:
    from transformers import WhisperTokenizerFast

    source = tmp_path / "source"
    source.mkdir()
    for file in ("model.bin", "config.json"):
        (source / file).write_bytes((converted["float16"] / file).read_bytes())
    tokenizer = json.loads((converted["float16"] / "tokenizer.json").read_text(encoding="utf-8"))
    stamp = "<|0.00|>"
    first = next(token["id"] for token in tokenizer["added_tokens"] if token["content"] == stamp)
    tokenizer["added_tokens"] = [token for token in tokenizer["added_tokens"] if token["id"] < first]
    (source / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    write_huggingface_checkpoint(find_files(source), tmp_path / "back")
    with quiet_libraries():
        before, after = (
            WhisperTokenizerFast.from_pretrained(folder) for folder in (english, tmp_path / "back")
        )
    stamps = [stamp, "<|0.02|>", "<|12.34|>", "<|30.00|>"]
    assert after.convert_tokens_to_ids(stamps) == before.convert_tokens_to_ids(stamps)


def test_weights_in_two_parts_are_joined(converted: dict[str, Path], tmp_path: Path) -> None:
    from dataclasses import replace

    files, data = find_files(converted["float16"]), (converted["float16"] / "model.bin").read_bytes()
    (tmp_path / "part1").write_bytes(data[:1000])
    (tmp_path / "part2").write_bytes(data[1000:])
    parts = replace(files, weights=(tmp_path / "part1", tmp_path / "part2"))
    write_huggingface_checkpoint(parts, tmp_path / "joined")
    write_huggingface_checkpoint(files, tmp_path / "whole")
    assert (tmp_path / "joined/model.safetensors").read_bytes() == (
        tmp_path / "whole/model.safetensors"
    ).read_bytes()


def test_int8_weights_are_refused(converted: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"quantized already \(int8\).*--quantization float16"):
        write_huggingface_checkpoint(find_files(converted["int8"]), tmp_path / "back")
    assert list(tmp_path.iterdir()) == []


@given(st.data())
def test_a_file_cut_off_anywhere_is_an_input_error(model_bin: bytes, data: st.DataObject) -> None:
    size = data.draw(
        st.integers(0, len(model_bin) - 1)
        | st.integers(0, HEADER_BYTES)
        | st.integers(1, 400).map(lambda n: len(model_bin) - n)
    )
    with pytest.raises(InputError, match=r"cut\.bin"):
        read_model(model_bin[:size], Path("cut.bin"))


@given(st.integers(0, HEADER_BYTES), st.integers(0, 255))
def test_a_damaged_byte_is_an_input_error_or_harmless(model_bin: bytes, place: int, value: int) -> None:
    damaged = bytearray(model_bin)
    damaged[place] = value
    try:
        huggingface_weights(read_model(bytes(damaged), Path("damaged.bin")), Path("damaged.bin"))
    except InputError as error:
        assert "damaged.bin" in str(error)  # noqa: PT017 - either is right


@given(st.binary(max_size=200))
def test_any_bytes_are_an_input_error(data: bytes) -> None:
    with pytest.raises(InputError):
        read_model(data, Path("any.bin"))


def test_another_kind_of_model_is_refused(
    converted: dict[str, Path], model_bin: bytes, tmp_path: Path
) -> None:
    name = b"WhisperSpec\0"
    assert model_bin[4:18] == struct.pack("<H", len(name)) + name
    for file in ("config.json", "tokenizer.json"):
        (tmp_path / file).write_bytes((converted["float16"] / file).read_bytes())
    (tmp_path / "model.bin").write_bytes(model_bin.replace(name, b"MarianMTSpe\0", 1))
    with pytest.raises(InputError, match="is a CTranslate2 MarianMTSpe, want a WhisperSpec"):
        write_huggingface_checkpoint(find_files(tmp_path), tmp_path / "back")


@pytest.mark.parametrize("file", ["model.bin", "config.json", "tokenizer.json"])
def test_a_missing_file_is_named(converted: dict[str, Path], tmp_path: Path, file: str) -> None:
    for other in {"model.bin", "config.json", "tokenizer.json"} - {file}:
        (tmp_path / other).write_bytes((converted["float16"] / other).read_bytes())
    with pytest.raises(InputError, match=f"{file} is missing"):
        find_files(tmp_path)


@pytest.mark.parametrize(
    ("file", "damage"), [("config.json", b"{"), ("config.json", b"[]"), ("tokenizer.json", b"{}")]
)
def test_damaged_settings_are_named(
    converted: dict[str, Path], tmp_path: Path, file: str, damage: bytes
) -> None:
    for other in ("model.bin", "config.json", "tokenizer.json"):
        (tmp_path / other).write_bytes((converted["float16"] / other).read_bytes())
    (tmp_path / file).write_bytes(damage)
    with pytest.raises(InputError, match=file):
        write_huggingface_checkpoint(find_files(tmp_path), tmp_path / "back")
