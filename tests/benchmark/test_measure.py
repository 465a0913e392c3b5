"""Measuring in processes of their own: the order, clips that fail, processes that die."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from sottovoce.benchmark.engines.engine import DEFAULT_ENGINE, EngineSpec, Timed
from sottovoce.benchmark.timing import measure as measure_module
from sottovoce.benchmark.timing import noise
from sottovoce.benchmark.timing.journal import Journal
from sottovoce.benchmark.timing.measure import Measurement, MeasureSpec, measure
from sottovoce.benchmark.timing.worker import ClipError, Worker
from sottovoce.errors import SpecError, StageError
from sottovoce.progress import Silent
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.speech.clips import Clip
from sottovoce.speech.loading import LoadedClip
from tests.support.engines import FakeEngines, fake_precision
from tests.support.tones import tone


def spec(variant: str, engine: str = DEFAULT_ENGINE) -> EngineSpec:
    return EngineSpec(engine=engine, variant=variant, folder=Path(variant), compute=ComputeSpec())


def clips(*seconds: float) -> tuple[LoadedClip, ...]:
    return tuple(
        LoadedClip(clip=Clip(clip_id=f"c{place}", audio=b"", text="one", language="en"), wave=tone(length_s))
        for place, length_s in enumerate(seconds)
    )


def run(make: FakeEngines, journal: Journal, asked: MeasureSpec, *, anew: bool = False) -> Measurement:
    begun = journal.begin({"what": "tones"}, anew=anew)
    return measure(
        [spec("fp32"), spec("int8")],
        clips(1.0, 2.0, 3.0, 4.0),
        asked,
        Silent(),
        check=lambda *_: None,
        journal=journal,
        begun=begun,
        make=make,
    )


def test_a_benchmark_that_died_goes_on_and_ends_with_the_same_figures(tmp_path: Path) -> None:
    asked = MeasureSpec(passes=2, warm_up_clips=0)
    broken = Journal(tmp_path / "broken")
    with pytest.raises(StageError, match="ended unexpectedly"):
        run(FakeEngines(dies_on={"int8": frozenset({48_000})}), broken, asked)
    left = broken.begin({"what": "tones"}, anew=False)
    assert set(left) == {(0, "c0"), (0, "c1")}
    done = run(FakeEngines(factors={"int8": 99.0}), broken, asked)
    whole = run(FakeEngines(), Journal(tmp_path / "whole"), asked)
    first, again = done.entries[1].clips, whole.entries[1].clips
    assert first[0].passes[0] == again[0].passes[0]
    assert first[2].passes[0].latency_s == pytest.approx(3 * 99)
    assert len(done.disturbances) == len(whole.disturbances) == 8


def test_only_clips_that_count_for_speed_are_heard_in_every_pass(tmp_path: Path) -> None:
    asked = MeasureSpec(passes=3, warm_up_clips=1, timing=(1, 2))
    found = run(FakeEngines(), Journal(tmp_path / "journal"), asked)
    assert [len(clip.passes) for clip in found.entries[0].clips] == [1, 3, 3, 1]


def test_every_pass_has_processes_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[str, int]] = []
    heard: dict[int, list[float]] = {}

    class Watched(Worker):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]
            started.append((self.spec.name, self.pid))

        def transcribe(self, wave: Wave, language: str | None) -> Timed:
            heard.setdefault(self.pid, []).append(len(wave) / 16_000)
            return super().transcribe(wave, language)

    monkeypatch.setattr(measure_module, "Worker", Watched)
    asked = MeasureSpec(passes=3, warm_up_clips=1, timing=(1, 2))
    found = run(FakeEngines(), Journal(tmp_path / "journal"), asked)
    assert [name for name, _ in started] == ["fp32", "int8"] * 3
    assert [heard[pid] for name, pid in started if name == "int8"] == [
        [1.0, 1.0, 2.0, 3.0, 4.0],  # the first one warms up
        [1.0, 2.0, 3.0],
        [1.0, 2.0, 3.0],
    ]
    assert not any(psutil.pid_exists(pid) for _, pid in started)
    assert [len(entry.warm_up_s) for entry in found.entries] == [1, 1]


def test_a_disturbed_block_is_marked_and_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        noise.Disturbance, "is_beyond", True
    )  # the machine is quieter than a test can wait for
    found = run(FakeEngines(), Journal(tmp_path / "journal"), MeasureSpec(passes=1, warm_up_clips=0))
    assert found.n_repeated == 1
    assert [clip.disturbed for clip in found.entries[0].clips] == [(True,)] * 4


def test_a_clip_that_fails_once_is_kept_with_its_error(tmp_path: Path) -> None:
    make = FakeEngines(fails_on={"int8": frozenset({32_000})})
    found = run(make, Journal(tmp_path / "journal"), MeasureSpec(passes=2, warm_up_clips=0))
    failed = found.entries[1].clips[1]
    assert failed.passes == ()
    assert failed.error == "RuntimeError: cannot transcribe 32000 samples"
    assert all(clip.error is None for clip in found.entries[0].clips)


def test_a_worker_keeps_on_after_a_clip_that_fails_and_names_its_variant_when_it_dies() -> None:
    make = FakeEngines(
        factors={"int8": 0.5}, fails_on={"int8": frozenset({32_000})}, dies_on={"int8": frozenset({48_000})}
    )
    with Worker(spec("int8"), make) as worker:
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


def test_an_unknown_engine_is_named_with_those_there_are() -> None:
    from sottovoce.benchmark.engines.registry import make_engine

    with pytest.raises(SpecError, match="did you mean optimum-intel"):
        make_engine(spec("int8", engine="optimum-itnel"))


def test_of_a_disturbed_block_the_quieter_figures_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The block of c2 is disturbed, its repeat less so; that of c1 is disturbed, its repeat more."""
    shares = iter([0.0, 0.2, 0.5, 0.0, 0.4, 0.1])

    def disturbed(*_: object) -> noise.Disturbance:
        return noise.Disturbance(cpu_s=10.0, steal_s=0.0, foreign_s=10.0 * next(shares))

    monkeypatch.setattr("sottovoce.benchmark.timing.pass_runner.between", disturbed)
    monkeypatch.setattr("sottovoce.benchmark.timing.pass_runner.MAX_REPEATED_SHARE", 0.5)
    found = run(FakeEngines(), Journal(tmp_path / "journal"), MeasureSpec(passes=1, warm_up_clips=0))
    assert found.n_repeated == 2
    assert [each.foreign_s for each in found.disturbances] == [0.0, 2.0, 1.0, 0.0]


def test_noise_is_told_of_the_clips_that_count_for_speed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noise.Disturbance, "is_beyond", True)
    asked = MeasureSpec(passes=2, warm_up_clips=0, timing=(1, 3))
    found = run(FakeEngines(), Journal(tmp_path / "journal"), asked)
    assert len(found.disturbances) == 4


def test_what_was_repeated_before_an_interruption_is_not_repeated_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noise.Disturbance, "is_beyond", True)
    journal, asked = Journal(tmp_path / "journal"), MeasureSpec(passes=1, warm_up_clips=0)
    assert run(FakeEngines(), journal, asked).n_repeated == 1
    assert run(FakeEngines(), journal, asked).n_repeated == 1
    quiet = journal.begin({"what": "tones"}, anew=False)
    assert sum(record.repeats for record in quiet.values()) == 1


def test_clips_that_do_not_count_for_speed_are_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noise.Disturbance, "is_beyond", True)
    journal = Journal(tmp_path / "journal")
    run(FakeEngines(), journal, MeasureSpec(passes=1, warm_up_clips=0, timing=(3,)))
    found = journal.begin({"what": "tones"}, anew=False)
    assert {record.clip_id for record in found.values() if record.repeats} == {"c3"}


def test_a_process_that_died_between_two_questions_is_named() -> None:
    with Worker(spec("int8"), FakeEngines()) as worker:
        worker.load()
        os.kill(worker.pid, signal.SIGKILL)
        time.sleep(0.5)
        with pytest.raises(StageError, match="the process of int8 ended unexpectedly"):
            worker.peak_rss_bytes()


def test_a_cold_start_takes_a_clip_that_every_entry_transcribed(tmp_path: Path) -> None:
    make = FakeEngines(fails_on={"int8": frozenset({16_000})})
    found = run(make, Journal(tmp_path / "journal"), MeasureSpec(passes=1, warm_up_clips=0, cold_starts=1))
    assert [entry.cold_runs[0].text for entry in found.entries] == ["en en", "en en"]


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
