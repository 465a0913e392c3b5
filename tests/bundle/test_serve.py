"""A server takes bundles and names of models, as `sottovoce transcribe` does."""

import shutil
import sys
from pathlib import Path

import httpx
import pytest

from sottovoce.bundle.build import Built
from sottovoce.cli.app import main
from sottovoce.optimize.cached_model import _folder
from sottovoce.recipes.load import load_recipe
from sottovoce.runtime.model.requirements import recommended_recipe
from tests.support.server import running_server, wav


def test_an_archive_is_served_under_its_name_and_nothing_of_it_is_left(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    monkeypatch.setenv("TMPDIR", str(unpacked))
    with running_server(built.path, tmp_path) as server:
        answer = httpx.post(
            f"{server.url}/v1/audio/transcriptions",
            data={"model": "tiny", "language": "en"},
            files={"file": wav()},
            timeout=60,
        )
        assert answer.status_code == 200
        assert any(unpacked.iterdir())
        assert server.stop() == 0
    assert not any(unpacked.iterdir())


def test_an_unpacked_bundle_is_served_under_the_name_of_its_folder(opened: Path, tmp_path: Path) -> None:
    folder = tmp_path / "parlour"
    shutil.copytree(opened, folder)
    with running_server(folder, tmp_path) as server:
        listed = httpx.get(f"{server.url}/v1/models").json()["data"]
        answer = httpx.post(
            f"{server.url}/v1/audio/transcriptions",
            data={"model": "parlour", "language": "en"},
            files={"file": wav()},
            timeout=60,
        )
    assert [model["id"] for model in listed] == ["parlour", "whisper-1"]
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("model", "code", "message"),
    [
        ("bundle", 3, "bundle is damaged: model/"),
        ("nowhere", 1, "nowhere does not exist"),
        ("text.txt", 1, "text.txt is a file, want a model"),
        ("text.tar.gz", 3, "text.tar.gz: it is not a .tar.gz that `sottovoce bundle` wrote"),
        ("ct2", 2, "ct2 holds a CTranslate2 variant, which is not served; give an OpenVINO or ONNX variant"),
    ],
)
def test_what_cannot_be_served_is_refused_in_one_line(
    model: str,
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    opened: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(opened, "bundle")
    Path("bundle/model/config.json").write_text("{}")
    Path("text.txt").write_text("no model")
    Path("text.tar.gz").write_text("no bundle")
    Path("ct2").mkdir()
    Path("ct2/model.bin").touch()
    monkeypatch.setattr(sys, "argv", ["sottovoce", "serve", model])
    with pytest.raises(SystemExit) as ended:
        main()
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == code
    assert message in line


def test_a_name_that_is_given_twice_is_refused(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name of a checkpoint leads to the model in the cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOTTOVOCE_CACHE", "cache")
    shutil.copytree(tiny_run / "int8", _folder("tiny.en", load_recipe(recommended_recipe())))
    monkeypatch.setattr(sys, "argv", ["sottovoce", "serve", "tiny.en", "tiny.en"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "two of the models are called tiny.en; rename one of the folders" in capsys.readouterr().err
