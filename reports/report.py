"""The report stage: a results folder becomes a page, a comment or a model card; a training becomes a page."""

from functools import partial
from importlib.util import find_spec
from pathlib import Path

from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.results import Results, read_results
from sottovoce.errors import InputError, MissingExtraError
from sottovoce.machine.os_errors import translated_os_errors
from sottovoce.reports.formats import ReportFormat
from sottovoce.reports.training.read import read_training
from sottovoce.reports.training.view import TrainingView
from sottovoce.storage.documents import write_text
from sottovoce.storage.folders import check_output_file
from sottovoce.storage.locks import output_lock

_NEEDED = {
    ReportFormat.HTML: ("jinja2", "jiwer", "matplotlib"),
    ReportFormat.MARKDOWN: ("jiwer",),
    ReportFormat.MODEL_CARD: ("jiwer", "huggingface_hub"),
}


def write_report(
    results_path: Path,
    out: Path,
    *,
    force: bool,
    kind: ReportFormat = ReportFormat.HTML,
    has_audio: bool = True,
) -> Path:
    """Write the report of a benchmark or of a training. The same results give the same bytes.

    Args:
        results_path: the results folder, or its `results.json`; or a folder that `heal`, `finetune` or `distil` wrote.
        out: the file to write; its folder is made if it is missing.
        force: whether to replace an existing report.
        kind: the format.
        has_audio: whether a page holds the recordings of the results.

    Raises:
        OutputExistsError: `out` exists and `force` is not set.
        InputError: there are no results, or `out` is a folder.
        MissingExtraError: a library of the extra `benchmark` is not installed.
    """
    if out.is_dir():
        raise InputError(f"{out} is a folder; give the file to write, for example {out / kind.file_name}")
    check_output_file(out, force=force)
    text = make_report(results_path, kind, has_audio=has_audio)
    with translated_os_errors(out), output_lock(out):
        check_output_file(out, force=force)
        write_text(out, text)
    return out


def make_report(results_path: Path, kind: ReportFormat, *, has_audio: bool = True) -> str:
    """Return the report of a benchmark or of a training as text.

    Raises:
        InputError: there are no results, or a training has no such format.
        MissingExtraError: a library of the extra `benchmark` is not installed.
    """
    _require_libraries(kind)
    view = read_training(results_path)
    if view is not None:
        return _make_training_page(view, results_path, kind)
    results, rows = read_results(results_path)
    match kind:
        case ReportFormat.HTML:
            folder = results_path if results_path.is_dir() else results_path.parent
            return _make_page(results, rows, folder if has_audio else None)
        case ReportFormat.MARKDOWN:
            from sottovoce.reports.formats.comment import render_comment

            return render_comment(results, rows)
        case ReportFormat.MODEL_CARD:
            from sottovoce.reports.formats.model_card import render_model_card

            return render_model_card(results, rows)


def _make_training_page(view: TrainingView, path: Path, kind: ReportFormat) -> str:
    from sottovoce.reports.formats.html import render_training

    if kind is not ReportFormat.HTML:
        raise InputError(f"{path} holds a training, which has a page only; use --format {ReportFormat.HTML}")
    return render_training(view)


def _make_page(results: Results, rows: tuple[ClipRow, ...], audio_folder: Path | None) -> str:
    from sottovoce.reports.formats.html import render_report
    from sottovoce.reports.transcripts.explorer import read_audio, without_audio
    from sottovoce.reports.view import build_view

    read = without_audio if audio_folder is None else partial(read_audio, audio_folder)
    return render_report(build_view(results, rows, read))


def _require_libraries(kind: ReportFormat) -> None:
    for module in _NEEDED[kind]:
        if find_spec(module) is None:
            raise MissingExtraError(module, needed_for="the report", extra="benchmark")
