"""Files of results, and all that is printed and drawn of them."""

import json
import sqlite3
from pathlib import Path

import pytest

from sottovoce.benchmark.schema.results import read_results
from sottovoce.cli.tables import (
    doctor_table,
    results_table,
    search_table,
    sensitivity_lines,
    sensitivity_table,
)
from tests.characterization.frozen import (
    MADE_BEFORE,
    Golden,
    VisibleText,
    render,
    without_ends,
)
from tests.support.commands import output_of

SAMPLE, DETAILED = MADE_BEFORE / "sample", MADE_BEFORE / "detailed"
FOLDERS = pytest.mark.parametrize("folder", [SAMPLE, DETAILED], ids=lambda folder: folder.name)


@FOLDERS
def test_results_made_before_are_read_and_written_as_they_are(folder: Path) -> None:
    results, rows = read_results(folder)

    assert json.loads(results.model_dump_json(exclude_unset=True)) == json.loads(
        (folder / "results.json").read_bytes()
    )
    lines = (folder / "clips.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(row.model_dump_json(exclude_unset=True)) for row in rows] == [
        json.loads(line) for line in lines
    ]


@FOLDERS
def test_the_tables_of_a_benchmark(folder: Path, golden: Golden) -> None:
    golden.check(f"{folder.name}-results_table.txt", render(results_table(*read_results(folder))))


def test_the_tables_of_an_audit_a_search_and_a_study_of_sensitivity(golden: Golden) -> None:
    results, _ = read_results(DETAILED)
    assert results.doctor is not None
    assert results.search is not None
    assert results.sensitivity is not None

    golden.check("audit.txt", render(doctor_table(results.doctor)))
    golden.check("search.txt", render(search_table(results.search)))
    golden.check(
        "sensitivity.txt",
        render(sensitivity_table(results.sensitivity), *sensitivity_lines(results.sensitivity)),
    )


@FOLDERS
@pytest.mark.parametrize(
    ("kind", "name"), [("html", "report.txt"), ("markdown", "comment.md.txt"), ("model-card", "card.md.txt")]
)
def test_the_words_of_a_report(folder: Path, kind: str, name: str, golden: Golden) -> None:
    text = output_of("report", folder, "--format", kind, "--out", "-")

    golden.check(f"{folder.name}-{name}", VisibleText(text).lines if kind == "html" else text)


def test_a_comparison_of_two_results(golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(MADE_BEFORE)

    golden.check("compare.txt", without_ends(output_of("compare", "sample", "detailed")))
    golden.check_json("compare.json", json.loads(output_of("compare", "sample", "detailed", "--json")))


def test_a_gate_on_results(golden: Golden) -> None:
    conditions = ("wer_delta.high > 0.5", "speedup.low < 0.5", "peak_rss_mb > 600", "size_mb > 100")
    arguments = [part for condition in conditions for part in ("--fail-if", condition)]

    golden.check("gate.txt", output_of("gate", DETAILED, *arguments, expect=3))
    golden.check_json("gate.json", json.loads(output_of("gate", DETAILED, *arguments, "--json", expect=3)))


def test_the_history_of_results(golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "history.sqlite"
    with sqlite3.connect(path) as database:
        database.execute(
            "CREATE TABLE results (sha256 TEXT PRIMARY KEY, created TEXT NOT NULL, model TEXT NOT NULL, json TEXT NOT NULL)"
        )
        database.execute("PRAGMA user_version = 1")
        for number, folder in enumerate((SAMPLE, DETAILED)):
            text = (folder / "results.json").read_text(encoding="utf-8")
            answer = json.loads(text)
            row = (f"{number}", answer["created"], answer["model"], text)
            database.execute("INSERT INTO results VALUES (?, ?, ?, ?)", row)
    database.close()
    monkeypatch.setenv("SOTTOVOCE_HISTORY", str(path))

    golden.check("history.txt", without_ends(output_of("history")))
    golden.check_json("history.json", json.loads(output_of("history", "--json")))
