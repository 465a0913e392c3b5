"""`verify.py` inside a bundle: the standard library alone, every byte."""

import ast
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

from sottovoce.bundle.device import verify
from sottovoce.bundle.manifest import parse_manifest
from sottovoce.errors import BundleError
from tests.support.bundle_changes import change_at_random

N_CHANGES = 60
"""The long form, 1,000, is in tests/torture."""


def run_script(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a bundle's own script as on a device: no site packages, no environment."""
    return subprocess.run(
        [sys.executable, "-S", "-E", str(folder / "verify.py"), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_good_bundle_is_whole(opened: Path) -> None:
    done = run_script(opened)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("whole: ")
    result = json.loads(run_script(opened, "--json").stdout)
    assert result["is_whole"]
    assert result["problems"] == []
    assert result["n_files"] == len(json.loads((opened / "bundle.json").read_bytes())["files"])


def test_it_leaves_nothing_behind(opened: Path) -> None:
    before = sorted(opened.rglob("*"))
    run_script(opened)
    assert sorted(opened.rglob("*")) == before


def test_random_changes_are_found(opened: Path, tmp_path: Path) -> None:
    draw = Random(0)  # noqa: S311 - a seeded test
    for place in range(N_CHANGES):
        folder = tmp_path / str(place)
        shutil.copytree(opened, folder)
        what = change_at_random(folder, draw)
        assert verify.main([str(folder)]) == 1, what


def test_what_is_changed_is_named(opened: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(opened, folder)
    config = folder / "model" / "config.json"
    config.write_bytes(config.read_bytes().replace(b"{", b"[", 1))
    (folder / "model" / "new.bin").write_bytes(b"")
    (folder / "golden" / "e01.flac").unlink()
    done = run_script(folder)
    assert done.returncode == 1
    assert "model/config.json: was changed" in done.stderr
    assert "model/new.bin: is a file that bundle.json does not list" in done.stderr
    assert "golden/e01.flac: is missing" in done.stderr


@pytest.mark.parametrize("module", ["json", "__future__", "typing", "hashlib"])
def test_a_module_beside_it_is_not_run(module: str, opened: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(opened, folder)
    (folder / f"{module}.py").write_text("raise SystemExit(0)\n")
    done = run_script(folder)
    assert done.returncode == 1
    assert f"{module}.py: is a file that bundle.json does not list" in done.stderr


def test_it_is_python_3_8() -> None:
    source = Path(verify.__file__).read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 8))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    notes = [
        note for each in functions for note in (each.returns, *(arg.annotation for arg in each.args.args))
    ]
    assert all(isinstance(note, ast.Name | ast.Constant | None) for note in notes), (
        "3.8 evaluates annotations"
    )


def test_names_that_no_terminal_should_see_are_spelt(opened: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(opened, folder)
    (folder / "\x1b[31mred\n").write_bytes(b"")
    with open(os.fsencode(folder) + b"/f\xe4.txt", "wb"):  # noqa: PTH123 - a name that is no text
        pass
    result = json.loads(run_script(folder, "--json").stdout)
    assert len(result["problems"]) == 2
    assert all(line.isascii() and line.isprintable() for line in result["problems"])


def test_a_key_that_is_there_twice_is_refused(opened: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(opened, folder)
    raw = (folder / "bundle.json").read_bytes().replace(b'"files"', b'"files": [], "files"', 1)
    (folder / "bundle.json").write_bytes(raw)
    (folder / "bundle.json.sha256").write_bytes(verify.seal_of(raw))
    done = run_script(folder)
    assert done.returncode == 1
    assert "bundle.json has 'files' twice" in done.stderr
    with pytest.raises(BundleError, match="twice"):
        parse_manifest(raw, verify.seal_of(raw))


@pytest.mark.parametrize("name", ["x\nsigned: yes", "\x1b[2Jx", "a/b", "..", "", None, 7, "\ud800"])
def test_a_name_that_could_forge_output_is_refused(name: object, opened: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(opened, folder)
    raw = json.dumps({**json.loads((folder / "bundle.json").read_bytes()), "name": name}).encode()
    (folder / "bundle.json").write_bytes(raw)
    (folder / "bundle.json.sha256").write_bytes(verify.seal_of(raw))
    done = run_script(folder)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("damaged: bundle.json: name ")
    assert line.isascii()
    assert line.isprintable()


@pytest.mark.parametrize(
    "path",
    [
        "../x",
        "/x",
        "a/../x",
        "a//x",
        "",
        ".",
        "a/.",
        "a\\x",
        "C:/x",
        "a/x\n",
        "a/\uff0e\uff0e/x",
        ".x",
        "a/x/",
        "x" * 300,
    ],
)
def test_paths_that_could_leave_or_mean_two_things_are_refused(path: str) -> None:
    assert verify.path_problem(path) is not None


@pytest.mark.parametrize(
    "path", ["a", "model/openvino_encoder_model.bin", "wheels/av-18.1.0-cp311-abi3-manylinux_2_28_x86_64.whl"]
)
def test_plain_paths_are_taken(path: str) -> None:
    assert verify.path_problem(path) is None


def test_a_cpu_without_the_instruction_set_is_reported() -> None:
    manifest = {"cpu": {"needed": {"x86_64": ["avx512_vnni", "avx_vnni"]}}}
    assert verify.cpu_problem(manifest, "x86_64", ["sse4_2", "avx2"]) is not None
    assert verify.cpu_problem(manifest, "x86_64", ["avx2", "avx_vnni"]) is None
    assert verify.cpu_problem(manifest, "aarch64", ["asimd"]) is None
    assert verify.cpu_problem(manifest, "x86_64", None) is None
    forged = {"cpu": {"needed": {"x86_64": ["x\n\x1b[2Jwhole: y"]}}}
    assert str(verify.cpu_problem(forged, "x86_64", ["avx2"])).isprintable()


def test_200_mb_take_under_two_seconds_of_the_processor(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    with path.open("wb") as file:
        file.truncate(200_000_000)
    listed = verify.Listed("weights.bin", 200_000_000, "0" * 64)
    started = time.process_time()
    assert list(verify.problems_of(tmp_path, [listed]))
    assert time.process_time() - started < 2
