"""The folder from which a training resumes stays as long as it is worth something."""

from pathlib import Path

import pytest

from sottovoce.errors import InputError, StageError
from sottovoce.progress import Silent
from sottovoce.storage.resumable import resumable_path
from sottovoce.train.decoder.folders import new_checkpoint, unfinished_training
from sottovoce.train.loop import STATE_NAME


def train(out: Path, error: Exception | None, *, has_begun: bool = False, force: bool = False) -> None:
    with unfinished_training(out, "report.json", {}, Silent(), force=force, restart=False) as folder:
        if has_begun:
            (folder / STATE_NAME).touch()
        if error is not None:
            raise error
        with new_checkpoint(out, folder) as into:
            (into / "model").touch()


@pytest.mark.parametrize(
    ("error", "has_begun", "is_kept"),
    [
        (InputError("no transcripts"), False, False),
        (InputError("a damaged file"), True, True),
        (StageError("no memory"), False, True),
    ],
)
def test_only_a_command_that_is_refused_before_its_training_leaves_nothing(
    tmp_path: Path, error: Exception, *, has_begun: bool, is_kept: bool
) -> None:
    out = tmp_path / "mine"
    with pytest.raises(type(error), match=str(error)):
        train(out, error, has_begun=has_begun)
    assert resumable_path(out).exists() == is_kept


def test_a_checkpoint_that_a_killed_process_left_half_written_is_not_used(tmp_path: Path) -> None:
    out = tmp_path / "mine"
    with pytest.raises(StageError):
        train(out, StageError("killed"))
    half = resumable_path(out) / "checkpoint" / "half"
    half.parent.mkdir()
    half.touch()
    train(out, None)
    assert [path.name for path in out.iterdir()] == ["model"]
    assert list(tmp_path.iterdir()) == [out]
