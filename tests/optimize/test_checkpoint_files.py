"""Which files of a checkpoint count as its weights."""

import json
import shutil
from pathlib import Path

import pytest

from sottovoce.errors import InputError
from sottovoce.optimize.checkpoint.files import INDEX_NAME, WEIGHTS_NAME, weight_files, weights_sha256
from sottovoce.optimize.checkpoint.resolve import resolve_checkpoint
from sottovoce.optimize.plan import checkpoint_sha256, plan
from sottovoce.recipes.load import load_recipe
from sottovoce.speech.sets import read_speech
from sottovoce.storage.artifacts import canonical_sha256, sha256_of_file

SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def write_index(folder: Path, *names: str) -> None:
    index = {"weight_map": {f"tensor.{place}": name for place, name in enumerate(names)}}
    (folder / INDEX_NAME).write_text(json.dumps(index), encoding="utf-8")


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    for name in SHARDS:
        (tmp_path / name).write_bytes(name.encode())
    write_index(tmp_path, SHARDS[1], SHARDS[0], SHARDS[1])
    return tmp_path


def test_a_second_copy_of_the_weights_is_ignored(tiny: Path, tones: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "tiny"))
    speech, recipe = read_speech(str(tones)), load_recipe("int8")
    once = plan(str(folder), recipe, speech, tmp_path / "run", force=False)
    before = checkpoint_sha256(folder)
    shutil.copy(folder / WEIGHTS_NAME, folder / "model.fp32-00001-of-00001.safetensors")
    twice = plan(str(folder), recipe, speech, tmp_path / "run", force=False)
    assert twice.weight_bytes == once.weight_bytes > 0
    assert twice.checkpoint.origin == once.checkpoint.origin
    assert twice.checkpoint.origin.sha256 == sha256_of_file(folder / WEIGHTS_NAME)
    assert checkpoint_sha256(folder) == before


def test_shards_are_weights_if_there_is_no_single_file(sharded: Path) -> None:
    shards = [sharded / name for name in SHARDS]
    assert weight_files(sharded) == tuple(shards)
    assert weights_sha256(sharded) == canonical_sha256([sha256_of_file(shard) for shard in shards])
    (sharded / WEIGHTS_NAME).write_bytes(b"whole")
    assert weight_files(sharded) == (sharded / WEIGHTS_NAME,)


def test_other_safetensors_are_no_weights(tmp_path: Path) -> None:
    (tmp_path / "adapter_model.safetensors").write_bytes(b"adapter")
    assert weight_files(tmp_path) == ()
    assert weights_sha256(tmp_path) is None


@pytest.mark.parametrize("damage", ["{", "[]", '{"weight_map": 3}', '{"weight_map": {"a": 3, "b": 4}}'])
def test_a_damaged_index_is_named(tmp_path: Path, damage: str) -> None:
    (tmp_path / INDEX_NAME).write_text(damage, encoding="utf-8")
    with pytest.raises(InputError, match=r"index\.json is not an index of weights .*copy it again"):
        weight_files(tmp_path)


@pytest.mark.parametrize("name", ["missing.safetensors", "../model.safetensors", "config.json"])
def test_an_index_that_names_something_else_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / WEIGHTS_NAME).write_bytes(b"outside")
    write_index(folder, name)
    with pytest.raises(InputError, match="which is not a safetensors file in the same folder"):
        weight_files(folder)


def test_a_sharded_checkpoint_has_a_digest(tiny: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "tiny"))
    whole = resolve_checkpoint(str(folder)).origin.sha256
    (folder / WEIGHTS_NAME).rename(folder / SHARDS[0])
    write_index(folder, SHARDS[0])
    assert resolve_checkpoint(str(folder)).origin.sha256 == whole
