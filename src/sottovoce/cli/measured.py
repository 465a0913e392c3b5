"""Passes the benchmark of a variant to its bundle: the two stages do not import each other."""

from pathlib import Path

from sottovoce.benchmark.schema.comparisons import Comparison
from sottovoce.benchmark.schema.results import Results, read_results
from sottovoce.bundle.manifest import Measured
from sottovoce.errors import InputError, nearest
from sottovoce.runs import Run
from sottovoce.storage.artifacts import MANIFEST_NAME, read_manifest, sha256_of_file


def read_measured(results: Path, run: Run, variant: str) -> Measured:
    """Read the benchmark of a variant of a run.

    Raises:
        InputError: the results are damaged, of another run, or without the variant.
    """
    measured, _ = read_results(results)
    _check_run(results, run)
    entry = next((each for each in measured.variants if each.name == variant), None)
    if entry is None:
        names = [each.name for each in measured.variants]
        raise InputError(
            f"{results} has no variant {variant}{nearest(variant, names)} (it has {', '.join(names)})"
        )
    compared = _comparison(results, measured, variant)
    return Measured(
        host=measured.host,
        dataset=measured.dataset.name,
        n_clips=measured.dataset.n_clips,
        wer=entry.wer,
        wer_delta=compared.wer_delta,
        normalizer=measured.method.normalizer,
        rtfx=entry.rtfx,
        peak_rss_bytes=entry.peak_rss_bytes,
        threads=measured.method.threads,
    )


def _check_run(results: Path, run: Run) -> None:
    measured = next(
        (parent.sha256 for parent in read_manifest(results).parents if parent.role == "run"), None
    )
    if measured != sha256_of_file(run.folder / MANIFEST_NAME):
        raise InputError(
            f"{results} was measured on another run than {run.folder}, or before it was changed; benchmark it again"
        )


def _comparison(results: Path, measured: Results, variant: str) -> Comparison:
    found = next((each for each in measured.comparisons if each.variant == variant), None)
    if found is None:
        raise InputError(
            f"{results} compares {variant} with no baseline; benchmark it beside {measured.baseline}"
        )
    return found
