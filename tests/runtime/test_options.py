"""Options by their names, and by those of the release before."""

from dataclasses import fields, replace
from pathlib import Path
from typing import get_type_hints

import pytest
from typer.testing import CliRunner

from sottovoce.cli.app import app
from sottovoce.errors import SpecError
from sottovoce.runtime import Task, TranscribeOptions, Transcriber, load
from sottovoce.runtime.options import OLD_NAMES, OptionValues
from tests.support.tones import tone, write_tone_set


@pytest.mark.parametrize(
    ("old", "value", "new", "expected"),
    [
        ("condition_on_previous", True, "condition_on_previous_text", True),
        ("use_voice_activity", False, "vad_filter", False),
        ("temperatures", (0.0, 0.5), "temperature", (0.0, 0.5)),
        ("compression_ratio_limit", 3.0, "compression_ratio_threshold", 3.0),
        ("log_probability_limit", -2.0, "log_prob_threshold", -2.0),
        ("no_speech_limit", 0.5, "no_speech_threshold", 0.5),
        ("with_timestamps", False, "without_timestamps", True),
    ],
)
def test_an_old_name_is_accepted_with_a_note(old: str, value: object, new: str, expected: object) -> None:
    with pytest.warns(DeprecationWarning, match=f"{old} is deprecated; use {new}") as notes:
        options = TranscribeOptions(language="de", **{old: value})  # type: ignore[arg-type]
    assert notes[0].filename == __file__
    assert options == TranscribeOptions(language="de", **{new: expected})  # type: ignore[arg-type]
    with pytest.warns(DeprecationWarning, match=old):
        changed = replace(TranscribeOptions(language="de"), **{old: value})  # type: ignore[arg-type]
    assert changed == options
    with pytest.warns(DeprecationWarning, match=old):
        assert getattr(options, old) == value


def test_every_old_name_leads_to_an_option() -> None:
    assert set(OLD_NAMES.values()) <= {field.name for field in fields(TranscribeOptions)}


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(TypeError, match=r"unknown option beams; did you mean beam_size\?"):
        TranscribeOptions(beams=3)  # type: ignore[call-arg]
    with pytest.raises(AttributeError, match="no option beams"):
        _ = TranscribeOptions().beams


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": ()}, "temperature is"),
        ({"temperature": 1.5}, "temperature is"),
        ({"beam_size": 0}, "beam_size is 0"),
        ({"batch_size": 33}, "batch_size is 33"),
        ({"condition_on_previous_text": True, "without_timestamps": True}, "needs timestamps"),
        ({"patience": 0.0}, "patience is 0"),
        ({"best_of": 17}, "best_of is 17"),
        ({"repetition_penalty": 0.0}, "repetition_penalty is 0"),
        ({"no_repeat_ngram_size": -1}, "no_repeat_ngram_size is -1"),
        ({"max_initial_timestamp": 31.0}, "max_initial_timestamp is 31"),
        ({"compression_ratio_threshold": float("nan")}, "compression_ratio_threshold is nan"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        TranscribeOptions(**options)  # type: ignore[arg-type]


def test_a_task_may_be_a_word() -> None:
    assert TranscribeOptions(task="translate").task is Task.TRANSLATE  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="task is sing, want transcribe or translate"):
        TranscribeOptions(task="sing")  # type: ignore[arg-type]


def test_every_option_is_a_keyword_of_a_call() -> None:
    assert list(get_type_hints(OptionValues)) == [field.name for field in fields(TranscribeOptions)]
    assert get_type_hints(OptionValues) == get_type_hints(TranscribeOptions)


def test_one_temperature_is_one_attempt() -> None:
    assert TranscribeOptions(temperature=0.4).temperatures_tried == (0.4,)
    assert TranscribeOptions(temperature=(0.0, 1.0)).temperatures_tried == (0.0, 1.0)


def test_a_transcriber_is_loaded_by_its_old_name_with_a_note(baseline: Path) -> None:
    with pytest.warns(DeprecationWarning, match=r"use sottovoce\.runtime\.load") as notes:
        transcriber: Transcriber = Transcriber.load(baseline, threads=1)  # type: ignore[attr-defined]
    assert notes[0].filename == __file__
    options = TranscribeOptions(language="en", temperature=0.0, vad_filter=False)
    expected = load(baseline, threads=1).transcribe(tone(1.0), options)
    assert transcriber.transcribe(tone(1.0), options).segments == expected.segments


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["--sequential"], ["--condition-on-previous-text"]),
        (["--no-voice-activity"], ["--no-vad-filter"]),
        (["--voice-activity"], ["--vad-filter"]),
    ],
)
def test_an_old_flag_is_accepted_with_a_note(
    baseline: Path, tmp_path: Path, old: list[str], new: list[str]
) -> None:
    write_tone_set(tmp_path, n_clips=1, duration_s=1.0)
    (clip,) = tmp_path.rglob("*.wav")
    command = ["transcribe", str(baseline), str(clip), "--language", "en"]
    found, expected = (
        CliRunner().invoke(app, [*command, *flags], catch_exceptions=False) for flags in (old, new)
    )
    assert (found.exit_code, expected.exit_code) == (0, 0)
    assert found.stdout == expected.stdout
    assert f"deprecated; use {new[0]}" in found.stderr.replace("[no-]", "no-" if "no-" in new[0] else "")
    assert "deprecated" not in expected.stderr
