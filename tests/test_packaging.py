"""What is in the wheel and in the sdist: built as pip would build them, without a network."""

import subprocess
import sys
import tarfile
import zipfile
from configparser import ConfigParser
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STAGES = (
    "benchmark",
    "bundle",
    "calibrate",
    "configs",
    "optimize",
    "reports",
    "runtime",
    "serve",
    "speech",
    "train",
)
NEEDED = (
    "py.typed",
    "configs/int8.yaml",
    "reports/templates/report.html.j2",
    "reports/templates/macros.html.j2",
    "reports/templates/explorer.html.j2",
    "reports/templates/report.css",
    "reports/templates/report.js",
    "serve/page/static/index.html",
    "serve/page/static/logic/transcript.js",
    "speech/demo_speech/manifest.jsonl",
)
EXTRAS = {
    "all",
    "benchmark",
    "bundle",
    "cluster",
    "ct2",
    "datasets",
    "gradio",
    "live",
    "models",
    "onnx",
    "optimize",
    "peers",
    "search",
    "serve",
    "signing",
    "train",
}


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, "sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def direct_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def wheel_of_sdist(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked)  # noqa: S202 - an sdist of our own, made a moment ago
    return build(next(unpacked.iterdir()), "wheel", tmp_path_factory.mktemp("wheel-of-sdist"))


def build(root: Path, target: str, into: Path) -> Path:
    if not (root / "pyproject.toml").is_file():
        pytest.skip("the source tree is not here")
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(into)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return next(into.iterdir())


def files_of(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


def metadata_of(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(name))


def sources() -> set[str]:
    """Name the modules and data files that the source tree says are part of the package."""
    modules = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src/sottovoce").glob("*.py")}
    of_stages = {
        f"sottovoce/{path.relative_to(ROOT).as_posix()}"
        for stage in STAGES
        for path in (ROOT / stage).rglob("*.py")
    }
    clips = {
        f"sottovoce/{path.relative_to(ROOT).as_posix()}"
        for path in (ROOT / "speech/demo_speech").rglob("*.flac")
    }
    return modules | of_stages | clips | {f"sottovoce/{name}" for name in NEEDED}


def test_the_wheel_holds_every_module_recipe_template_and_demo_clip(direct_wheel: Path) -> None:
    assert sources() - files_of(direct_wheel) == set()


def test_the_wheel_made_of_the_sdist_is_the_wheel_made_of_the_tree(
    direct_wheel: Path, wheel_of_sdist: Path
) -> None:
    assert files_of(wheel_of_sdist) == files_of(direct_wheel)


def test_the_wheel_holds_nothing_outside_the_package(direct_wheel: Path) -> None:
    assert {name.split("/")[0].partition("-")[0] for name in files_of(direct_wheel)} == {"sottovoce"}
    assert {name.split("/")[0] for name in files_of(direct_wheel)} == {
        "sottovoce",
        f"sottovoce-{metadata_of(direct_wheel)['Version']}.dist-info",
    }


def test_the_wheel_holds_no_tests_caches_or_weights(direct_wheel: Path) -> None:
    unwanted = ("/tests/", "__pycache__", ".pyc", ".safetensors", ".bin", "/.")
    assert [name for name in files_of(direct_wheel) if any(part in f"/{name}" for part in unwanted)] == []


def test_the_sdist_holds_the_tests_and_what_pyproject_names(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "tests/test_packaging.py"} <= names


def test_the_wheel_says_what_it_is(direct_wheel: Path) -> None:
    metadata = metadata_of(direct_wheel)
    assert metadata["Name"] == "sottovoce"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert set(metadata.get_all("Provides-Extra", [])) == EXTRAS


def test_the_wheel_installs_the_command(direct_wheel: Path) -> None:
    with zipfile.ZipFile(direct_wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith("entry_points.txt"))
        entries = ConfigParser()
        entries.read_string(archive.read(name).decode())
    assert dict(entries["console_scripts"]) == {"sottovoce": "sottovoce.__main__:main"}


def test_a_device_installs_neither_torch_nor_transformers(direct_wheel: Path) -> None:
    always = [
        need for need in metadata_of(direct_wheel).get_all("Requires-Dist", []) if "extra ==" not in need
    ]
    assert [need for need in always if need.startswith(("torch", "transformers", "optimum", "nncf"))] == []


@pytest.mark.parametrize("goal", ["demo", "test"])
def test_the_cpu_build_of_torch_is_installed_without_packages_of_cuda(goal: str, tmp_path: Path) -> None:
    index = "https://torch.invalid/cpu"
    planned = subprocess.run(
        ["make", "-n", goal, f"VENV={tmp_path}", f"TORCH_INDEX={index}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (selected,) = (line for line in planned.splitlines() if line.startswith("awk "))
    subprocess.run(["bash", "-c", selected], cwd=ROOT, check=True)
    pinned = (ROOT / f"requirements/{'dev' if goal == 'test' else goal}.txt").read_text(encoding="utf-8")
    dropped = requirements(pinned) - requirements((tmp_path / "requirements.txt").read_text(encoding="utf-8"))
    assert {"torch", "torchvision", "triton", "nvidia-cublas", "cuda-toolkit"} <= dropped
    assert all(name.startswith(("torch", "triton", "nvidia-", "cuda-")) for name in dropped)
    assert f"--default-index {index} $(grep" in planned


def requirements(text: str) -> set[str]:
    """Name the packages of a file of pinned requirements."""
    return {line.partition("==")[0] for line in text.splitlines() if "==" in line and line[0].isalpha()}
