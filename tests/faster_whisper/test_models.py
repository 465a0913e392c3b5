"""Names of models and compute types lead to the folders that a user expects."""

import shutil
from pathlib import Path

import pytest

from sottovoce.errors import InputError, SpecError
from sottovoce.faster_whisper import available_models, download_model
from sottovoce.faster_whisper.models import MODELS_VARIABLE, choose_variant, find_model


def find(name: str, root: Path | None = None) -> Path:
    return find_model(name, root=str(root) if root else None, local_files_only=True)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SOTTOVOCE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(MODELS_VARIABLE, raising=False)
    return tmp_path / "cache"


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("tiny.en", "tiny.en"),
        ("Systran/faster-whisper-tiny.en", "tiny.en"),
        ("Systran/faster-distil-whisper-large-v3", "distil-large-v3"),
        ("rhasspy/faster-whisper-base-int8", "base"),
        ("turbo", "large-v3-turbo"),
        ("someone/whisper-tuned", "someone--whisper-tuned"),
    ],
)
def test_a_name_is_looked_for_in_the_folders_of_models(
    name: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, others = tmp_path / "models", tmp_path / "others"
    (models / folder).mkdir(parents=True)
    others.mkdir()
    assert find(name, models) == models / folder
    monkeypatch.setenv(MODELS_VARIABLE, str(models))
    assert find(name) == models / folder
    assert find(name, others) == models / folder
    (others / folder).mkdir()
    assert find(name, others) == others / folder
    assert download_model(name, cache_dir=str(others)) == str(others / folder)


def test_a_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    assert find(str(tmp_path)) == tmp_path


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "tiny.en",
            r"give the folder of a run, or put it at \$SOTTOVOCE_MODELS/tiny.en, or run: sottovoce transcribe tiny.en",
        ),
        ("colossal", r"colossal is no folder and no name of a model; .*\$SOTTOVOCE_MODELS/colossal"),
        ("runs/base", "runs/base"),
    ],
)
def test_a_model_that_is_not_there_is_named_with_what_to_do(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        find(name)
    assert len(str(caught.value)) < 300


def test_a_model_that_a_command_made_is_found(cache: Path, tiny_run: Path) -> None:
    from sottovoce.optimize.cached_model import _folder
    from sottovoce.recipes.load import load_recipe
    from sottovoce.runtime.model.requirements import recommended_recipe

    made = _folder("tiny.en", load_recipe(recommended_recipe()))
    shutil.copytree(tiny_run / "int8", made)
    assert find("tiny.en") == made
    assert made.is_relative_to(cache)


def test_the_names_of_published_models_are_listed() -> None:
    assert {"tiny.en", "base", "large-v3", "distil-large-v3", "turbo"} <= set(available_models())


@pytest.mark.parametrize(
    ("compute_type", "name"),
    [
        ("default", "int8"),
        ("auto", "int8"),
        ("int8", "int8"),
        ("int8_float32", "int8"),
        ("float32", "fp32-stateful"),
        ("float16", "fp16"),
    ],
)
def test_a_compute_type_chooses_a_variant_of_a_run(compute_type: str, name: str, tiny_run: Path) -> None:
    assert choose_variant(tiny_run, compute_type) == tiny_run / name


def test_a_variant_must_have_the_compute_type(tiny_run: Path) -> None:
    assert choose_variant(tiny_run / "fp32", "float32") == tiny_run / "fp32"
    with pytest.raises(SpecError, match=r"compute_type='int8': .* has no variant with int8 weights"):
        choose_variant(tiny_run / "fp32", "int8")
    with pytest.raises(SpecError, match="compute_type='bfloat16' is not supported: want default, int8"):
        choose_variant(tiny_run, "bfloat16")
