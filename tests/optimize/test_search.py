"""The search from its command line on the tiny model: found, killed, resumed, spread over workers."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from sottovoce.optimize.search.report import SearchReport
from sottovoce.recipes.load import load_recipe
from sottovoce.runs import read_run
from sottovoce.runtime.loading import load
from sottovoce.storage.artifacts import read_manifest, write_manifest
from tests.support.commands import run_command
from tests.support.tones import tone, write_wav
from tests.support.torture import left_over

TIMEOUT_S = 600


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hold a recipe with few choices and few clips."""
    raw = load_recipe("search").resolved()
    raw["calibration"]["n_clips"] = 2
    # INT8 activations from two clips of tones would destroy a random encoder.
    raw["quantize"]["components"]["encoder"] |= {"scheme": "w8", "keep_float": [], "dynamic_activations": []}
    raw["search"] = {
        "judge_clips": 2,
        "timed_clips": 1,
        "confirm_clips": 2,
        "choices": {
            "quantize.components.encoder.symmetric": [False],
            "quantize.elastic.silence_centroids": [5],
        },
    }
    path = tmp_path_factory.mktemp("recipes") / "few.yaml"
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return path


def command(tiny: Path, tones: Path, recipe: Path, out: Path, *more: str) -> list[str]:
    arguments = ["search", str(tiny), "--data", str(tones), "--recipe", str(recipe), "--out", str(out)]
    # Any errors are within the budget: those of a random model mean nothing.
    return [*arguments, "--max-wer-increase", "1000", *more]


def stored_trials(database: Path) -> list[dict[str, Any]]:
    """Read the outcomes in the study with SQL."""
    if not database.is_file():
        return []
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        try:
            rows = connection.execute(
                "select value_json from trial_user_attributes where key = 'outcome' order by trial_id"
            ).fetchall()
        except sqlite3.OperationalError:  # not made yet, or being written
            return []
    return [json.loads(row[0]) for row in rows]


def wait_until(condition: Any, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert process.poll() is None, "it ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_search_that_is_killed_loses_no_finished_trial(
    found: Path, tiny: Path, tones: Path, recipe: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(found, tmp_path / "best"))
    arguments = command(tiny, tones, recipe, out, "--trials", "4", "--json")
    database = out / "search" / "study.db"
    (first,) = stored_trials(database)
    process = subprocess.Popen(
        [sys.executable, "-m", "sottovoce", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(
            lambda: len(stored_trials(database)) >= 2 and any((out / "search").glob("trial-*")), process
        )
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    kept = stored_trials(database)
    assert kept[0] == first
    done = run_command(*arguments)
    assert done.code == 0, done.err
    assert "going on with a search of" in done.err
    report = SearchReport.model_validate_json(done.out)
    outcomes = [trial.outcome.model_dump(mode="json") for trial in report.trials]
    assert outcomes[: len(kept)] == kept
    assert len(kept) >= 2
    assert len(report.trials) == 4
    assert len({str(trial.settings) for trial in report.trials}) == 4
    _check_result(out, report)


def _check_result(out: Path, report: SearchReport) -> None:
    """Check that the run's variant is the chosen trial's, and that nothing else is left."""
    found = read_run(out)
    elastic = found.recipe.quantize.elastic
    assert elastic is not None
    assert elastic.silence_centroids == report.best.settings["quantize.elastic.silence_centroids"]
    symmetric = report.best.settings["quantize.components.encoder.symmetric"]
    assert found.recipe.quantize.components.encoder.symmetric == symmetric
    assert found.variant("int8-best").facts.components
    assert load(out).transcribe(_tone()).duration_s == pytest.approx(2.0)
    assert left_over(out) == []
    assert {path.name for path in (out / "search").iterdir()} == {"study.db", "search.json", "judged.jsonl"}
    assert SearchReport.model_validate_json((out / "search" / "search.json").read_bytes()) == report


def _tone() -> Any:
    return tone(2.0)


@pytest.fixture(scope="module")
def found(tiny: Path, tones: Path, recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hold a search of one trial. Not to be changed."""
    out = tmp_path_factory.mktemp("found") / "best"
    done = run_command(*command(tiny, tones, recipe, out, "--trials", "1"))
    assert done.code == 0, done.err
    return out


def test_the_same_command_again_adds_nothing_and_prints_the_same(
    found: Path, tiny: Path, tones: Path, recipe: Path, tmp_path: Path
) -> None:
    out = tmp_path / "best"
    shutil.copytree(found, out)
    again = run_command(*command(tiny, tones, recipe, out, "--trials", "1", "--json"))
    assert again.code == 0, again.err
    before = SearchReport.model_validate_json((found / "search" / "search.json").read_bytes())
    assert SearchReport.model_validate_json(again.out).trials == before.trials


def test_a_budget_that_no_trial_keeps_is_an_error_and_the_least_divergent_is_kept(
    found: Path, tiny: Path, tones: Path, recipe: Path, tmp_path: Path
) -> None:
    out = tmp_path / "best"
    shutil.copytree(found, out)
    with sqlite3.connect(out / "search" / "study.db") as study:
        (stored,) = study.execute(
            "select value_json from trial_user_attributes where key = 'outcome'"
        ).fetchone()
        outcome = json.loads(stored)
        outcome["wer_increase"] = {"value": 0.01, "low": 0.005, "high": 0.02}
        study.execute(
            "update trial_user_attributes set value_json = ? where key = 'outcome'", (json.dumps(outcome),)
        )
    arguments = command(tiny, tones, recipe, out, "--trials", "1", "--json")
    arguments[arguments.index("--max-wer-increase") + 1] = "0.2"
    done = run_command(*arguments)
    assert done.code == 3, done.err
    assert "no trial is within 0.2 points" in done.err
    assert not SearchReport.model_validate_json(done.out).is_within_budget
    assert read_run(out).variant("int8-best").name == "int8-best"


def test_an_output_that_holds_another_search_is_refused(
    found: Path, tiny: Path, tones: Path, recipe: Path
) -> None:
    other = run_command(
        *command(tiny, tones, recipe, found, "--trials", "1", "--set", "quantize.elastic.margin_s=1.0")
    )
    assert other.code == 1
    assert "another recipe" in other.err
    assert "--force" in other.err


def change_text(speech: Path) -> None:
    manifest = speech / "manifest.jsonl"
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text.replace('"text": "', '"text": "well, '), encoding="utf-8")


def change_audio(speech: Path) -> None:
    for path in (speech / "clips").iterdir():
        write_wav(path, tone(3.0, pitch_hz=500 + len(path.name)))


def change_settings(checkpoint: Path) -> None:
    path = checkpoint / "generation_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(config | {"max_length": 20}), encoding="utf-8")


def record_again(out: Path) -> None:
    record = out / "calibration"
    write_manifest(record, read_manifest(record).model_copy(update={"name": "other speech"}))


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("speech", change_text, "another speech or seed;"),
        ("speech", change_audio, "another speech or seed;"),
        ("tiny", change_settings, "another checkpoint;"),
        ("best", record_again, "another calibration record;"),
    ],
)
def test_a_search_is_not_resumed_with_other_inputs(
    found: Path,
    tiny: Path,
    tones: Path,
    recipe: Path,
    tmp_path: Path,
    part: str,
    change: Callable[[Path], None],
    message: str,
) -> None:
    sources = {"best": found, "tiny": tiny, "speech": tones.parent}
    copies = {name: Path(shutil.copytree(path, tmp_path / name)) for name, path in sources.items()}
    change(copies[part])
    arguments = command(
        copies["tiny"], copies["speech"] / tones.name, recipe, copies["best"], "--trials", "1"
    )
    other = run_command(*arguments)
    assert other.code == 1, other.err
    assert message in " ".join(other.err.split())


def test_a_recipe_with_choices_is_for_search_only(tiny: Path, tones: Path, tmp_path: Path) -> None:
    arguments = [
        "optimize",
        str(tiny),
        "--data",
        str(tones),
        "--recipe",
        "search",
        "--out",
        str(tmp_path / "run"),
    ]
    done = run_command(*arguments)
    assert done.code == 2
    assert "sottovoce search" in done.err
    assert not (tmp_path / "run").exists()


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own: Ray changes the one that it is started in."""
    command = [sys.executable, "-m", "sottovoce", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


@pytest.mark.large
def test_more_workers_than_cores_are_refused(
    found: Path, tiny: Path, tones: Path, recipe: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray", reason="the extra cluster is not installed")
    out = Path(shutil.copytree(found, tmp_path / "best"))
    done = run(command(tiny, tones, recipe, out, "--trials", "2", "--workers", "ray:99"))
    assert done.returncode == 2, done.stderr
    assert "--workers ray:99: with" in " ".join(done.stderr.split())


@pytest.mark.large
def test_two_workers_of_a_ray_cluster_find_what_one_process_finds(
    tiny: Path, tones: Path, recipe: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray", reason="the extra cluster is not installed")
    arguments = command(
        tiny,
        tones,
        recipe,
        tmp_path / "best",
        "--trials",
        "3",
        "--workers",
        "ray:2",
        "--threads",
        "1",
        "--json",
    )
    done = run(arguments)
    assert done.returncode == 0, done.stderr
    report = SearchReport.model_validate_json(done.stdout)
    assert len(report.trials) == 3
    assert all(trial.outcome.failure is None for trial in report.trials)
    _check_result(tmp_path / "best", report)
