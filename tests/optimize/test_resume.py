"""An interrupted `optimize` resumes, and ends with the same files."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sottovoce.errors import InputError, OutputExistsError
from sottovoce.optimize.pipeline import optimize
from sottovoce.optimize.plan import RunPlan, plan, settings_of
from sottovoce.progress import Advance
from sottovoce.recipes.load import load_recipe
from sottovoce.runs import read_run
from sottovoce.speech.sets import read_speech
from sottovoce.storage.artifacts import created_now
from sottovoce.storage.resumable import ResumableFolder, resumable_path
from tests.support.torture import left_over, model_files

TIMEOUT_S = 300.0


class Recorder:
    """Keeps steps and notes, and presses Ctrl-C at a step."""

    def __init__(self, stop_at: str | None = None) -> None:
        self.steps: list[str] = []
        self.notes: list[str] = []
        self._stop_at = stop_at

    def note(self, text: str) -> None:
        self.notes.append(text)

    @contextmanager
    def progress(self, what: str, total: int | None) -> Iterator[Advance]:  # noqa: ARG002 - not shown
        if what == self._stop_at:
            raise KeyboardInterrupt
        self.steps.append(what)
        yield lambda: None


@pytest.fixture
def planned(tiny: Path, tones: Path, tmp_path: Path) -> RunPlan:
    return make_plan(tiny, tones, tmp_path / "run")


def make_plan(tiny: Path, tones: Path, out: Path, *overrides: str) -> RunPlan:
    return plan(str(tiny), load_recipe("int8", overrides), read_speech(str(tones)), out, force=False)


def interrupt(planned: RunPlan, step: str) -> Recorder:
    recorder = Recorder(step)
    with pytest.raises(KeyboardInterrupt):
        optimize(planned, force=False, reporter=recorder)
    return recorder


def test_finished_steps_are_not_repeated_and_the_files_are_the_same(planned: RunPlan, tiny_run: Path) -> None:
    interrupt(planned, "parity of fp32-stateful with PyTorch")
    second = interrupt(planned, "quantize decoder_with_past")
    assert "export fp32" not in second.steps
    assert "export fp32-stateful" in second.steps
    assert left_over(planned.out) == ["run.unfinished"]
    last = Recorder()
    optimize(planned, force=False, reporter=last)
    assert last.steps == ["quantize decoder_with_past"]
    assert "finished so far: calibration, fp16, fp32, fp32-stateful" in last.notes[0]
    assert model_files(planned.out) == model_files(tiny_run)
    assert left_over(planned.out) == []


@pytest.mark.large
def test_a_record_of_few_transcripts_is_not_made_twice(tiny: Path, tones: Path, tmp_path: Path) -> None:
    recipe = load_recipe("int8-fast", ["calibration.n_transcribed_clips=1"])
    planned = plan(str(tiny), recipe, read_speech(str(tones)), tmp_path / "run", force=False)
    interrupt(planned, "quantize encoder")
    last = Recorder()
    made = optimize(planned, force=False, reporter=last)
    assert "record" not in last.steps
    assert made.calibration is not None
    assert made.calibration.facts["n_transcribed_clips"] == 1


def test_an_interruption_before_the_first_step_ended_leaves_nothing(planned: RunPlan) -> None:
    interrupt(planned, "parity of fp32 with PyTorch")
    assert list(planned.out.parent.iterdir()) == []


def test_other_settings_are_refused_until_a_restart(planned: RunPlan, tiny: Path, tones: Path) -> None:
    unfinished = ResumableFolder(resumable_path(planned.out), "run")
    unfinished.begin(settings_of(planned), restart=False)
    other = make_plan(tiny, tones, planned.out, "calibration.n_clips=2")
    with pytest.raises(InputError, match=r"unfinished run with other settings \(recipe: .*--restart"):
        optimize(other, force=False, reporter=Recorder())
    with pytest.raises(KeyboardInterrupt):
        optimize(other, force=False, reporter=Recorder("export fp32"), restart=True)
    assert list(planned.out.parent.iterdir()) == []


def test_a_run_that_was_complete_when_its_process_was_killed_is_used(
    tiny_run: Path, tiny: Path, tones: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(tiny_run, tmp_path / tiny_run.name))
    with pytest.raises(OutputExistsError):
        make_plan(tiny, tones, out)
    resumable_path(out).mkdir()
    planned = make_plan(tiny, tones, out)
    resumable_path(out).rmdir()
    ResumableFolder(resumable_path(out), "run").begin(settings_of(planned), restart=False)
    recorder = Recorder()
    assert optimize(planned, force=False, reporter=recorder).manifest == read_run(out).manifest
    assert recorder.steps == []
    assert recorder.notes == [f"{out} was finished by an earlier command of the same settings"]
    assert not resumable_path(out).exists()


@pytest.mark.parametrize("left", [".{}.unfinished.gone", ".{}.lock"])
def test_a_kill_during_the_cleanup_is_repaired(
    left: str, tiny_run: Path, tiny: Path, tones: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(tiny_run, tmp_path / tiny_run.name))
    debris = out.with_name(left.format(out.name))
    debris.mkdir() if left.endswith("gone") else debris.touch()
    recorder = Recorder()
    optimize(make_plan(tiny, tones, out), force=False, reporter=recorder)
    assert recorder.steps == []
    assert not debris.exists()


def start(tiny: Path, tones: Path, out: Path) -> "subprocess.Popen[str]":
    arguments = ("optimize", str(tiny), "--recipe", "int8", "--data", str(tones), "--out", str(out))
    return subprocess.Popen(
        [sys.executable, "-m", "sottovoce", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "SOTTOVOCE_HISTORY": ""},
    )


def wait_until(condition: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_kill_costs_the_step_in_flight_only(
    tiny: Path, tones: Path, tiny_run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    process = start(tiny, tones, out)
    wait_until((resumable_path(out) / "run" / "fp32" / "manifest.json").exists, process)
    process.kill()
    process.communicate()
    recorder = Recorder()
    optimize(make_plan(tiny, tones, out), force=False, reporter=recorder)
    assert "export fp32" not in recorder.steps
    assert model_files(out) == model_files(tiny_run)
    assert left_over(out) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_soon_in_one_line(
    number: signal.Signals, code: int, tiny: Path, tones: Path, tmp_path: Path
) -> None:
    process = start(tiny, tones, tmp_path / "run")
    wait_until(lambda: resumable_path(tmp_path / "run").exists(), process)
    process.send_signal(number)
    error = process.communicate(timeout=20)[1]
    assert process.returncode == code
    assert error.splitlines()[-1].endswith("; nothing was half-written")
    assert "Traceback" not in error
    assert not (tmp_path / "run").exists()


def test_a_manifest_takes_its_time_from_source_date_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert created_now() == datetime(1970, 1, 2, tzinfo=UTC)
