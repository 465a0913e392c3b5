"""What a bundle says of a benchmark: that of this run, and nothing else."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sottovoce.cli.app import app
from sottovoce.cli.measured import read_measured
from sottovoce.errors import InputError
from sottovoce.machine.environment import read_host
from sottovoce.runs import read_run
from sottovoce.storage.artifacts import MANIFEST_NAME, Manifest, Parent, sha256_of_file, write_manifest
from tests.support.results import build_sample, save_sample


def save_results(folder: Path, run_sha256: str) -> Path:
    sample = build_sample()
    save_sample(sample.results, sample.rows, folder)
    manifest = Manifest(
        kind="results",
        name="sample",
        created=datetime.now(UTC),
        made_by="a test",
        parents=(Parent(role="run", name="sample", sha256=run_sha256),),
        host=read_host(),
        versions={},
    )
    write_manifest(folder, manifest)
    return folder


def test_a_bundle_holds_the_benchmark(tiny_run: Path, tmp_path: Path) -> None:
    results = save_results(tmp_path / "results", sha256_of_file(tiny_run / MANIFEST_NAME))
    measured = json.loads((results / "results.json").read_text())
    entry = next(each for each in measured["variants"] if each["name"] == "int8")
    arguments = [
        "bundle",
        str(tiny_run),
        "--out",
        str(tmp_path / "x.tar.gz"),
        "--results",
        str(results),
        "--json",
    ]
    bundle = json.loads(CliRunner().invoke(app, arguments, catch_exceptions=False).stdout)["bundle"]
    assert bundle["measured"]["wer"] == entry["wer"]
    assert bundle["measured"]["rtfx"] == entry["rtfx"]
    compared = next(each for each in measured["comparisons"] if each["variant"] == "int8")
    assert bundle["measured"]["wer_delta"] == compared["wer_delta"]
    assert bundle["floors"]["peak_rss_bytes"] == int(1.5 * entry["peak_rss_bytes"])


def test_results_of_another_run_are_refused(tiny_run: Path, tmp_path: Path) -> None:
    results = save_results(tmp_path / "results", "0" * 64)
    with pytest.raises(InputError, match="was measured on another run"):
        read_measured(results, read_run(tiny_run), "int8")


def test_results_without_the_variant_are_refused(tiny_run: Path, tmp_path: Path) -> None:
    results = save_results(tmp_path / "results", sha256_of_file(tiny_run / MANIFEST_NAME))
    with pytest.raises(InputError, match="has no variant int9; did you mean int8"):
        read_measured(results, read_run(tiny_run), "int9")


def test_the_baseline_is_compared_with_nothing(tiny_run: Path, tmp_path: Path) -> None:
    results = save_results(tmp_path / "results", sha256_of_file(tiny_run / MANIFEST_NAME))
    with pytest.raises(InputError, match="compares fp32 with no baseline"):
        read_measured(results, read_run(tiny_run), "fp32")
