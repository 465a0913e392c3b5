"""What commands make of a random Whisper: manifests, INT8 nodes, a benchmark and a bundle."""

import json
import shutil
import tarfile
from pathlib import Path

import pytest

from tests.characterization.frozen import (
    Golden,
    Json,
    count_layers,
    stable,
    structure,
    without_ends,
    without_figures,
)
from tests.support.commands import output_of


def read(path: Path) -> Json:
    return json.loads(path.read_bytes())


@pytest.fixture(scope="module")
def results(tiny_run: Path, tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hold a benchmark of the run's INT8 variant."""
    out = tmp_path_factory.mktemp("frozen") / "results"
    output_of(
        "benchmark", tiny_run, "--data", tones, "--variants", "int8", "--limit", 2, "--passes", 1,
        "--batch-sizes", 2, "--out", out,
    )  # fmt: skip
    return out


def test_the_manifests_of_a_run(tiny_run: Path, golden: Golden) -> None:
    for folder in (tiny_run, tiny_run / "calibration", tiny_run / "fp32", tiny_run / "int8"):
        manifest = read(folder / "manifest.json")
        name = "run" if folder == tiny_run else folder.name
        if name != "run":
            manifest["recipe"] = structure(manifest["recipe"], key="recipe")
        golden.check_json(f"manifest-{name}.json", stable(manifest))


def test_the_tables_of_a_run(tiny_run: Path, golden: Golden) -> None:
    golden.check("inspect.txt", without_figures(without_ends(output_of("inspect", tiny_run))))
    golden.check_json("inspect.json", structure(json.loads(output_of("inspect", tiny_run, "--json"))))


def test_the_int8_nodes_of_each_recipe(tiny_run: Path, tmp_path: Path, golden: Golden) -> None:
    run = shutil.copytree(tiny_run, tmp_path / "run")
    output_of("quantize", run, "--recipe", "int8-fast")

    golden.check_json(
        "int8_nodes-random.json",
        {
            name: {graph.stem: count_layers(graph) for graph in sorted((run / name).glob("*_model.xml"))}
            for name in ("int8", "int8-fast")
        },
    )


def test_the_files_of_a_benchmark(results: Path, golden: Golden) -> None:
    golden.check_json("results.json", structure(read(results / "results.json")))
    lines = (results / "clips.jsonl").read_text(encoding="utf-8").splitlines()
    golden.check_json("clips.json", structure([json.loads(line) for line in lines]))
    golden.check_json("manifest-results.json", structure(read(results / "manifest.json")))


def test_the_manifest_of_a_bundle(tiny_run: Path, tmp_path: Path, golden: Golden) -> None:
    path = tmp_path / "tiny.tar.gz"
    answer = output_of("bundle", tiny_run, "--variant", "int8", "--min-rtfx", 0.01, "--out", path, "--json")
    with tarfile.open(path) as archive:
        names = sorted(archive.getnames())
        file = archive.extractfile(next(name for name in names if name.endswith("/bundle.json")))
        assert file is not None
        manifest = json.loads(file.read())

    golden.check_json("bundle.json", stable(manifest))
    golden.check("bundle-files.txt", without_figures("\n".join(names)))
    golden.check_json("bundle-answer.json", structure(json.loads(answer)))
