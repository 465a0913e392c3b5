"""What a device installs."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.utils import parse_wheel_filename

from sottovoce.bundle.device_wheel import WHEEL_NAME, build_device_wheel
from sottovoce.bundle.wheels import OWN, Pinned, download, lock, parse_target, pin
from sottovoce.errors import SpecError, StageError
from sottovoce.terms import Format


@pytest.mark.parametrize(
    ("kind", "there", "not_there"),
    [
        (
            Format.OPENVINO,
            {"openvino", "numpy", "tokenizers", "av"},
            {"torch", "onnxruntime", "faster-whisper", "nncf"},
        ),
        (Format.ONNX, {"onnxruntime", "openvino"}, {"torch", "faster-whisper"}),
        (Format.CTRANSLATE2, {"faster-whisper", "ctranslate2"}, {"torch", "nncf"}),
    ],
)
def test_each_format_pins_what_runs_it(kind: Format, there: set[str], not_there: set[str]) -> None:
    names = {each.name for each in pin(kind, None)}
    assert there <= names
    assert not names & (not_there | {"sottovoce"})


@pytest.mark.parametrize(
    ("platform", "python", "message"),
    [
        ("windows", None, "--wheels windows"),
        ("manylinux2014_armv7l", None, "armv7l"),
        ("manylinux2014_x86_64", "3.8", "--python is 3.8"),
    ],
)
def test_an_unknown_platform_is_an_error(platform: str, python: str | None, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_target(platform, python)


def test_newer_glibc_is_a_last_resort() -> None:
    target = parse_target("manylinux2014_aarch64", "3.12")
    assert target.tags[0] == "manylinux2014_aarch64"
    assert target.tags.index("manylinux_2_17_aarch64") < target.tags.index("manylinux_2_18_aarch64")
    modern = parse_target("manylinux_2_28_x86_64", "3.12").tags
    assert modern[0] == "manylinux_2_28_x86_64"
    assert {"manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux1_x86_64"} <= set(modern)
    assert (target.machine, target.glibc, target.python) == ("aarch64", 17, "3.12")


def _wheel(folder: Path, name: str) -> None:
    package, version, *_ = name.split("-")
    with zipfile.ZipFile(folder / name, "w") as file:
        file.writestr(f"{package}-{version}.dist-info/WHEEL", "Wheel-Version: 1.0\n")
        file.writestr(
            f"{package}-{version}.dist-info/METADATA",
            f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n",
        )


def test_wheels_come_with_the_glibc_that_they_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    for name in (
        "old-1.0-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        "new-2.0-cp311-cp311-manylinux_2_28_x86_64.whl",
        "pure-3.0-py3-none-any.whl",
    ):
        _wheel(shelf, name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    target, into = parse_target("manylinux2014_x86_64", "3.11"), tmp_path / "wheels"
    pinned = (
        Pinned(name="old", version="1.0"),
        Pinned(name="new", version="2.0"),
        Pinned(name="pure", version="3.0"),
    )
    wheels = download(pinned, target, into)
    assert wheels.glibc == "2.28"
    assert {str(parse_wheel_filename(path.name)[0]) for path in into.iterdir()} == {"old", "new", "pure"}
    with pytest.raises(StageError, match=r"manylinux2014_x86_64, CPython 3\.11.*missing"):
        download((Pinned(name="missing", version="9"),), target, tmp_path / "none")


def test_a_lock_has_hashes_of_all_or_of_none() -> None:
    pinned = (Pinned(name="pure", version="3.0"), OWN)
    own = (WHEEL_NAME, b"own")
    assert "--hash" not in lock(pinned, [own])
    held = lock(pinned, [own, ("pure-3.0-py3-none-any.whl", b"pure")])
    assert held.count("--hash=sha256:") == 2
    assert "./" not in held


@pytest.mark.parametrize(
    ("others", "options"),
    [
        ((Pinned(name="other", version="1.0"),), ["--find-links", "wheels"]),
        ((), ["--no-index", "--require-hashes", "--find-links", "wheels"]),
    ],
    ids=["from an index", "without one"],
)
def test_pip_takes_the_bundles_own_wheel_whatever_the_index_calls_by_its_name(
    others: tuple[Pinned, ...], options: list[str], tmp_path: Path
) -> None:
    index, wheels, site = tmp_path / "index" / "sottovoce", tmp_path / "wheels", tmp_path / "site"
    index.mkdir(parents=True)
    wheels.mkdir()
    _wheel(index, WHEEL_NAME)
    (index / "index.html").write_text(f'<a href="{WHEEL_NAME}">{WHEEL_NAME}</a>')
    (wheels / WHEEL_NAME).write_bytes(build_device_wheel())
    required = lock((OWN, *others), [(WHEEL_NAME, wheels / WHEEL_NAME)])
    (tmp_path / "requirements.txt").write_text(required.replace("other==1.0\n", ""))
    options_of_pip = [*options, "-i", index.parent.as_uri(), "-r", "requirements.txt"]
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--target",
            str(site),
            *options_of_pip,
        ],
        cwd=tmp_path,
        check=True,
    )
    assert (site / "sottovoce" / "cli" / "app.py").is_file()


def test_the_readme_says_how_to_install(opened: Path) -> None:
    readme = (opened / "README.md").read_text()
    assert "pip install -r requirements.txt\n" in readme
    assert f"./wheels/{WHEEL_NAME}\n" in (opened / "requirements.txt").read_text()
