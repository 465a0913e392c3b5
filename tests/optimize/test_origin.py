"""Which checkpoint counts as the one of a run, whether it is from the hub or from a folder."""

from dataclasses import replace
from pathlib import Path

import pytest

from sottovoce.errors import SpecError
from sottovoce.optimize.checkpoint.files import WEIGHTS_NAME
from sottovoce.optimize.checkpoint.resolve import find_checkpoint, resolve_checkpoint
from sottovoce.runs import Run, read_run
from sottovoce.storage.artifacts import Parent, sha256_of_file
from tests.support.checkpoints import tiny_checkpoint


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hold another model of the same shapes."""
    return tiny_checkpoint(tmp_path_factory.mktemp("checkpoints") / "other", seed=1)


def serve(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the hub return a folder for any name."""
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub, "snapshot_download", lambda *_, **__: str(folder))


def run_of(tiny_run: Path, origin: Parent) -> Run:
    run = read_run(tiny_run)
    return replace(run, manifest=run.manifest.model_copy(update={"parents": (origin,)}))


def test_a_checkpoint_of_the_hub_has_the_hash_of_its_weights(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(tiny, monkeypatch)
    origin = resolve_checkpoint("owner/mine").origin
    assert origin.revision == tiny.name
    assert origin.sha256 == sha256_of_file(tiny / WEIGHTS_NAME)


def test_a_folder_is_compared_with_a_checkpoint_of_the_hub(
    tiny_run: Path, tiny: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(tiny, monkeypatch)
    run = run_of(tiny_run, resolve_checkpoint("owner/mine").origin)
    assert find_checkpoint(run, str(tiny)).folder == tiny
    with pytest.raises(SpecError, match="is not the checkpoint of"):
        find_checkpoint(run, str(other))


def test_a_checkpoint_of_the_hub_is_compared_with_a_folder(
    tiny_run: Path, tiny: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(tiny, monkeypatch)
    assert find_checkpoint(read_run(tiny_run), "owner/mine").folder == tiny
    serve(other, monkeypatch)
    with pytest.raises(SpecError, match="is not the checkpoint of"):
        find_checkpoint(read_run(tiny_run), "owner/mine")


def test_a_run_with_a_revision_and_no_hash_is_compared_by_that(
    tiny_run: Path, tiny: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(tiny_run, Parent(role="checkpoint", name="owner/mine", revision="0123abc"))
    assert find_checkpoint(run, str(other)).folder == other
    serve(tiny, monkeypatch)
    with pytest.raises(SpecError, match="is not the checkpoint of"):
        find_checkpoint(run, "owner/mine")
