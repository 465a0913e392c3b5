"""The report stage: a results folder becomes one HTML file."""

from importlib.util import find_spec
from pathlib import Path

from sottovoce.artifacts import check_output, write_text
from sottovoce.benchmark.results import read_results
from sottovoce.errors import InputError, MissingExtraError

_NEEDED = ("jinja2", "jiwer", "matplotlib")


def write_report(results_path: Path, out: Path, *, force: bool) -> Path:
    """Write the HTML report of a benchmark. The same results give the same bytes.

    Args:
        results_path: the results folder, or its `results.json`.
        out: the file to write; its folder is made if it is missing.
        force: whether a report that is there already may be replaced.

    Returns:
        `out`.

    Raises:
        OutputExistsError: `out` exists and `force` is not set.
        InputError: there are no results, or `out` is a folder.
        MissingExtraError: a library of the extra `benchmark` is not installed.
    """
    if out.is_dir():
        raise InputError(f"{out} is a folder; give the file to write, for example {out / 'report.html'}")
    check_output(out, force=force)
    _require_libraries()
    results, rows = read_results(results_path)

    from sottovoce.reports.audio import read_audio
    from sottovoce.reports.explorer import wanted_audio
    from sottovoce.reports.html import render_report
    from sottovoce.reports.view import build_view

    folder = results_path if results_path.is_dir() else results_path.parent
    audio = read_audio(folder, wanted_audio(results, rows))
    write_text(out, render_report(build_view(results, rows, audio)))
    return out


def _require_libraries() -> None:
    for module in _NEEDED:
        if find_spec(module) is None:
            raise MissingExtraError(module, needed_for="the report", extra="benchmark")
