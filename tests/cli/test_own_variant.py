"""Which variant a run stands for: the one that optimize made, until the user says otherwise."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from sottovoce.cli.app import app

OTHER = (
    "--set", "quantize.name=weights", "--set", "quantize.components.encoder={scheme: w8}",
    "--set", "quantize.components.decoder_with_past={scheme: w8}",
)  # fmt: skip


def sottovoce(*arguments: object) -> Result:
    done = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


def variant_of(run: Path, clip: Path) -> str:
    done = sottovoce("transcribe", run, clip, "--format", "json", "--language", "en")
    variant = str(json.loads(done.stdout)["variant"])
    assert f"{run}: uses the variant {variant}" in done.stderr
    return variant


def test_quantize_does_not_change_what_a_run_stands_for_by_itself(
    tiny_run: Path, tones: Path, tmp_path: Path
) -> None:
    run, clip = Path(shutil.copytree(tiny_run, tmp_path / "run")), next(tones.parent.glob("**/*.wav"))
    assert variant_of(run, clip) == "int8"
    added = sottovoce("quantize", run, *OTHER)
    assert f"{run} still stands for int8: use {run / 'weights'}" in added.stderr
    assert variant_of(run, clip) == "int8"
    assert "still stands" not in sottovoce("quantize", run, *OTHER, "--as-own").stderr
    assert variant_of(run, clip) == "weights"


def test_a_variant_that_is_named_is_used_and_quiet_says_nothing(tiny_run: Path, tones: Path) -> None:
    clip = next(tones.parent.glob("**/*.wav"))
    done = sottovoce("-q", "transcribe", tiny_run / "fp32", clip, "--format", "json", "--language", "en")
    assert json.loads(done.stdout)["variant"] == "fp32"
    assert done.stderr == ""


@pytest.mark.parametrize("command", ["optimize", "calibrate"])
def test_without_data_the_own_speech_is_taken_and_said_so(
    command: str, tiny: Path, tiny_run: Path, tmp_path: Path
) -> None:
    if command == "optimize":
        done = sottovoce("optimize", tiny, "--out", tmp_path / "out", "--dry-run")
        assert "record: 34 of 34 calibration clips" in done.stdout  # 24 in English, 10 in other languages
        assert "recipe: int8-fast" in done.stdout
    else:
        run = shutil.copytree(tiny_run, tmp_path / "run")
        done = sottovoce("calibrate", run, "--set", "calibration.n_clips=2")
        assert done.stdout.startswith("recorded 2 clips")
    assert "no --data" in done.stderr
    assert "synthetic" in done.stderr


def test_a_dry_run_gives_totals_as_text_and_as_json(tiny: Path, tones: Path, tmp_path: Path) -> None:
    command = ("optimize", tiny, "--data", tones, "--out", tmp_path / "out", "--dry-run")
    content = json.loads(sottovoce(*command, "--json").stdout)
    forecast = content["forecast"]
    assert (content["recipe"], content["quantized_variant"]) == ("int8-fast", "int8-fast")
    assert forecast["memory_bytes"] > 1 << 30
    assert forecast["disk_bytes"] > 4 * content["n_weights"]
    assert forecast["time_s"] > 10
    text = sottovoce(*command).stdout
    assert text.count("GiB of memory") == 1
    assert f"{forecast['memory_bytes'] / (1 << 30):.2f} GiB of memory" in text
    assert list(tmp_path.iterdir()) == []
