"""An interrupted benchmark goes on where it was, and only where it may."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sottovoce.benchmark.schema.results import FailedIn, SkippedEngine
from sottovoce.benchmark.timing.journal import (
    BLOCKS_NAME,
    BlockRecord,
    Journal,
    failed_before,
    peer_setting,
)
from sottovoce.errors import InputError
from sottovoce.storage.resumable import HEADER_NAME

SETTINGS = {"clips": "abc", "passes": "2"}


def block(number: int, clip_id: str, foreign_s: float = 0.0) -> BlockRecord:
    return BlockRecord(
        number=number,
        clip_id=clip_id,
        timed={},
        errors={"int8": "cannot transcribe"},
        peak_rss_bytes={"int8": 5},
        cpu_s=2.0,
        steal_s=0.0,
        foreign_s=foreign_s,
    )


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    made = Journal(tmp_path / "results.unfinished")
    assert made.begin(SETTINGS, anew=False) == {}
    return made


def test_blocks_are_there_again_and_the_last_of_a_key_counts(journal: Journal) -> None:
    for record in (block(0, "a"), block(0, "b\u2028"), block(0, "a", foreign_s=1.0)):
        journal.add(record)
    found = Journal(journal.folder).begin(SETTINGS, anew=False)
    assert set(found) == {(0, "a"), (0, "b\u2028")}
    assert found[0, "a"].foreign_s == 1.0


def test_a_line_that_was_cut_short_is_measured_again(journal: Journal) -> None:
    journal.add(block(0, "a"))
    journal.add(block(0, "b"))
    path = journal.folder / BLOCKS_NAME
    path.write_bytes(path.read_bytes()[:-20])
    assert set(journal.begin(SETTINGS, anew=False)) == {(0, "a")}
    journal.add(block(0, "b"))
    assert set(journal.begin(SETTINGS, anew=False)) == {(0, "a"), (0, "b")}


def test_other_settings_are_named_and_nothing_is_lost(journal: Journal) -> None:
    journal.add(block(0, "a"))
    with pytest.raises(InputError, match=r"other settings \(passes: 2, now 3\).*--restart"):
        journal.begin({"clips": "abc", "passes": "3"}, anew=False)
    assert set(journal.begin(SETTINGS, anew=False)) == {(0, "a")}


def test_what_a_failed_peer_is_need_not_stay_the_same(journal: Journal) -> None:
    peer, other = peer_setting("torch:fp32"), peer_setting("torch-dynamic:dynamic-int8")
    settings = SETTINGS | {peer: "torch 2.8", other: "torch 2.8"}
    assert journal.begin(settings, anew=True) == {}
    failed = SkippedEngine(engine="torch", entry="torch:fp32", failed_in=FailedIn.CLIPS, reason="ended")
    journal.add(block(0, "a").model_copy(update={"failed": (failed,)}))
    journal.add(block(0, "b"))
    for now in (settings, SETTINGS | {other: "torch 2.8"}, settings | {peer: "torch 2.9"}):
        assert failed_before(journal.begin(now, anew=False).values()) == (failed,)
    with pytest.raises(
        InputError, match=r"other settings \(peer torch-dynamic:dynamic-int8: torch 2.8, now none"
    ):
        journal.begin(SETTINGS | {peer: "torch 2.8"}, anew=False)


def test_a_restart_forgets(journal: Journal) -> None:
    journal.add(block(0, "a"))
    assert journal.begin({"passes": "3"}, anew=True) == {}
    assert journal.begin({"passes": "3"}, anew=False) == {}


def test_a_damaged_journal_is_told(journal: Journal) -> None:
    (journal.folder / BLOCKS_NAME).write_text("{}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"damaged .*; start anew with --restart"):
        journal.begin(SETTINGS, anew=False)


def test_a_folder_of_somebody_else_is_never_thrown_away(tmp_path: Path) -> None:
    theirs = tmp_path / "results.unfinished"
    theirs.mkdir()
    (theirs / "thesis.txt").write_text("years of work", encoding="utf-8")
    for anew in (False, True):
        with pytest.raises(InputError, match="is not an unfinished benchmark"):
            Journal(theirs).begin(SETTINGS, anew=anew)
    assert (theirs / "thesis.txt").exists()


def test_two_benchmarks_do_not_write_one_journal(journal: Journal) -> None:
    with (
        journal.output_lock(),
        pytest.raises(InputError, match="another process is writing"),
        ThreadPoolExecutor(1) as other,
    ):
        other.submit(lambda: Journal(journal.folder).output_lock().__enter__()).result()
    with Journal(journal.folder).output_lock():
        pass
    assert [path.name for path in journal.folder.parent.iterdir()] == [journal.folder.name]


def test_a_journal_is_spent_once_results_stand_that_are_younger(journal: Journal, tmp_path: Path) -> None:
    manifest = tmp_path / "results" / "manifest.json"
    assert not journal.is_consumed(manifest)
    manifest.parent.mkdir()
    manifest.write_text("{}", encoding="utf-8")
    os.utime(manifest, (1, 1))
    assert not journal.is_consumed(manifest)
    os.utime(manifest)
    os.utime(journal.folder / HEADER_NAME, (1, 1))
    assert journal.is_consumed(manifest)
    journal.remove()
    assert not journal.is_consumed(manifest)
