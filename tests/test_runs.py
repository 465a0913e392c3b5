"""What a run folder holds, and what may lie in it beside."""

import shutil
from pathlib import Path

from sottovoce.runs import read_run
from sottovoce.storage.artifacts import read_manifest, write_manifest


def test_results_that_lie_in_a_run_are_no_variant(tiny_run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    (folder / "results").mkdir()
    write_manifest(folder / "results", read_manifest(folder / "int8").model_copy(update={"kind": "results"}))
    before = [variant.name for variant in read_run(tiny_run).variants]
    assert [variant.name for variant in read_run(folder).variants] == before
