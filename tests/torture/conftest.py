"""What is tortured: commands on a random tiny Whisper, or on a real one."""

from pathlib import Path

import pytest

from sottovoce.speech.synthetic import demo_speech
from tests.support.torture import Job, bundle_hash, float_files, transcripts

REAL = "tiny.en"


@pytest.fixture(scope="session")
def rounds(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--torture"))


@pytest.fixture(scope="session")
def is_real(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--torture-real"))


@pytest.fixture(scope="session")
def inputs(is_real: bool, request: pytest.FixtureRequest) -> tuple[str, str]:  # noqa: FBT001 - a fixture
    """Name a model and speech."""
    if is_real:
        return REAL, str(demo_speech())
    return str(request.getfixturevalue("tiny")), str(request.getfixturevalue("tones"))


@pytest.fixture(scope="session")
def optimize(inputs: tuple[str, str]) -> Job:
    model, speech = inputs
    return Job(arguments=("optimize", model, "--data", speech, "--set", "calibration.n_clips=4"))


@pytest.fixture(scope="session")
def search(inputs: tuple[str, str]) -> Job:
    model, speech = inputs
    few = ("--trials", "3", "--minutes", "600", "--max-wer-increase", "1000")
    return Job(
        arguments=("search", model, "--data", speech, "--set", "calibration.n_clips=2", *few),
        result=float_files,
    )


@pytest.fixture(scope="session")
def whole_run(optimize: Job, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("whole") / "run"
    assert optimize.run(run).code == 0
    return run


@pytest.fixture(scope="session")
def bundle(whole_run: Path) -> Job:
    return Job(arguments=("bundle", str(whole_run)), result=bundle_hash)


@pytest.fixture(scope="session")
def benchmark(whole_run: Path, inputs: tuple[str, str]) -> Job:
    return Job(
        arguments=("benchmark", str(whole_run), "--data", inputs[1], "--limit", "3", "--no-side-effects"),
        result=transcripts,
    )
