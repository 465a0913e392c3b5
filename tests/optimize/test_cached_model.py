"""`sottovoce transcribe base`: the model is made once, and never half."""

import json
import shutil
import threading
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from sottovoce.cli.app import app
from sottovoce.errors import InputError, MissingExtraError
from sottovoce.optimize import cached_model as making
from sottovoce.optimize import plan as planning
from sottovoce.optimize.cached_model import cached_model
from sottovoce.optimize.checkpoint import resolve
from sottovoce.optimize.checkpoint.names import is_model_name
from sottovoce.optimize.checkpoint.resolve import Checkpoint
from sottovoce.progress import Advance, Silent
from sottovoce.speech import synthetic
from sottovoce.storage.artifacts import Parent, is_artifact


class Interrupted:
    """Ends the work as a kill does, when a step begins."""

    def __init__(self, step: str) -> None:
        self._step = step

    def note(self, text: str) -> None:
        """Ignore the text."""

    def progress(self, what: str, total: int | None) -> AbstractContextManager[Advance]:
        if what.startswith(self._step):
            raise KeyboardInterrupt
        return Silent().progress(what, total)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, in which models would be made."""
    monkeypatch.setenv("SOTTOVOCE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


@pytest.fixture
def resolved(tiny: Path, tones: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every name stand for a random checkpoint, calibrated with tones."""
    checkpoint = Checkpoint(name="tiny", folder=tiny, origin=Parent(role="checkpoint", name="tiny"))
    monkeypatch.setattr(planning, "resolve_checkpoint", lambda _: checkpoint)
    monkeypatch.setattr(synthetic, "demo_speech", lambda: tones)


def transcribe(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["transcribe", *map(str, arguments)])


@pytest.fixture
def clip(tones: Path) -> Path:
    return next(tones.parent.glob("**/*.wav"))


@pytest.mark.usefixtures("resolved")
def test_a_name_is_made_once_and_an_interruption_leaves_no_half_model(
    cache: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        cached_model("openai/whisper-tiny", Interrupted("quantize"))
    assert not any(map(is_artifact, cache.glob("[!.]*")))

    first = transcribe("openai/whisper-tiny", clip, "--format", "json", "--language", "en")
    assert first.exit_code == 0, first.output
    assert json.loads(first.stdout)["variant"] == "int8-fast"
    assert "made first, once: recipe int8-fast, about" in first.stderr
    assert "of memory and" in first.stderr
    assert "synthetic speech" in first.stderr
    assert "interrupted run" in first.stderr
    (made,) = cache.iterdir()
    assert made.name.startswith("openai--whisper-tiny-int8-fast-")

    monkeypatch.setattr(planning, "plan", None)
    second = transcribe("openai/whisper-tiny", clip, "--format", "json", "--language", "en")
    assert json.loads(second.stdout)["text"] == json.loads(first.stdout)["text"]
    assert "made" not in second.stderr
    assert "openai/whisper-tiny: uses the variant int8-fast" in second.stderr


def test_without_the_extra_one_line_says_what_to_install(
    cache: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolve, "find_spec", lambda _: None)
    done = transcribe("base", clip)
    assert isinstance(done.exception, MissingExtraError)
    assert "making the model base, once" in str(done.exception)
    assert 'pip install "sottovoce[all]"' in str(done.exception)
    assert done.stdout == ""
    assert not any(cache.glob("[!.]*"))


def test_nothing_is_made_for_audio_that_does_not_exist(cache: Path) -> None:
    done = transcribe("base", "no-such-talk.mp3")
    assert isinstance(done.exception, InputError)
    assert "no-such-talk.mp3 does not exist" in str(done.exception)
    assert not cache.exists()


def test_a_folder_of_that_name_wins_and_the_note_says_so(
    tiny_run: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_run / "fp32", tmp_path / "base")
    monkeypatch.chdir(tmp_path)
    done = transcribe("base", clip, "--format", "json", "--language", "en")
    assert json.loads(done.stdout)["variant"] == "fp32"
    assert "takes base in this folder, not the model of that name" in done.stderr


def test_what_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    names = ("base", "tiny.en", "base@main", "openai/whisper-small", "openai/whisper-small@v1")
    paths = ("runs/base", "./base", "/models/base", "a/b/c", "base.tar.gz", "bsae", "../x/base")
    assert [name for name in (*names, *paths) if is_model_name(name)] == list(names)


@pytest.mark.usefixtures("cache")
def test_two_calls_at_once_make_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = list[str]()

    def make(name: str, _: object, folder: Path, __: object) -> None:
        calls.append(name)
        threading.Event().wait(0.3)
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text("{}")

    monkeypatch.setattr(making, "_make", make)
    threads = [threading.Thread(target=cached_model, args=("base", Silent())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == ["base"]
