"""The language and the task that a fine-tuned model names are used where the user gives none."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from sottovoce.errors import InputError
from sottovoce.runtime import Task, TranscribeOptions, load
from sottovoce.runtime.decoding.model_defaults import (
    GENERATION_NAME,
    ModelDefaults,
    model_defaults,
    read_defaults,
)

LANGUAGES = ("de", "en", "no")


@pytest.mark.parametrize("name", ["de", "German", "german", "<|de|>", "deu"])
def test_the_language_is_a_code_a_name_or_a_token(name: str) -> None:
    assert model_defaults({"language": name, "task": "translate"}, LANGUAGES) == ModelDefaults(
        language="de", task=Task.TRANSLATE
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"language": "nl"},
        {"language": "no such language"},
        {"language": "de", "task": "summarize"},
        {"task": ["transcribe"]},
    ],
)
def test_what_the_model_cannot_do_is_ignored_with_a_warning(
    settings: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert model_defaults(settings, LANGUAGES) == ModelDefaults()
    assert len(caplog.records) == 1
    assert f"{GENERATION_NAME}: its language and task are ignored" in caplog.text


@pytest.mark.parametrize("settings", [{}, {"language": None, "task": None}, {"language": ""}])
def test_most_models_name_none(settings: dict[str, object], caplog: pytest.LogCaptureFixture) -> None:
    assert model_defaults(settings, LANGUAGES) == ModelDefaults()
    assert not caplog.records


def test_an_english_model_keeps_to_english(caplog: pytest.LogCaptureFixture) -> None:
    assert model_defaults({"language": "en"}, ()).language == "en"
    assert not caplog.records
    assert model_defaults({"language": "de"}, ()) == ModelDefaults()
    assert model_defaults({"task": "translate"}, ["en"]) == ModelDefaults()
    assert len(caplog.records) == 2


def test_what_the_user_gives_wins() -> None:
    defaults = ModelDefaults(language="de", task=Task.TRANSLATE)
    found = defaults.fill_options(TranscribeOptions())
    assert (found.language, found.task) == ("de", Task.TRANSLATE)
    found = defaults.fill_options(TranscribeOptions(language="no", task=Task.TRANSCRIBE))
    assert (found.language, found.task) == ("no", Task.TRANSCRIBE)
    assert defaults.fill_options(TranscribeOptions(language="auto")).language is None
    assert ModelDefaults().fill_options(TranscribeOptions()).language is None


def test_a_variant_without_settings_has_no_defaults(tmp_path: Path) -> None:
    assert read_defaults(tmp_path, LANGUAGES) == ModelDefaults()
    (tmp_path / GENERATION_NAME).write_text("[", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be read"):
        read_defaults(tmp_path, LANGUAGES)


def test_a_fine_tuned_model_transcribes_in_its_language(tiny_run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_run / "fp32-stateful", tmp_path / "variant"))
    path = folder / GENERATION_NAME
    settings = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(settings | {"language": "<|de|>", "task": "transcribe"}), encoding="utf-8")
    wave = (0.3 * np.sin(np.arange(16_000))).astype(np.float32)
    transcriber = load(folder)
    for given in (transcriber.transcribe(wave), transcriber.transcribe_batch([wave])[0]):
        assert (given.language, given.language_probability) == ("de", 1.0)
    assert transcriber.transcribe(wave, language="nl").language == "nl"
    assert transcriber.transcribe(wave, language="auto").language_probability < 1.0
