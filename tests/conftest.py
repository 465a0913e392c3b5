"""A tiny Whisper, made into a run once for all tests."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from tests.characterization.frozen import Golden
from tests.support.checkpoints import tiny_checkpoint
from tests.support.once import make_once
from tests.support.tones import write_tone_set

settings.register_profile("sottovoce", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("sottovoce")


WHOLE = ("tests/integration/", "tests/serve/", "tests/bundle/", "tests/reports/")
"""Folders whose tests share what takes long to make: runs of a real checkpoint, servers, bundles, a browser."""


class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Sends the tests of a file to one process, and those of the folders `WHOLE`, which come first.

    xdist's own `--dist loadgroup` does not group under pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((start for start in WHOLE if file.startswith(start)), file)

    def _assign_work_unit(self, node: WorkerController) -> None:
        first = next((start for start in WHOLE if start in self.workqueue), next(iter(self.workqueue)))
        self.workqueue.move_to_end(first, last=False)
        super()._assign_work_unit(node)


def pytest_configure() -> None:
    """Prepare the environment of the commands that tests start.

    They import `tests.support`, and Ctrl-C ends them although a shell that runs the tests in the background ignores it.
    Threads of OpenMP sleep while they wait: they would take the cores from the tests of other processes.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("KMP_BLOCKTIME", "0")
    paths = (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", ""))
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    os.environ["PYTHONFAULTHANDLER"] = "1"  # a command that crashes in a library says where
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return ByFile(config, log)


@pytest.fixture(scope="session")
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(accepts=request.config.getoption("--accept"))


@pytest.fixture(scope="session", autouse=True)
def _no_history() -> Iterator[None]:
    """Keep what tests measure out of the user's history."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOTTOVOCE_HISTORY", "")
        yield


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--accept", action="store_true", help="rewrite golden files with what is found")
    parser.addoption("--large", action="store_true", help="run the tests that take minutes and gigabytes")
    parser.addoption(
        "--plain", action="store_true", help="run the tests of an install without pinned versions"
    )
    parser.addoption(
        "--torture", type=int, default=0, metavar="ROUNDS", help="run tests/torture so many times"
    )
    parser.addoption(
        "--torture-real", action="store_true", help="torture whisper-tiny.en, not a random model"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    large = pytest.mark.skip(reason="takes minutes and gigabytes; runs with --large")
    plain = pytest.mark.skip(reason="needs a package index; runs with --plain (make check-plain-install)")
    torture = pytest.mark.skip(reason="takes minutes to hours; runs with --torture ROUNDS")
    for item in items:
        if item.get_closest_marker("large") is not None and not config.getoption("--large"):
            item.add_marker(large)
        if item.get_closest_marker("plain") is not None and not config.getoption("--plain"):
            item.add_marker(plain)
        if item.path.parent.name == "torture" and not config.getoption("--torture"):
            item.add_marker(torture)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hold a multilingual checkpoint with 80 mel bins and two decoder layers. Not to be changed."""
    folder = make_once(tmp_path_factory, "checkpoints", lambda folder: tiny_checkpoint(folder / "tiny"))
    return folder / "tiny"


@pytest.fixture(scope="session")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Name the manifest of eight tones, half for calibration. Not to be changed."""
    folder = make_once(
        tmp_path_factory, "speech", lambda folder: write_tone_set(folder, n_clips=8, duration_s=3.0)
    )
    return folder / "manifest.jsonl"


@pytest.fixture(scope="session")
def tiny_run(tiny: Path, tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hold a run of the recipe int8: fp32, fp16, fp32-stateful, int8 and the record. Not to be changed."""
    from sottovoce.optimize.pipeline import optimize
    from sottovoce.optimize.plan import plan
    from sottovoce.progress import Silent
    from sottovoce.recipes.load import load_recipe
    from sottovoce.speech.sets import read_speech

    def make(folder: Path) -> None:
        planned = plan(
            str(tiny), load_recipe("int8"), read_speech(str(tones)), folder / "tiny-int8", force=False
        )
        optimize(planned, force=False, reporter=Silent())

    return make_once(tmp_path_factory, "runs", make) / "tiny-int8"


@pytest.fixture(scope="session")
def baseline(tiny_run: Path) -> Path:
    """Hold the stateless float32 variant. Not to be changed."""
    return tiny_run / "fp32"


@pytest.fixture(scope="session")
def record(tiny_run: Path) -> Path:
    """Hold the calibration record of the run. Not to be changed."""
    return tiny_run / "calibration"


@pytest.fixture(scope="session")
def tiny_onnx(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hold the checkpoint in ONNX, float32, both decoders merged as well. Not to be changed."""
    from sottovoce.optimize.onnx.export import export_onnx
    from sottovoce.optimize.openvino.export import TorchWhisper
    from sottovoce.progress import Silent

    def make(folder: Path) -> None:
        export_onnx(TorchWhisper(tiny), folder, Silent(), merged=True)

    return make_once(tmp_path_factory, "onnx-fp32", make)
