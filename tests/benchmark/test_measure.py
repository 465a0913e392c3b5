"""Measuring in processes: the order, clips that fail, processes that die."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from sottovoce.benchmark.assembly import summarize_noise
from sottovoce.benchmark.engines.transcription import TimedTranscript
from sottovoce.benchmark.plan import Plan
from sottovoce.benchmark.timing import measure as measure_module
from sottovoce.benchmark.timing import noise
from sottovoce.benchmark.timing.excluded import FailedPeers
from sottovoce.benchmark.timing.journal import Journal
from sottovoce.benchmark.timing.measure import Measurement, measure
from sottovoce.benchmark.timing.worker import ClipError, Worker
from sottovoce.errors import SpecError, StageError
from sottovoce.progress import Silent
from sottovoce.runtime.audio.decode import Wave
from tests.support.engines import FakeEngines, fake_precision
from tests.support.plans import engine_spec, latencies, tone_plan
from tests.support.tones import tone

pytestmark = pytest.mark.usefixtures("forked_workers")


def plan(*, passes: int, warm_up_clips: int = 0, timing: tuple[int, ...] | None = None) -> Plan:
    entries = [engine_spec("fp32"), engine_spec("int8")]
    return tone_plan(entries, passes=passes, warm_up_clips=warm_up_clips, timing=timing)


def run(make: FakeEngines, journal: Journal, chosen: Plan) -> Measurement:
    return measure(
        chosen,
        Silent(),
        failed=FailedPeers(Silent()),
        check=lambda *_: None,
        journal=journal,
        begun=journal.begin({"what": "tones"}, restart=False),
        make=make,
    )


def n_repeated(found: Measurement) -> int:
    return sum(block.repeats for block in found.blocks.values())


def test_a_benchmark_that_died_resumes_and_ends_with_the_same_figures(tmp_path: Path) -> None:
    chosen = plan(passes=2)
    broken = Journal(tmp_path / "broken")
    with pytest.raises(StageError, match="ended unexpectedly"):
        run(FakeEngines(dies_on={"int8": frozenset({48_000})}), broken, chosen)
    left = broken.begin({"what": "tones"}, restart=False)
    assert set(left) == {(0, "c0"), (0, "c1")}
    done = run(FakeEngines(factors={"int8": 99.0}), broken, chosen)
    whole = run(FakeEngines(), Journal(tmp_path / "whole"), chosen)
    assert done.blocks[0, "c0"].timed == whole.blocks[0, "c0"].timed
    assert latencies(done, "int8")["c2"][0] == pytest.approx(3 * 99)
    assert len(done.blocks) == len(whole.blocks) == 8


def test_only_clips_that_count_for_speed_are_in_every_pass(tmp_path: Path) -> None:
    chosen = plan(passes=3, warm_up_clips=1, timing=(1, 2))
    found = run(FakeEngines(), Journal(tmp_path / "journal"), chosen)
    assert [len(passes) for passes in latencies(found, "fp32").values()] == [1, 3, 3, 1]


def test_every_pass_has_new_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[str, int]] = []
    lengths_s: dict[int, list[float]] = {}

    class Watched(Worker):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]
            started.append((self.spec.name, self.pid))

        def transcribe(self, wave: Wave, language: str | None) -> TimedTranscript:
            lengths_s.setdefault(self.pid, []).append(len(wave) / 16_000)
            return super().transcribe(wave, language)

    monkeypatch.setattr(measure_module, "Worker", Watched)
    found = run(FakeEngines(), Journal(tmp_path / "journal"), plan(passes=3, warm_up_clips=1, timing=(1, 2)))
    assert [name for name, _ in started] == ["fp32", "int8"] * 3
    assert [lengths_s[pid] for name, pid in started if name == "int8"] == [
        [1.0, 1.0, 2.0, 3.0, 4.0],  # the first one warms up
        [1.0, 2.0, 3.0],
        [1.0, 2.0, 3.0],
    ]
    assert not any(psutil.pid_exists(pid) for _, pid in started)
    assert [len(entry.warm_up_s) for entry in found.entries] == [1, 1]


def test_a_disturbed_block_is_marked_and_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noise.Disturbance, "is_beyond", True)  # a test cannot wait for a disturbance
    found = run(FakeEngines(), Journal(tmp_path / "journal"), plan(passes=1))
    assert n_repeated(found) == 1
    assert [block.disturbance.is_beyond for block in found.blocks.values()] == [True] * 4


def test_a_clip_that_fails_once_is_kept_with_its_error(tmp_path: Path) -> None:
    make = FakeEngines(fails_on={"int8": frozenset({32_000})})
    found = run(make, Journal(tmp_path / "journal"), plan(passes=2))
    assert "c1" not in latencies(found, "int8")
    error = {"int8": "RuntimeError: cannot transcribe 32000 samples"}
    assert {(block.clip_id, *block.errors.items()) for block in found.blocks.values() if block.errors} == {
        ("c1", *error.items())
    }


def test_a_worker_survives_a_clip_that_fails_and_names_its_variant_when_it_dies() -> None:
    make = FakeEngines(
        factors={"int8": 0.5}, fails_on={"int8": frozenset({32_000})}, dies_on={"int8": frozenset({48_000})}
    )
    with Worker(engine_spec("int8"), make) as worker:
        loaded = worker.load()
        assert loaded.precision == fake_precision()
        assert loaded.load_s >= 0
        assert worker.transcribe(tone(1.0), "fr").text == "fr"
        with pytest.raises(ClipError, match=r"^RuntimeError: cannot transcribe 32000 samples$"):
            worker.transcribe(tone(2.0), "fr")
        assert worker.transcribe(tone(1.0), None).latency_s == 0.5
        assert worker.peak_rss_bytes() > 10 << 20
        with pytest.raises(StageError, match=r"the process of int8 ended unexpectedly \(exit code 3"):
            worker.transcribe(tone(3.0), "fr")


def test_an_unknown_engine_is_refused_with_a_suggestion() -> None:
    from sottovoce.benchmark.engines.registry import make_engine

    with pytest.raises(SpecError, match="did you mean optimum-intel"):
        make_engine(engine_spec("int8", engine="optimum-itnel"))


def test_the_less_disturbed_figures_of_a_block_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The repeat of c2 is less disturbed than its block; the repeat of c1 is more disturbed."""
    shares = iter([0.0, 0.2, 0.5, 0.0, 0.4, 0.1])

    def disturbed(*_: object) -> noise.Disturbance:
        return noise.Disturbance(cpu_s=10.0, steal_s=0.0, foreign_s=10.0 * next(shares))

    monkeypatch.setattr("sottovoce.benchmark.timing.pass_runner.between", disturbed)
    monkeypatch.setattr("sottovoce.benchmark.timing.pass_runner.MAX_REPEATED_SHARE", 0.5)
    found = run(FakeEngines(), Journal(tmp_path / "journal"), plan(passes=1))
    assert n_repeated(found) == 2
    assert [block.foreign_s for block in found.blocks.values()] == [0.0, 2.0, 1.0, 0.0]


def test_noise_is_that_of_the_clips_that_count_for_speed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noise.Disturbance, "is_beyond", True)
    chosen = plan(passes=2, timing=(1, 3))
    noise_found = summarize_noise(chosen, run(FakeEngines(), Journal(tmp_path / "journal"), chosen).blocks)
    assert noise_found is not None
    assert (noise_found.n_blocks, noise_found.n_marked) == (4, 4)


def test_a_block_repeated_before_an_interruption_is_not_repeated_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noise.Disturbance, "is_beyond", True)
    journal, chosen = Journal(tmp_path / "journal"), plan(passes=1)
    assert n_repeated(run(FakeEngines(), journal, chosen)) == 1
    assert n_repeated(run(FakeEngines(), journal, chosen)) == 1
    quiet = journal.begin({"what": "tones"}, restart=False)
    assert sum(record.repeats for record in quiet.values()) == 1


def test_clips_that_do_not_count_for_speed_are_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noise.Disturbance, "is_beyond", True)
    journal = Journal(tmp_path / "journal")
    run(FakeEngines(), journal, plan(passes=1, timing=(3,)))
    found = journal.begin({"what": "tones"}, restart=False)
    assert {record.clip_id for record in found.values() if record.repeats} == {"c3"}


def test_a_process_that_died_between_two_requests_is_named() -> None:
    with Worker(engine_spec("int8"), FakeEngines()) as worker:
        worker.load()
        os.kill(worker.pid, signal.SIGKILL)
        time.sleep(0.5)
        with pytest.raises(StageError, match="the process of int8 ended unexpectedly"):
            worker.peak_rss_bytes()


ORPHAN = """
import time
from pathlib import Path
from sottovoce.benchmark.engines.engine import EngineSpec
from sottovoce.benchmark.timing.worker import Worker
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.model.compute import ComputeSpec
from tests.support.engines import FakeEngines

worker = Worker(
    EngineSpec(engine="sottovoce", variant="int8", folder=Path("int8"), compute=ComputeSpec()), FakeEngines()
)
worker.wait_until_loaded()
print(worker.pid, flush=True)
time.sleep(600)
"""


def test_a_worker_ends_with_a_benchmark_that_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ORPHAN], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        worker = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        _, alive = psutil.wait_procs([worker], timeout=10)
        assert alive == []
        assert "Traceback" not in parent.communicate()[1]
