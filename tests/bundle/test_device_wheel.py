"""The wheel that a bundle installs runs alone, with the libraries that a device has."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import packages_distributions
from io import BytesIO
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

import sottovoce
from sottovoce.bundle.device_wheel import WHEEL_NAME, build_device_wheel
from sottovoce.bundle.wheels import pin
from sottovoce.cli.app import COMMANDS
from sottovoce.speech.synthetic import demo_speech
from sottovoce.terms import Format
from tests.support.devices import plan_file

ROOT = Path(__file__).parents[2]
ON_THE_DEVICE = {"live", "plan", "transcribe", "verify"}

BLOCK = """
import sys
from importlib.machinery import PathFinder
class Hiding(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name in {blocked!r} else PathFinder.find_spec(name, path, target)
sys.meta_path[:] = [Hiding if finder is PathFinder else finder for finder in sys.meta_path]
"""
"""A `sitecustomize` that hides libraries."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the wheel beside a `sitecustomize` that hides what a device does not install."""
    folder = tmp_path_factory.mktemp("device")
    zipfile.ZipFile(BytesIO(build_device_wheel())).extractall(folder)
    installed = {"sottovoce", *(each.name for each in pin(Format.OPENVINO, None))}
    blocked = {
        module
        for module, owners in packages_distributions().items()
        if installed.isdisjoint(map(canonicalize_name, owners))
    }
    assert {"torch", "matplotlib", "nncf", "transformers"} <= blocked
    (folder / "sitecustomize.py").write_text(BLOCK.format(blocked=blocked))
    return folder


def run(site: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sottovoce", *map(str, arguments)],
        cwd=site,
        env={**os.environ, "PYTHONPATH": str(site), "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_wheel_holds_files_of_the_full_wheel_without_the_workstation(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = tmp_path.glob("*.whl")
    assert path.name == WHEEL_NAME
    with zipfile.ZipFile(path) as full, zipfile.ZipFile(BytesIO(build_device_wheel())) as ours:
        assert ours.testzip() is None
        assert set(ours.namelist()) < set(full.namelist())
        for name in ours.namelist():
            if not name.endswith(("/RECORD", "/WHEEL", "/METADATA")):
                assert ours.read(name) == full.read(name), name
        stages = {name.split("/")[1] for name in ours.namelist()}
        size_bytes = sum(member.compress_size for member in ours.infolist())
    assert not stages & {"optimize", "benchmark", "reports", "calibrate", "speech", "configs", "recipes"}
    assert size_bytes < 300_000


def test_pip_installs_the_wheel_without_an_index(tmp_path: Path) -> None:
    (tmp_path / WHEEL_NAME).write_bytes(build_device_wheel())
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--target",
        "site",
    ]
    subprocess.run([*command, WHEEL_NAME], cwd=tmp_path, check=True)
    assert (tmp_path / "site" / "sottovoce" / "runtime" / "transcriber.py").is_file()


def test_the_help_lists_the_commands_of_a_device_only(site: Path) -> None:
    done = run(site, "--help")
    assert done.returncode == 0, done.stderr
    assert {
        name for name in COMMANDS if re.search(rf"^\W+{name}  ", done.stdout, re.MULTILINE)
    } == ON_THE_DEVICE


def test_a_device_transcribes_a_bundle(site: Path, opened: Path) -> None:
    done = run(site, "transcribe", opened, demo_speech().parent / "clips" / "e01.flac", "--language", "en")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_a_device_verifies_a_bundle(site: Path, opened: Path) -> None:
    done = run(site, "verify", opened, "--self-test")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("whole: ")
    assert "self-test: " in done.stdout


def test_a_device_plans(site: Path, tmp_path: Path) -> None:
    done = run(site, "plan", "--device", plan_file(tmp_path / "device.json"), "--max-memory", "500MB")
    assert done.returncode == 0, done.stderr
    assert "choice: base, recipe int8-fast with --memory low" in done.stdout


@pytest.mark.parametrize("command", sorted({*COMMANDS} - ON_THE_DEVICE))
def test_a_command_that_is_not_there_says_what_to_install(command: str, site: Path) -> None:
    done = run(site, command, "runs/base", "--json")
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: `sottovoce {command}` is not installed on this device")
    assert 'pip install "sottovoce[all]"' in line


def test_files_that_an_editor_left_in_a_checkout_are_not_in_the_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = tmp_path / "sottovoce"
    shutil.copytree(Path(sottovoce.__file__).parent, checkout)
    for name in (".secret.py", "notes.py~", "batching.py.orig"):
        (checkout / "runtime" / name).write_text("mine")
    (checkout / "runtime" / ".cache").mkdir()
    (checkout / "runtime" / ".cache" / "x.py").write_text("mine")
    clean = build_device_wheel()
    monkeypatch.setattr(sottovoce, "__file__", str(checkout / "__init__.py"))
    names = zipfile.ZipFile(BytesIO(build_device_wheel())).namelist()
    assert names == zipfile.ZipFile(BytesIO(clean)).namelist()
