"""A new engine takes one class and one line in the registry: it is chosen, measured, started cold and listed."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sottovoce.benchmark.engines.engine import Engine
from sottovoce.benchmark.engines.registry import ENGINES
from sottovoce.benchmark.engines.transcription import TimedTranscript
from sottovoce.benchmark.entries import find_absent
from sottovoce.benchmark.run import benchmark
from sottovoce.benchmark.schema.precision import Precision
from sottovoce.benchmark.schema.results import read_results
from sottovoce.benchmark.spec import BenchmarkSpec
from sottovoce.errors import SpecError
from sottovoce.progress import Silent
from sottovoce.runs import read_run
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.speech.sets import read_speech
from sottovoce.terms import Stage
from tests.support.tones import write_tone_set

TEXT = "the harbor lights went out"


class ParrotEngine(Engine):
    """Says the same of every clip."""

    name = "parrot"
    help = "says the same of every clip"
    modules = ("json",)
    extra = "peers"

    def __init__(self, folder: Path, compute: ComputeSpec) -> None:
        assert folder.is_dir()
        self._threads = compute.threads

    def transcribe(self, wave: Wave, language: str | None) -> TimedTranscript:  # noqa: ARG002 - deaf
        return TimedTranscript(
            text=TEXT, n_tokens=5, latency_s=0.25, stage_s={Stage.OTHER: 0.25}, calls={Stage.OTHER: 1}
        )

    def precision(self) -> Precision:
        return Precision(label="feathers", components={}, threads=self._threads, streams=1)


HELP = f"""
from sottovoce.benchmark.engines.registry import ENGINES
from {__name__} import ParrotEngine
ENGINES.append(ParrotEngine)
from sottovoce.cli.app import app
app(["benchmark", "--help"])
"""


@pytest.fixture
def _parrot() -> Iterator[None]:
    ENGINES.append(ParrotEngine)
    yield
    ENGINES.remove(ParrotEngine)


@pytest.mark.usefixtures("_parrot")
def test_a_new_engine_is_measured_started_cold_and_compared(tiny_run: Path, tmp_path: Path) -> None:
    speech = read_speech(str(write_tone_set(tmp_path / "speech", n_clips=2, splits=())))
    spec = BenchmarkSpec(
        engines=("sottovoce", "parrot"), passes=1, warm_up_clips=0, cold_starts=1, threads=1, audio=False
    )
    out = tmp_path / "results"
    results = benchmark(read_run(tiny_run), speech, spec, out, force=False, reporter=Silent())
    parrot = results.variant("parrot:int8")
    assert parrot.engine == "parrot"
    assert (parrot.latency_s.p50, parrot.precision.label, parrot.precision.threads) == (0.25, "feathers", 1)
    assert parrot.size_bytes == results.variant("int8").size_bytes
    assert parrot.cold_start is not None
    assert parrot.cold_start.median_s > 0.05
    assert [(peer.subject, peer.peer) for peer in results.peers] == [("int8", "parrot:int8")]
    assert {row.hypothesis for row in read_results(out)[1] if row.variant == "parrot:int8"} == {TEXT}


@pytest.mark.usefixtures("_parrot")
def test_the_error_about_an_unknown_engine_names_a_new_one() -> None:
    with pytest.raises(SpecError, match=r"did you mean parrot\? .*torch-dynamic, parrot\)"):
        find_absent(["parot"])


def test_help_lists_a_new_engine() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HELP], capture_output=True, text=True, check=True, timeout=60
    )
    assert "parrot: says the same of every clip" in done.stdout
