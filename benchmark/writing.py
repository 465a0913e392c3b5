"""Write the results folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from sottovoce import __version__
from sottovoce.benchmark.assembly import BenchmarkData
from sottovoce.benchmark.clips.audio_files import changed_clips, write_audio
from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.results import CLIPS_NAME, RESULTS_NAME, Results
from sottovoce.runs import Run
from sottovoce.storage.artifacts import (
    MANIFEST_NAME,
    Manifest,
    Parent,
    list_files,
    sha256_of_file,
    write_manifest,
)


def write_results(work: Path, run: Run, results: Results, data: BenchmarkData) -> None:
    """Write the files of a results folder, which exists and is empty; the manifest last."""
    (work / RESULTS_NAME).write_text(results.model_dump_json(indent=2) + "\n", encoding="utf-8")
    wanted = changed_clips(results.baseline, [each.variant for each in results.comparisons], data.rows)
    files = write_audio(work, data.plan.clips.loaded, wanted if data.plan.spec.audio else ())
    rows = _rows_with_audio(results, data.rows, files)
    lines = "".join(row.model_dump_json() + "\n" for row in rows)
    (work / CLIPS_NAME).write_text(lines, encoding="utf-8")
    write_manifest(
        work,
        Manifest(
            kind="results",
            name=results.model,
            created=results.created,
            made_by=f"sottovoce benchmark {__version__}",
            parents=(
                Parent(role="run", name=run.manifest.name, sha256=sha256_of_file(run.folder / MANIFEST_NAME)),
                Parent(role="speech", name=results.dataset.name, sha256=results.dataset.sha256),
            ),
            host=results.host,
            versions=results.versions,
            files=list_files(work),
        ),
    )


def _rows_with_audio(
    results: Results, rows: Mapping[str, Sequence[ClipRow]], files: Mapping[str, str]
) -> list[ClipRow]:
    """Return the rows of the entries in the results, with the audio file of each clip that has one."""
    return [
        row.model_copy(update={"audio": files.get(row.clip_id)})
        for variant in results.variants
        for row in rows[variant.name]
    ]
