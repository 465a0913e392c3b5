"""What an interrupted command left is gone on with, and never mistaken for something else."""

from pathlib import Path

import pytest

from sottovoce.errors import InputError
from sottovoce.storage.resumable import HEADER_NAME, ResumableFolder, resumable_path

SETTINGS = {"recipe": "abc", "versions": "openvino 1"}


@pytest.fixture
def unfinished(tmp_path: Path) -> ResumableFolder:
    made = ResumableFolder(resumable_path(tmp_path / "run"), "run")
    assert not made.begin(SETTINGS, restart=False)
    (made.folder / "done.txt").write_text("hours of work", encoding="utf-8")
    return made


def test_the_same_settings_go_on(unfinished: ResumableFolder) -> None:
    assert unfinished.folder.name == "run.unfinished"
    assert unfinished.begin(SETTINGS, restart=False)
    assert (unfinished.folder / "done.txt").exists()


def test_other_settings_are_named_and_nothing_is_lost(unfinished: ResumableFolder) -> None:
    with pytest.raises(
        InputError, match=r"unfinished run with other settings \(recipe: abc, now d\).*--restart"
    ):
        unfinished.begin(SETTINGS | {"recipe": "d"}, restart=False)
    assert (unfinished.folder / "done.txt").exists()


def test_other_settings_can_be_seen_before_beginning(unfinished: ResumableFolder, tmp_path: Path) -> None:
    assert not unfinished.has_other_settings(SETTINGS)
    assert unfinished.has_other_settings(SETTINGS | {"recipe": "d"})
    assert not ResumableFolder(tmp_path / "none.unfinished", "run").has_other_settings(SETTINGS)


def test_a_restart_deletes_what_is_there(unfinished: ResumableFolder) -> None:
    assert not unfinished.begin({"recipe": "d"}, restart=True)
    assert [path.name for path in unfinished.folder.iterdir()] == [HEADER_NAME]
    assert [path.name for path in unfinished.folder.parent.iterdir()] == ["run.unfinished"]


def test_an_unfinished_benchmark_is_no_unfinished_run(unfinished: ResumableFolder) -> None:
    for restart in (False, True):
        with pytest.raises(
            InputError, match="is not an unfinished benchmark, and its place is needed for one"
        ):
            ResumableFolder(unfinished.folder, "benchmark").begin(SETTINGS, restart=restart)
    assert (unfinished.folder / "done.txt").exists()


def test_a_folder_that_was_half_removed_is_forgotten(unfinished: ResumableFolder) -> None:
    unfinished.folder.rename(unfinished.folder.with_name(".run.unfinished.gone"))
    (unfinished.folder.with_name(".run.unfinished.gone") / HEADER_NAME).unlink()
    unfinished.remove()
    assert not unfinished.begin(SETTINGS, restart=False)
    assert [path.name for path in unfinished.folder.parent.iterdir()] == ["run.unfinished"]
