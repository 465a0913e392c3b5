"""Mistakes of a new user: one short line each, with what is wrong and what to do."""

import sys
from pathlib import Path

import pytest

from sottovoce.cli.app import main
from sottovoce.cli.commands.options import with_extra
from sottovoce.errors import MissingExtraError
from tests.support.results import build_sample, save_sample

LONGEST = 300
"""Characters of a message; those that list names are the longest."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hold what users have: a text, a folder, results, broken manifests, an empty run and an empty variant."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "note.txt").write_text("hello", encoding="utf-8")
    (folder / "empty").mkdir()
    sample = build_sample()
    save_sample(sample.results, sample.rows, folder / "results")
    lines = [f'{{"audio": "{name}", "text": "a"}}\n' for name in ("note.txt", "empty", "no.flac", "none.wav")]
    (folder / "speech.jsonl").write_text("".join(lines), encoding="utf-8")
    (folder / "recipe.yaml").write_text("".join(f"key{n}: 1\n" for n in range(40)), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("inspect note.txt", 1, "note.txt is a file. Give the folder that `sottovoce optimize --out` wrote"),
        ("inspect runs/base", 1, "runs/base does not exist; make a run with `sottovoce optimize MODEL --out"),
        ("inspect empty", 1, "empty is not a finished sottovoce folder: it has no manifest.json"),
        (
            "report nowhere",
            1,
            "nowhere does not exist; give the folder that `sottovoce benchmark --out` wrote",
        ),
        ("report note.txt", 1, "note.txt is a file; give the folder that `sottovoce benchmark --out` wrote"),
        ("report results --out empty", 1, "empty is a folder; give the file to write"),
        ("compare results empty", 1, "empty holds no results.json; give the folder"),
        ("gate results --fail-if wer>1 --junit empty", 1, "empty is a folder, and the output is a file"),
        ("gate results --fail-if speed>1", 2, "there is no metric speed; did you mean speedup.low?"),
        (
            "gate results --fail-if zz>1",
            2,
            "there is no metric zz; metrics: wer_delta, worst_language_delta, ",
        ),
        ("verify nowhere", 1, "nowhere does not exist; give a bundle that `sottovoce bundle` wrote"),
        ("transcribe note.txt a.wav", 1, "note.txt is a file, want a model: the folder of a run"),
        ("transcribe empty note.txt", 1, "empty holds no variant; give the folder of a run or of a variant"),
        (
            "transcribe empty a.wav --language Germany",
            2,
            "unknown language Germany; did you mean German (de) or ",
        ),
        ("transcribe empty a.wav --output-dir note.txt", 1, "--output-dir note.txt is not a folder"),
        (
            "optimize larg-v3 --data speech.jsonl --out o",
            1,
            "unknown model larg-v3: no such folder; did you mean large-v3?",
        ),
        (
            "optimize note.txt --data speech.jsonl --out o",
            1,
            "unknown model note.txt: it is a file; short names: ",
        ),
        ("optimize tiny.en --data note.txt --out o", 1, "note.txt is not a speech set; speech is a .jsonl"),
        (
            "optimize tiny.en --data speech.jsonl --out note.txt",
            1,
            "note.txt is not a folder, and the output is",
        ),
        ("optimize tiny.en --data speech.jsonl --recipe recipe.yaml --out o", 2, "and 37 more"),
    ],
)
def test_a_mistake_is_answered_in_one_short_line(
    arguments: str,
    code: int,
    message: str,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", ["sottovoce", *arguments.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert (ended.value.code, out) == (code, "")
    assert len(line) <= LONGEST


@pytest.mark.parametrize("model", ["base", "openai/whisper-tiny.en"])
@pytest.mark.parametrize(
    "command",
    [
        "inspect",
        "quantize",
        "calibrate --data speech.jsonl",
        "benchmark --data speech.jsonl",
        "sensitivity --data speech.jsonl",
        "heal --data speech.jsonl",
        "qat --data speech.jsonl",
        "bundle --out x.tar.gz",
    ],
)
def test_a_model_name_in_the_place_of_a_run_is_answered_with_how_to_make_one(
    command: str,
    model: str,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", ["sottovoce", *command.split(), model])
    with pytest.raises(SystemExit) as ended:
        main()
    run = f"runs/{model.rpartition('/')[2]}"
    assert ended.value.code == 1
    assert capsys.readouterr().err == (
        f"error: {model} is the name of a model, want a run of it; "
        f"make one with `sottovoce optimize {model} --out {run}`, then give {run}\n"
    )


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ("-", "error: standard input (-) is closed; redirect a file to it, or name a file\n"),
        ("a.wav", "error: empty holds no variant; give the folder of a run or of a variant"),
    ],
)
def test_a_closed_standard_input_is_an_error_only_where_it_is_read(
    files: str,
    message: str,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "stdin", None)
    monkeypatch.setattr(sys, "argv", ["sottovoce", "transcribe", "empty", files])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith(message)


def test_a_command_without_its_libraries_names_the_extra() -> None:
    def compare() -> None:
        import no_such_library.part  # type: ignore[import-not-found]  # noqa: F401

    with pytest.raises(
        MissingExtraError, match=r"^no_such_library is not installed; .*`sottovoce compare`"
    ) as raised:
        with_extra(compare, "benchmark")()
    assert str(raised.value).endswith('Run: pip install "sottovoce[benchmark]"')


def test_a_missing_module_of_our_own_is_no_missing_extra() -> None:
    def compare() -> None:
        import sottovoce.no_such_module  # type: ignore[import-not-found]  # noqa: F401

    with pytest.raises(ModuleNotFoundError):
        with_extra(compare, "benchmark")()
