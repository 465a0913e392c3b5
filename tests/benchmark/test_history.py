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
    history_path,
    keep,
    read_past,
    same_conditions,
)
from sottovoce.benchmark.results import Results
from sottovoce.cli import app
from sottovoce.errors import InputError, OutputExistsError
from sottovoce.testing.results import build_sample

RESULTS = build_sample().results


def at(day: int, model: str = "whisper-tiny.en") -> Results:
    created = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(days=day)
    return RESULTS.model_copy(update={"created": created, "model": model})


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
    assert same_conditions(past)


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
