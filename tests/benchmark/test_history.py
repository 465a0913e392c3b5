"""What was measured before: kept once, found again, never in the way."""

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
    Past,
    group_lines,
    history_path,
    keep,
    name_lines,
)
from sottovoce.benchmark.history import read_past as read
from sottovoce.benchmark.schema.results import Results
from sottovoce.cli.app import app
from sottovoce.errors import InputError, OutputExistsError
from tests.support.results import build_sample

RESULTS = build_sample().results


def at(day: int, model: str = "whisper-tiny.en") -> Results:
    created = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(days=day)
    return RESULTS.model_copy(update={"created": created, "model": model})


def read_past(path: Path, *, model: str | None = None, entry: str | None = None) -> tuple[Past, ...]:
    """Read a history in which everything can be read."""
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
"""As the first version of the history wrote them."""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = tmp_path / "data" / "history.sqlite"
    monkeypatch.setenv(HISTORY_VARIABLE, str(found))
    return found


def test_results_are_found_again_the_oldest_first(path: Path) -> None:
    for day in (3, 1, 2):
        assert keep(path, at(day))
    past = read_past(path, entry="int8")
    assert [one.created.day for one in past] == [2, 3, 4]
    assert {one.entry for one in read_past(path)} == {"fp32", "fp16", "int8"}
    assert past[0].speedup == RESULTS.comparisons[1].speedup
    assert len(group_lines(past)) == 1


def test_a_result_is_kept_once(path: Path) -> None:
    assert keep(path, at(1))
    assert not keep(path, at(1))
    assert len(read_past(path, entry="int8")) == 1


def test_models_are_told_apart(path: Path) -> None:
    keep(path, at(1))
    keep(path, at(2, "whisper-base'; DROP TABLE results; --"))
    assert len(read_past(path, model="whisper-tiny.en")) == 3
    assert len(read_past(path, model="whisper-base'; DROP TABLE results; --")) == 3


def test_results_of_an_older_schema_are_read(path: Path) -> None:
    keep(path, at(1))
    older = json.loads(at(2).model_dump_json()) | {"schema_version": 4}
    for comparison in older["comparisons"]:
        for new in ("matched_pairs", "panel", "no_regression_rate", "strata"):
            del comparison[new]
        del comparison["verdict"]["more_clips"]
    with sqlite3.connect(path) as database:
        database.execute(
            "INSERT INTO results VALUES ('x', ?, ?, ?)", (older["created"], older["model"], json.dumps(older))
        )
    assert len(read_past(path, entry="int8")) == 2


def test_a_database_of_the_first_version_opens_and_is_written_to(path: Path) -> None:
    old = json.loads(at(1).model_dump_json()) | {"schema_version": 6}
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
    assert keep(path, with_clips(at(2), audio_sha256="ab" * 32))
    past = read_past(path, entry="int8")
    assert [one.created.day for one in past] == [2, 3]
    assert {one.dataset_sha256 for one in past} == {RESULTS.dataset.sha256}
    assert [one.audio_sha256 for one in past] == [None, "ab" * 32]
    assert len(group_lines(past)) == 1


def test_a_result_that_cannot_be_read_is_told_and_left_out(path: Path) -> None:
    for day in (1, 4):
        keep(path, at(day))
    later = json.loads(at(2).model_dump_json()) | {"schema_version": 99}
    with sqlite3.connect(path) as database:
        for key, day, text in (("x", 2, json.dumps(later)), ("y", 3, "{"), ("z", 3, b"\xff\xfe")):
            database.execute(
                "INSERT INTO results VALUES (?, ?, 'whisper-tiny.en', ?)",
                (key, at(day).created.isoformat(), text),
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
        at(2, "whisper-base"),
        with_cpu(at(2), "another"),
        with_threads(at(2), 1),
        with_clips(at(2), sha256="ef" * 32),
        with_clips(at(2), sha256="ef" * 32, n_clips=7),
    ],
    ids=["model", "host", "threads", "clips of the same name and number", "fewer clips"],
)
def test_what_is_not_alike_is_no_line(path: Path, other: Results) -> None:
    for results in (at(1), other, at(3)):
        keep(path, results)
    lines = group_lines(read_past(path, entry="int8"))
    assert [[one.created.day for one in line.past] for line in lines] == [[2, 4], [3]]
    assert len(set(name_lines(lines))) == 2


def test_two_audios_of_the_same_clips_are_two_lines_and_one_is_that_of_older_results(path: Path) -> None:
    first, other = "ab" * 32, "ef" * 32
    keep(path, at(1))
    keep(path, with_clips(at(2), audio_sha256=first))
    assert len(group_lines(read_past(path, entry="int8"))) == 1
    keep(path, with_clips(at(3), audio_sha256=other))
    keep(path, with_clips(at(4), audio_sha256=first))
    lines = group_lines(read_past(path, entry="int8"))
    assert [[one.created.day for one in line.past] for line in lines] == [[2], [3, 5], [4]]
    assert len(set(name_lines(lines))) == 3


def test_the_drawing_and_the_table_keep_apart_what_is_not_alike(path: Path, tmp_path: Path) -> None:
    for results in (at(1), with_threads(at(2), 1), at(3)):
        keep(path, results)
    drawing = tmp_path / "history.svg"
    shown = CliRunner().invoke(app, ["history", "--entry", "int8", "--plot", str(drawing)])
    days = [line.split()[1] for line in shown.stdout.splitlines() if "int8" in line]
    assert days == ["2026-03-02", "2026-03-04", "2026-03-03"]
    assert "compare what stands together" in shown.stderr
    labels = drawing.read_text(encoding="utf-8")
    assert "whisper-tiny.en int8, 4 threads" in labels
    assert "whisper-tiny.en int8, 1 thread<" in labels


def test_a_database_of_a_later_version_is_left_alone(path: Path) -> None:
    keep(path, at(1))
    with sqlite3.connect(path) as database:
        database.execute(f"PRAGMA user_version = {TABLES_VERSION + 1}")
    before = path.read_bytes()
    with pytest.raises(InputError, match="later sottovoce"):
        keep(path, at(2))
    assert path.read_bytes() == before


def test_what_is_no_database_is_named(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("not a database, but long enough to be read as one" * 40, encoding="utf-8")
    with pytest.raises(InputError, match="cannot be used"):
        read_past(path)


def test_many_benchmarks_may_end_at_once(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda day: keep(path, at(day)), range(16)))
    assert len(read_past(path, entry="int8")) == 16


def test_an_empty_variable_keeps_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HISTORY_VARIABLE, "")
    assert history_path() is None
    refused = CliRunner().invoke(app, ["history"])
    assert f"{HISTORY_VARIABLE} is set to nothing" in str(refused.exception)


def test_the_command_lists_filters_and_plots(path: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    empty = runner.invoke(app, ["history"])
    assert isinstance(empty.exception, InputError)
    assert "sottovoce benchmark adds" in str(empty.exception)
    for day in range(3):
        keep(path, at(day))
    told = runner.invoke(app, ["history", "whisper-tiny.en", "--entry", "int8", "--limit", "2", "--json"])
    assert [one["created"][:10] for one in json.loads(told.stdout)] == ["2026-03-02", "2026-03-03"]
    mistyped = runner.invoke(app, ["history", "tiny.en"])
    assert "did you mean whisper-tiny.en" in str(mistyped.exception)
    drawing = tmp_path / "history.svg"
    shown = runner.invoke(app, ["history", "--plot", str(drawing)])
    assert shown.exit_code == 0
    assert ET.fromstring(drawing.read_text(encoding="utf-8")).tag.endswith("svg")  # noqa: S314
    assert "whisper-tiny.en int8" in drawing.read_text(encoding="utf-8")
    again = runner.invoke(app, ["history", "--plot", str(drawing)])
    assert isinstance(again.exception, OutputExistsError)
