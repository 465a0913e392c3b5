"""A plain `pip install .` with the newest versions of all dependencies, without the packages of developers.

An environment of its own: `make check-plain-install`.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
import typer

from sottovoce import __version__
from sottovoce.cli.app import app
from sottovoce.optimize.openvino.export import TorchWhisper, export_fp32
from sottovoce.terms import Layout
from tests.support.hostile_audio import HOSTILE_AUDIO
from tests.support.tones import write_tone_set

ROOT = Path(__file__).parents[1]
COMMANDS: dict[str, Any] = vars(typer.main.get_command(app))["commands"]

pytestmark = pytest.mark.plain

Sottovoce = Callable[..., "subprocess.CompletedProcess[str]"]


def newest_python() -> str | None:
    """Return the newest Python here that this one is not: on the path, or one of pyenv's. Some libraries stop releasing for old ones."""
    on_path = [found for minor in range(14, 11, -1) if (found := shutil.which(f"python3.{minor}"))]
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob("versions/3.*/bin/python3")
    versions = {python: version_of(python) for python in [*on_path, *map(str, kept)]}
    newer = {python: version for python, version in versions.items() if version > sys.version_info[:2]}
    return max(newer, key=newer.__getitem__, default=None)


def version_of(python: str) -> tuple[int, ...]:
    """Return the version of an interpreter; none where it does not start, as those of pyenv that are not chosen."""
    answer = subprocess.run([python, "-V"], capture_output=True, text=True, check=False)
    match = re.match(r"Python (\d+)\.(\d+)", answer.stdout)
    return () if answer.returncode or match is None else tuple(map(int, match.groups()))


@pytest.fixture(scope="module", params=["this Python", "the newest Python"])
def environment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    python = sys.executable if request.param == "this Python" else newest_python()
    if python is None:
        pytest.skip("no newer Python than this one is installed")
    folder = tmp_path_factory.mktemp("plain") / "environment"
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", str(ROOT)], check=True)
    return folder


@pytest.fixture(scope="module")
def sottovoce(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Sottovoce:
    ours = ("PYTHON", "SOTTOVOCE")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    elsewhere = tmp_path_factory.mktemp("elsewhere")

    def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [environment / "bin" / "sottovoce", *map(str, arguments)],
            cwd=elsewhere,
            env={**inherited, "COLUMNS": "500"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


def test_it_installs_what_fits_together_and_no_torch(environment: Path) -> None:
    pip = [str(environment / "bin" / "python"), "-m", "pip"]
    checked = subprocess.run([*pip, "check"], capture_output=True, text=True, check=False, timeout=60)
    assert checked.returncode == 0, checked.stdout
    listed = subprocess.run([*pip, "freeze"], capture_output=True, text=True, check=True, timeout=60).stdout
    assert "openvino==" in listed
    assert not {"torch", "transformers", "pytest"} & {line.partition("==")[0] for line in listed.splitlines()}


def test_the_version_is_printed(sottovoce: Sottovoce) -> None:
    assert sottovoce("--version").stdout == f"sottovoce {__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_explains_every_argument_and_option(sottovoce: Sottovoce, command: str) -> None:
    shown = sottovoce(command, "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    for parameter in COMMANDS[command].params:
        if not parameter.hidden:
            assert parameter.help.split("`")[0] in shown.stdout, parameter.name


def test_no_arguments_show_the_help(sottovoce: Sottovoce) -> None:
    shown = sottovoce()
    assert (shown.returncode, shown.stderr) == (0, "")
    assert all(command in shown.stdout for command in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("transcribe", "'MODEL'"),
        ("transcribe model", "'FILE...'"),
        ("transcribe model a.wav --format doc", "'doc' is not one of 'txt', 'srt', 'vtt', 'json', 'tsv'"),
        ("transcribe model a.wav --beam-size many", "'--beam-size'"),
        ("transcribe model a.wav --beam-size 17", "'--beam-size'"),
        ("transcribe model a.wav --langage de", "--language"),
        ("transcribe model a.wav --language", "'--language' requires an argument"),
        ("inspect a b", "unexpected extra argument"),
        ("optimize tiny.en", "'--out'"),
        ("transcibe model a.wav", "'transcribe'"),
        ("--loud inspect x", "--loud"),
        ("-q", "Missing command"),
    ],
)
def test_a_usage_error_is_one_line_and_exit_code_2(sottovoce: Sottovoce, arguments: str, named: str) -> None:
    ended = sottovoce(*arguments.split())
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: ")
    assert named in line
    assert "--help`)" in line
    assert "report it" not in line


def test_a_missing_run_is_one_line_and_exit_code_1(sottovoce: Sottovoce) -> None:
    ended = sottovoce("inspect", "nowhere", "--quiet")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("error: nowhere does not exist")
    assert len(ended.stderr.splitlines()) == 1


@pytest.fixture(scope="module")
def variant(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("variant") / "fp32"
    export_fp32(TorchWhisper(tiny), Layout.STATEFUL, folder)
    return folder


def test_audio_is_transcribed(sottovoce: Sottovoce, variant: Path, tmp_path: Path) -> None:
    write_tone_set(tmp_path / "speech", n_clips=1, duration_s=1.0)
    (clip,) = tmp_path.rglob("*.wav")
    ended = sottovoce("transcribe", variant, clip, "--language", "en", "--no-vad-filter", "-q")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.strip()
    encoded = clip.with_suffix(".flac")
    soundfile.write(encoded, *soundfile.read(clip))
    other = sottovoce("transcribe", variant, encoded, "--language", "en", "--no-vad-filter", "-q")
    assert (other.returncode, other.stderr, other.stdout) == (0, "", ended.stdout)


def test_files_that_lie_are_refused_in_a_line_each(
    sottovoce: Sottovoce, variant: Path, tmp_path: Path
) -> None:
    """FFmpeg's newest version treats them in its own way: one of a WAV without channels crashed the process."""
    for name, write in HOSTILE_AUDIO.items():
        write(tmp_path / name)
    ended = sottovoce("transcribe", variant, *sorted(tmp_path.iterdir()), "--language", "en", "-q")
    assert ended.returncode == 1
    assert all(line.startswith("error: ") and "unexpected" not in line for line in ended.stderr.splitlines())
    assert "wav-no-channels.wav" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        ("optimize base --data speech.jsonl --out run", "all"),
        ("search base --data speech.jsonl --out run", "all"),
        ("calibrate run --data speech.jsonl", "all"),
        ("quantize run", "all"),
        ("sensitivity run --data speech.jsonl", "all"),
        ("heal run --data speech.jsonl", "all"),
        ("qat run --data speech.jsonl", "all"),
        ("finetune base --data speech.jsonl --out tuned", "all"),
        ("distil base --data speech.jsonl --out student", "all"),
        ("demo", "all"),
        ("report results", "benchmark"),
        ("history", "benchmark"),
    ],
)
def test_a_command_that_needs_more_names_the_extra(sottovoce: Sottovoce, arguments: str, extra: str) -> None:
    ended = sottovoce(*arguments.split())
    (line,) = ended.stderr.splitlines()
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "unexpected" not in line
    assert line.endswith(f'Run: pip install "sottovoce[{extra}]"')
