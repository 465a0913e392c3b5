"""The command line: what is printed where, and with which exit code."""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sottovoce import __version__
from sottovoce.cli.app import app
from tests.support.commands import Outcome, run_command
from tests.support.results import build_sample, save_sample

COMMANDS = [
    command.callback.__name__.replace("_", "-")
    for command in app.registered_commands
    if command.callback is not None
]
COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9][0-9;]*m")


Sottovoce = Callable[..., Outcome]


@pytest.fixture
def sottovoce() -> Sottovoce:
    return run_command


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_the_documented_commands_exist() -> None:
    assert {"optimize", "calibrate", "quantize", "benchmark", "report", "inspect", "demo"} <= set(COMMANDS)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_shows_two_examples(sottovoce: Sottovoce, command: str) -> None:
    outcome = sottovoce(*command.split(), "--help")
    assert outcome.code == 0
    assert "Examples:" in outcome.out
    assert outcome.out.count("sottovoce " + command) >= 2
    assert outcome.err == ""


def test_version_is_that_of_the_distribution(sottovoce: Sottovoce) -> None:
    assert sottovoce("--version") == Outcome(code=0, out=f"sottovoce {__version__}\n", err="")


@pytest.mark.parametrize(
    "arguments",
    [
        ["optimise"],
        ["optimize", "tiny.en", "--dta", "x", "--out", "y"],
        ["optimize", "tiny.en"],
        ["benchmark", "runs/x", "--data", "d", "--passes", "0"],
        ["benchmark", "runs/x", "--data", "d", "--margin", "wide"],
        ["--loud", "inspect", "x"],
    ],
)
def test_options_that_mean_nothing_exit_with_2(sottovoce: Sottovoce, arguments: list[str]) -> None:
    outcome = sottovoce(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.error.endswith("--help`)")


def test_an_unknown_recipe_exits_with_2_and_a_suggestion(
    sottovoce: Sottovoce, tones: Path, tmp_path: Path
) -> None:
    outcome = sottovoce("optimize", "tiny.en", "--recipe", "int9", "--data", tones, "--out", tmp_path / "run")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.error.startswith("unknown recipe int9; did you mean int8?")


def test_a_set_that_means_nothing_exits_with_2(sottovoce: Sottovoce, tones: Path, tmp_path: Path) -> None:
    outcome = sottovoce(
        "optimize", "tiny.en", "--data", tones, "--out", tmp_path / "run", "--set", "calibration.clips=3"
    )
    assert (outcome.code, outcome.out) == (2, "")
    assert "unknown key calibration.clips; did you mean n_clips?" in outcome.error


@pytest.mark.parametrize(
    ("model", "expected"),
    [("nowhere", "unknown model nowhere"), ("tiny.ne", "did you mean tiny.en?"), ("./nowhere", "no such")],
)
def test_a_missing_model_exits_with_1(
    sottovoce: Sottovoce, tones: Path, tmp_path: Path, model: str, expected: str
) -> None:
    outcome = sottovoce("optimize", model, "--data", tones, "--out", tmp_path / "run")
    assert (outcome.code, outcome.out) == (1, "")
    assert expected in outcome.error
    assert tree(tmp_path) == []


@pytest.mark.parametrize("command", ["benchmark", "calibrate", "inspect", "quantize", "report"])
def test_a_run_that_does_not_exist_exits_with_1(
    sottovoce: Sottovoce, tones: Path, tmp_path: Path, command: str
) -> None:
    more = ["--data", tones] if command in ("benchmark", "calibrate") else []
    outcome = sottovoce(command, tmp_path / "nowhere", *more)
    assert (outcome.code, outcome.out) == (1, "")
    assert "nowhere" in outcome.error
    assert tree(tmp_path) == []


def test_a_foreign_folder_is_no_run(sottovoce: Sottovoce, tiny: Path) -> None:
    outcome = sottovoce("inspect", tiny)
    assert (outcome.code, outcome.out) == (1, "")
    assert "it has no manifest.json" in outcome.error


def test_a_variant_is_not_taken_for_its_run(sottovoce: Sottovoce, baseline: Path) -> None:
    outcome = sottovoce("inspect", baseline)
    assert (outcome.code, outcome.out) == (1, "")
    assert "want the run folder above it" in outcome.error


def test_an_output_that_exists_is_not_replaced(
    sottovoce: Sottovoce, tiny: Path, tones: Path, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    outcome = sottovoce("optimize", tiny, "--data", tones, "--out", tmp_path / "run")
    assert (outcome.code, outcome.out) == (1, "")
    assert (
        outcome.error
        == f"{tmp_path / 'run'} exists already. Choose another --out, or pass --force to replace it"
    )


def test_force_does_not_delete_what_sottovoce_did_not_write(
    sottovoce: Sottovoce, tiny: Path, tones: Path, tmp_path: Path
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("years of work", encoding="utf-8")
    outcome = sottovoce("optimize", tiny, "--data", tones, "--out", tmp_path / "thesis", "--force")
    assert (outcome.code, outcome.out) == (1, "")
    assert "--force does not delete it" in outcome.error
    assert tree(tmp_path) == ["thesis", "thesis/chapter1.tex"]


def test_pickled_weights_are_refused_with_the_way_out(
    sottovoce: Sottovoce, tiny: Path, tones: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(tiny, folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    outcome = sottovoce("optimize", folder, "--data", tones, "--out", tmp_path / "run")
    assert (outcome.code, outcome.out) == (1, "")
    assert "pytorch_model.bin only, which can run code" in outcome.error
    assert "save_pretrained" in outcome.error


def test_a_model_that_is_no_whisper_is_refused(sottovoce: Sottovoce, tones: Path, tmp_path: Path) -> None:
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    outcome = sottovoce("optimize", tmp_path / "bert", "--data", tones, "--out", tmp_path / "run")
    assert (outcome.code, outcome.out) == (1, "")
    assert "holds a model of type bert, want whisper" in outcome.error


def test_a_folder_without_a_model_is_refused(sottovoce: Sottovoce, tones: Path, tmp_path: Path) -> None:
    outcome = sottovoce("optimize", tones.parent, "--data", tones, "--out", tmp_path / "run")
    assert (outcome.code, outcome.out) == (1, "")
    assert "is no Whisper checkpoint: it has no config.json" in outcome.error


def test_an_empty_manifest_is_refused(sottovoce: Sottovoce, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("", encoding="utf-8")
    outcome = sottovoce("optimize", tiny, "--data", tmp_path / "empty.jsonl", "--out", tmp_path / "run")
    assert (outcome.code, outcome.out) == (1, "")
    assert "empty.jsonl holds no clips" in outcome.error


def test_speech_without_audio_leaves_nothing_behind(sottovoce: Sottovoce, tiny: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "gone.jsonl"
    manifest.write_text('{"audio": "gone.wav", "text": "a"}\n', encoding="utf-8")
    outcome = sottovoce("optimize", tiny, "--data", manifest, "--out", tmp_path / "run")
    assert (outcome.code, outcome.out) == (1, "")
    assert "gone.wav does not exist" in outcome.error
    assert tree(tmp_path) == ["gone.jsonl"]


def test_a_dry_run_shows_the_plan_and_writes_nothing(
    sottovoce: Sottovoce, tiny: Path, tones: Path, tmp_path: Path
) -> None:
    outcome = sottovoce(
        "optimize", tiny, "--recipe", "int8", "--data", tones, "--out", tmp_path / "run", "--dry-run"
    )
    assert outcome.code == 0
    assert "2+2 layers, 80 mel bins, multilingual" in outcome.out
    assert "record: 4 of 4 calibration clips" in outcome.out
    assert re.search(r"in all: about \d+ \w+, [\d.]+ GiB of memory and [\d.]+ GiB of disk", outcome.out)
    assert "quantize: int8 (openvino): encoder w8a8, decoder float, decoder_with_past w8" in outcome.out
    assert outcome.out.splitlines()[-1] == f"would write {tmp_path / 'run'}"
    assert tree(tmp_path) == []


def test_inspect_prints_json_and_nothing_else(sottovoce: Sottovoce, tiny_run: Path) -> None:
    outcome = sottovoce("inspect", tiny_run, "--json")
    summary = json.loads(outcome.out)
    assert (outcome.code, outcome.err) == (0, "")
    assert [variant["name"] for variant in summary["variants"]] == ["fp32", "fp16", "fp32-stateful", "int8"]
    assert summary["checkpoint"]["name"] == "tiny"
    assert not any(variant["is_stale"] for variant in summary["variants"])
    assert str(tiny_run.parent) not in outcome.out


def test_inspect_prints_what_is_in_a_run(sottovoce: Sottovoce, tiny_run: Path) -> None:
    outcome = sottovoce("inspect", tiny_run)
    assert outcome.code == 0
    for part in ("fp32-stateful", "14 of 14", "17 of 17", "greedy tokens identical", "recipe: int8"):
        assert part in outcome.out


def test_a_run_is_quantized_again_under_another_name(
    sottovoce: Sottovoce, tiny_run: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    outcome = sottovoce(
        "quantize",
        run,
        "--json",
        "--set",
        "quantize.name=encoder-only",
        "--set",
        "quantize.components.decoder_with_past.scheme=float",
    )
    assert outcome.code == 0, outcome.err
    variants = {variant["name"]: variant for variant in json.loads(outcome.out)["variants"]}
    counts = {part["name"]: part["int8_weights"] for part in variants["encoder-only"]["components"]}
    assert counts == {"encoder": 14, "decoder": 0, "decoder_with_past": 0}


def test_a_variant_of_a_replaced_record_is_stale_until_it_is_quantized_again(
    sottovoce: Sottovoce, tiny_run: Path, tones: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    outcome = sottovoce("calibrate", run, "--data", tones, "--set", "calibration.n_clips=1", "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["n_clips"] == 1

    def stale() -> list[str]:
        variants = json.loads(sottovoce("inspect", run, "--json").out)["variants"]
        return [variant["name"] for variant in variants if variant["is_stale"]]

    assert stale() == ["int8"]
    again = sottovoce("quantize", run, "--set", "quantize.components.encoder.scheme=float")
    assert again.code == 0, again.err
    assert stale() == []


def test_a_variant_that_a_run_does_not_have_is_named_with_those_it_has(
    sottovoce: Sottovoce, tiny_run: Path, tones: Path, tmp_path: Path
) -> None:
    outcome = sottovoce(
        "benchmark", tiny_run, "--data", tones, "--variants", "int9", "--out", tmp_path / "results"
    )
    assert (outcome.code, outcome.out) == (1, "")
    assert "has no variant int9; did you mean int8? (it has fp32, fp16, fp32-stateful, int8)" in outcome.error


def test_a_condition_on_an_unknown_key_exits_with_2(
    sottovoce: Sottovoce, tiny_run: Path, tones: Path, tmp_path: Path
) -> None:
    outcome = sottovoce(
        "benchmark", tiny_run, "--data", tones, "--where", "langage=en", "--out", tmp_path / "results"
    )
    assert (outcome.code, outcome.out) == (2, "")
    assert "did you mean language?" in outcome.error


def test_a_file_of_the_wrong_size_is_found_before_anything_is_measured(
    sottovoce: Sottovoce, tiny_run: Path, tones: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    weights = run / "int8" / "openvino_encoder_model.bin"
    weights.write_bytes(weights.read_bytes()[:-1])
    outcome = sottovoce("benchmark", run, "--data", tones, "--out", tmp_path / "results")
    assert (outcome.code, outcome.out) == (1, "")
    assert "the folder is damaged" in outcome.error


def test_debug_shows_the_traceback(sottovoce: Sottovoce, tmp_path: Path) -> None:
    outcome = sottovoce("--debug", "inspect", tmp_path / "nowhere")
    assert outcome.code == 1
    assert "Traceback" in outcome.err


def test_global_options_work_after_the_command(sottovoce: Sottovoce, tmp_path: Path) -> None:
    sample = build_sample()
    folder = save_sample(sample.results, sample.rows, tmp_path / "results")
    arguments = ("report", folder, "--force", "--out", tmp_path / "report.html")
    assert "wrote" in sottovoce(*arguments).err
    assert sottovoce(*arguments, "-q") == sottovoce("-q", *arguments) == Outcome(code=0, out="", err="")
    assert "Traceback" in sottovoce("inspect", tmp_path / "nowhere", "--debug").err
    assert logging.getLogger("sottovoce").level == logging.WARNING
    assert sottovoce("-v", *arguments, "-v", "--no-color").code == 0
    assert logging.getLogger("sottovoce").level == logging.DEBUG


def test_no_arguments_show_the_help(sottovoce: Sottovoce) -> None:
    assert sottovoce() == sottovoce("--help")


def test_quiet_still_prints_errors(sottovoce: Sottovoce, tmp_path: Path) -> None:
    outcome = sottovoce("--quiet", "inspect", tmp_path / "nowhere")
    assert outcome.code == 1
    assert "does not exist" in outcome.error


def test_a_closed_standard_output_loses_no_text_silently() -> None:
    shell = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "sottovoce", "--version"]
    done = subprocess.run(shell, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (
        1,
        "error: standard output is closed; redirect it to a file, or to /dev/null\n",
    )


def fail_on_a_colour_terminal(tmp_path: Path, **environment: str) -> str:
    inherited = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    done = subprocess.run(
        [sys.executable, "-m", "sottovoce", "inspect", str(tmp_path / "nowhere")],
        env={**inherited, "FORCE_COLOR": "1", "TERM": "xterm-256color", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr


def test_errors_are_red_on_a_terminal(tmp_path: Path) -> None:
    assert COLOUR.search(fail_on_a_colour_terminal(tmp_path))


def test_no_color_takes_the_colour_away(tmp_path: Path) -> None:
    assert COLOUR.search(fail_on_a_colour_terminal(tmp_path, NO_COLOR="1")) is None


def test_a_report_can_be_printed_for_another_program(sottovoce: Sottovoce, tmp_path: Path) -> None:
    sample = build_sample()
    folder = save_sample(sample.results, sample.rows, tmp_path / "results")
    outcome = sottovoce("report", folder, "--format", "markdown", "--out", "-")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("### `whisper-tiny.en`: speed and accuracy\n")
    assert tree(tmp_path) == ["results", "results/clips.jsonl", "results/results.json"]


def test_a_model_card_that_exists_is_not_replaced(sottovoce: Sottovoce, tmp_path: Path) -> None:
    sample = build_sample()
    folder = save_sample(sample.results, sample.rows, tmp_path / "results")
    card = tmp_path / "README.md"
    arguments = ("report", folder, "--format", "model-card", "--out", card)
    assert sottovoce(*arguments).code == 0
    outcome = sottovoce(*arguments)
    assert outcome.code == 1
    assert "exists already" in outcome.error
    assert sottovoce(*arguments, "--force").code == 0
