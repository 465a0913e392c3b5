"""`sottovoce plan` for a device that was measured elsewhere."""

import json
import sys
from pathlib import Path

import pytest

from sottovoce.cli.app import main
from tests.support.devices import plan_file


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["sottovoce", "plan", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        main()
    return left.value.code


@pytest.fixture
def device(tmp_path: Path) -> Path:
    return plan_file(tmp_path / "device.json")


def test_a_plan_shows_every_size_and_the_choice(
    device: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not run(monkeypatch, "--device", device, "--max-memory", "600MB", "--min-rtfx", 5)
    shown = capsys.readouterr().out
    assert shown.startswith("device: a laptop, 1 thread: int8 455, bf16 222, f32 112 GMAC/s")
    assert all(name in shown for name in ("tiny", "base", "large-v3-turbo", "int8-fast"))
    assert "choice: base, recipe int8-fast; it fits 600 MB and RTFx 5" in shown


def test_a_plan_as_json_is_the_device_of_another_plan(
    device: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not run(monkeypatch, "base", "--device", device, "--json")
    first = capsys.readouterr().out
    again = tmp_path / "again.json"
    again.write_text(first, encoding="utf-8")
    assert not run(monkeypatch, "base", "--device", again, "--json")
    assert json.loads(capsys.readouterr().out) == json.loads(first)
    assert {each["model"] for each in json.loads(first)["predictions"]} == {"base"}


def test_nothing_fits_a_device_that_is_too_small(
    device: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not run(monkeypatch, "--device", device, "--max-memory", "100MB")
    assert "choice: none fits 100 MB" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--max-memory", "lots"), 2, "--max-memory is lots, want a number with MB, GB, MiB or GiB"),
        (("--max-memory", "500"), 2, "--max-memory is 500, want a number with MB"),
        (("--threads", "2"), 2, "--threads is of this machine"),
        (("huge",), 2, "huge is no run, no checkpoint and none of the sizes known here"),
    ],
)
def test_mistakes_are_one_line(
    device: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    assert run(monkeypatch, *arguments, "--device", device) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert len(line) < 300


def test_a_file_of_no_device_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--device", tmp_path / "none.json") == 1
    assert "print one on the device with `sottovoce plan --json`" in capsys.readouterr().err


def test_the_variants_of_a_run_are_predicted(
    device: Path, tiny_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not run(monkeypatch, tiny_run, "--device", device, "--json")
    found = {each["recipe"]: each for each in json.loads(capsys.readouterr().out)["predictions"]}
    assert {"fp32", "fp32-stateful", "int8"} <= set(found)
    sizes = {name: (tiny_run / name / "openvino_encoder_model.bin").stat().st_size for name in found}
    assert all(each["disk_bytes"] > sizes[name] for name, each in found.items())
    assert found["int8"]["disk_bytes"] < found["fp32"]["disk_bytes"]
