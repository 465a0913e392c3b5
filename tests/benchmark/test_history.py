"""The history: each result is stored once, read back, and grouped by the conditions of measuring."""

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from sottovoce.benchmark.history import (
    HISTORY_VARIABLE,
    TABLES_VERSION,
    HistoryEntry,
    add_to_history,
    group_series,
    history_path,
    name_series,
)
from sottovoce.benchmark.history import read_history as read
from sottovoce.benchmark.schema.results import Results
from sottovoce.cli.app import app
from sottovoce.errors import InputError, OutputExistsError
from tests.support.results import build_sample

RESULTS = build_sample().results


def on_day(day: int, model: str = "whisper-tiny.en") -> Results:
    created = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(days=day)
    return RESULTS.model_copy(update={"created": created, "model": model})


def read_history(
    path: Path, *, model: str | None = None, entry: str | None = None
) -> tuple[HistoryEntry, ...]:
    """Read a history without a damaged result."""
    return read(path, model=model, entry=entry, note=pytest.fail)


def with_clips(results: Results, **changes: str | int | None) -> Results:
    return results.model_copy(update={"dataset": results.dataset.model_copy(update=changes)})


def with_threads(results: Results, threads: int) -> Results:
    return results.model_copy(update={"method": results.method.model_copy(update={"threads": threads})})


def with_cpu(results: Results, cpu: str) -> Results:
    return results.model_copy(update={"host": results.host.model_copy(update={"cpu": cpu})})


FORMER_TABLES = """
CREATE TABLE results (sha256 TEXT PRIMARY KEY, created TEXT NOT NULL, model TEXT NOT NULL, json TEXT NOT NULL);
PRAGMA user_version = 1;
"""
"""Written by the first version of the history."""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = tmp_path / "data" / "history.sqlite"
    monkeypatch.setenv(HISTORY_VARIABLE, str(found))
    return found


def test_results_are_read_back_oldest_first(path: Path) -> None:
    for day in (3, 1, 2):
        assert add_to_history(path, on_day(day))
    past = read_history(path, entry="int8")
    assert [one.created.day for one in past] == [2, 3, 4]
    assert {one.entry for one in read_history(path)} == {"fp32", "fp16", "int8"}
    assert past[0].speedup == RESULTS.comparisons[1].speedup
    assert len(group_series(past)) == 1


def test_a_result_is_stored_once(path: Path) -> None:
    assert add_to_history(path, on_day(1))
    assert not add_to_history(path, on_day(1))
    assert len(read_history(path, entry="int8")) == 1


def test_history_is_filtered_by_model(path: Path) -> None:
    add_to_history(path, on_day(1))
    add_to_history(path, on_day(2, "whisper-base'; DROP TABLE results; --"))
    assert len(read_history(path, model="whisper-tiny.en")) == 3
    assert len(read_history(path, model="whisper-base'; DROP TABLE results; --")) == 3


def test_results_of_an_older_schema_are_read(path: Path) -> None:
    add_to_history(path, on_day(1))
    older = json.loads(on_day(2).model_dump_json()) | {"schema_version": 4}
    for comparison in older["comparisons"]:
        for new in ("matched_pairs", "panel", "no_regression_rate", "strata"):
            del comparison[new]
        del comparison["verdict"]["more_clips"]
    with sqlite3.connect(path) as database:
        database.execute(
            "INSERT INTO results VALUES ('x', ?, ?, ?)", (older["created"], older["model"], json.dumps(older))
        )
    assert len(read_history(path, entry="int8")) == 2


def test_a_database_of_the_first_version_opens_and_is_written_to(path: Path) -> None:
    old = json.loads(on_day(1).model_dump_json()) | {"schema_version": 6}
    for key in ("checkpoint_version",):
        del old[key]
    del old["dataset"]["audio_sha256"]
    for comparison in old["comparisons"]:
        for new in ("n_clips", "n_failed", "n_blocks"):
            del comparison[new]
    path.parent.mkdir()
    with sqlite3.connect(path) as database:
        database.executescript(FORMER_TABLES)
        database.execute(
            "INSERT INTO results VALUES ('x', ?, ?, ?)", (old["created"], old["model"], json.dumps(old))
        )
    assert add_to_history(path, with_clips(on_day(2), audio_sha256="ab" * 32))
    past = read_history(path, entry="int8")
    assert [one.created.day for one in past] == [2, 3]
    assert {one.dataset_sha256 for one in past} == {RESULTS.dataset.sha256}
    assert [one.audio_sha256 for one in past] == [None, "ab" * 32]
    assert len(group_series(past)) == 1


def test_a_damaged_result_is_reported_and_left_out(path: Path) -> None:
    for day in (1, 4):
        add_to_history(path, on_day(day))
    later = json.loads(on_day(2).model_dump_json()) | {"schema_version": 99}
    with sqlite3.connect(path) as database:
        for key, day, text in (("x", 2, json.dumps(later)), ("y", 3, "{"), ("z", 3, b"\xff\xfe")):
            database.execute(
                "INSERT INTO results VALUES (?, ?, 'whisper-tiny.en', ?)",
                (key, on_day(day).created.isoformat(), text),
            )
    notes: list[str] = []
    past = read(path, entry="int8", note=notes.append)
    assert [one.created.day for one in past] == [2, 5]
    assert len(notes) == 3
    assert (
        "the result of 2026-03-03T00:00:00+00:00 of whisper-tiny.en cannot be read (schema_version:"
        in notes[0]
    )
    shown = CliRunner().invoke(app, ["history", "--entry", "int8"])
    assert shown.exit_code == 0
    assert "left out: the result of 2026-03-03" in shown.stderr


@pytest.mark.parametrize(
    "other",
    [
        on_day(2, "whisper-base"),
        with_cpu(on_day(2), "another"),
        with_threads(on_day(2), 1),
        with_clips(on_day(2), sha256="ef" * 32),
        with_clips(on_day(2), sha256="ef" * 32, n_clips=7),
    ],
    ids=["model", "host", "threads", "clips of the same name and number", "fewer clips"],
)
def test_results_under_different_conditions_are_different_series(path: Path, other: Results) -> None:
    for results in (on_day(1), other, on_day(3)):
        add_to_history(path, results)
    found = group_series(read_history(path, entry="int8"))
    assert [[one.created.day for one in series.entries] for series in found] == [[2, 4], [3]]
    assert len(set(name_series(found))) == 2


def test_two_versions_of_the_audio_are_two_series_and_older_results_count_as_the_only_one(path: Path) -> None:
    first, other = "ab" * 32, "ef" * 32
    add_to_history(path, on_day(1))
    add_to_history(path, with_clips(on_day(2), audio_sha256=first))
    assert len(group_series(read_history(path, entry="int8"))) == 1
    add_to_history(path, with_clips(on_day(3), audio_sha256=other))
    add_to_history(path, with_clips(on_day(4), audio_sha256=first))
    found = group_series(read_history(path, entry="int8"))
    assert [[one.created.day for one in series.entries] for series in found] == [[2], [3, 5], [4]]
    assert len(set(name_series(found))) == 3


def test_plot_and_table_separate_results_under_different_conditions(path: Path, tmp_path: Path) -> None:
    for results in (on_day(1), with_threads(on_day(2), 1), on_day(3)):
        add_to_history(path, results)
    drawing = tmp_path / "history.svg"
    shown = CliRunner().invoke(app, ["history", "--entry", "int8", "--plot", str(drawing)])
    days = [line.split()[1] for line in shown.stdout.splitlines() if "int8" in line]
    assert days == ["2026-03-02", "2026-03-04", "2026-03-03"]
    assert "compare only entries of one section" in shown.stderr
    labels = drawing.read_text(encoding="utf-8")
    assert "whisper-tiny.en int8, 4 threads" in labels
    assert "whisper-tiny.en int8, 1 thread<" in labels


def test_a_database_of_a_later_version_is_not_changed(path: Path) -> None:
    add_to_history(path, on_day(1))
    with sqlite3.connect(path) as database:
        database.execute(f"PRAGMA user_version = {TABLES_VERSION + 1}")
    before = path.read_bytes()
    with pytest.raises(InputError, match="later sottovoce"):
        add_to_history(path, on_day(2))
    assert path.read_bytes() == before


def test_a_file_that_is_not_a_database_is_an_input_error(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("not a database, but long enough to be read as one" * 40, encoding="utf-8")
    with pytest.raises(InputError, match="cannot be used"):
        read_history(path)


def test_several_benchmarks_can_write_at_the_same_time(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda day: add_to_history(path, on_day(day)), range(16)))
    assert len(read_history(path, entry="int8")) == 16


def test_an_empty_variable_turns_the_history_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HISTORY_VARIABLE, "")
    assert history_path() is None
    refused = CliRunner().invoke(app, ["history"])
    assert f"{HISTORY_VARIABLE} is empty" in str(refused.exception)


def test_the_command_lists_filters_and_plots(path: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    empty = runner.invoke(app, ["history"])
    assert isinstance(empty.exception, InputError)
    assert "sottovoce benchmark adds" in str(empty.exception)
    for day in range(3):
        add_to_history(path, on_day(day))
    listed = runner.invoke(app, ["history", "whisper-tiny.en", "--entry", "int8", "--limit", "2", "--json"])
    assert [one["created"][:10] for one in json.loads(listed.stdout)] == ["2026-03-02", "2026-03-03"]
    mistyped = runner.invoke(app, ["history", "tiny.en"])
    assert "did you mean whisper-tiny.en" in str(mistyped.exception)
    drawing = tmp_path / "history.svg"
    shown = runner.invoke(app, ["history", "--plot", str(drawing)])
    assert shown.exit_code == 0
    assert ET.fromstring(drawing.read_text(encoding="utf-8")).tag.endswith("svg")  # noqa: S314
    assert "whisper-tiny.en int8" in drawing.read_text(encoding="utf-8")
    second = runner.invoke(app, ["history", "--plot", str(drawing)])
    assert isinstance(second.exception, OutputExistsError)
