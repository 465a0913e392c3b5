from collections.abc import Callable
from pathlib import Path

import pytest

from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.results import Results
from sottovoce.errors import InputError, OutputExistsError
from sottovoce.reports.report import write_report

Save = Callable[[Results, tuple[ClipRow, ...], Path], Path]


@pytest.fixture
def folder(tmp_path: Path, save: Save, results: Results, rows: tuple[ClipRow, ...]) -> Path:
    return save(results, rows, tmp_path / "results")


def test_a_report_is_written_into_a_new_folder(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "deep" / "report.html"
    assert write_report(folder, out, force=False) == out
    assert out.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]


def test_the_results_file_serves_as_well_as_its_folder(folder: Path, tmp_path: Path) -> None:
    one = write_report(folder, tmp_path / "one.html", force=False)
    two = write_report(folder / "results.json", tmp_path / "two.html", force=False)
    assert one.read_bytes() == two.read_bytes()


def test_a_report_that_exists_is_kept_unless_forced(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    out.write_text("precious", encoding="utf-8")
    with pytest.raises(OutputExistsError, match="--force"):
        write_report(folder, out, force=False)
    assert out.read_text(encoding="utf-8") == "precious"
    write_report(folder, out, force=True)
    assert "whisper-tiny.en" in out.read_text(encoding="utf-8")


def test_a_folder_is_no_place_for_a_report(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is a folder; give the file to write, for example .*report\.html"):
        write_report(folder, tmp_path, force=True)


def test_a_folder_without_results_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="sottovoce benchmark"):
        write_report(tmp_path / "nothing", tmp_path / "report.html", force=False)
    assert list(tmp_path.iterdir()) == []
