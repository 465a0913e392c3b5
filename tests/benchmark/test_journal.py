"""The journal of an interrupted benchmark: what is resumed, and what is refused."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sottovoce.benchmark.schema.failures import FailedIn, SkippedEngine
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
    assert made.begin(SETTINGS, restart=False) == {}
    return made


def test_blocks_are_read_back_and_the_last_of_a_key_counts(journal: Journal) -> None:
    for record in (block(0, "a"), block(0, "b\u2028"), block(0, "a", foreign_s=1.0)):
        journal.add(record)
    found = Journal(journal.folder).begin(SETTINGS, restart=False)
    assert set(found) == {(0, "a"), (0, "b\u2028")}
    assert found[0, "a"].foreign_s == 1.0


def test_an_incomplete_line_is_measured_again(journal: Journal) -> None:
    journal.add(block(0, "a"))
    journal.add(block(0, "b"))
    path = journal.folder / BLOCKS_NAME
    path.write_bytes(path.read_bytes()[:-20])
    assert set(journal.begin(SETTINGS, restart=False)) == {(0, "a")}
    journal.add(block(0, "b"))
    assert set(journal.begin(SETTINGS, restart=False)) == {(0, "a"), (0, "b")}


def test_other_settings_are_refused_and_the_blocks_are_kept(journal: Journal) -> None:
    journal.add(block(0, "a"))
    with pytest.raises(InputError, match=r"other settings \(passes: 2, now 3\).*--restart"):
        journal.begin({"clips": "abc", "passes": "3"}, restart=False)
    assert set(journal.begin(SETTINGS, restart=False)) == {(0, "a")}


def test_settings_of_a_failed_peer_may_change(journal: Journal) -> None:
    peer, other = peer_setting("torch:fp32"), peer_setting("torch-dynamic:dynamic-int8")
    settings = SETTINGS | {peer: "torch 2.8", other: "torch 2.8"}
    assert journal.begin(settings, restart=True) == {}
    failed = SkippedEngine(engine="torch", entry="torch:fp32", failed_in=FailedIn.CLIPS, reason="ended")
    journal.add(block(0, "a").model_copy(update={"failed": (failed,)}))
    journal.add(block(0, "b"))
    for now in (settings, SETTINGS | {other: "torch 2.8"}, settings | {peer: "torch 2.9"}):
        assert failed_before(journal.begin(now, restart=False).values()) == (failed,)
    with pytest.raises(
        InputError, match=r"other settings \(peer torch-dynamic:dynamic-int8: torch 2.8, now none"
    ):
        journal.begin(SETTINGS | {peer: "torch 2.8"}, restart=False)


def test_a_restart_discards_the_blocks(journal: Journal) -> None:
    journal.add(block(0, "a"))
    assert journal.begin({"passes": "3"}, restart=True) == {}
    assert journal.begin({"passes": "3"}, restart=False) == {}


def test_a_damaged_journal_is_an_input_error(journal: Journal) -> None:
    (journal.folder / BLOCKS_NAME).write_text("{}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"damaged .*; start again with --restart"):
        journal.begin(SETTINGS, restart=False)


def test_a_folder_that_is_not_a_journal_is_never_deleted(tmp_path: Path) -> None:
    theirs = tmp_path / "results.unfinished"
    theirs.mkdir()
    (theirs / "thesis.txt").write_text("years of work", encoding="utf-8")
    for restart in (False, True):
        with pytest.raises(InputError, match="is not an unfinished benchmark"):
            Journal(theirs).begin(SETTINGS, restart=restart)
    assert (theirs / "thesis.txt").exists()


def test_two_benchmarks_cannot_write_one_journal(journal: Journal) -> None:
    with (
        journal.output_lock(),
        pytest.raises(InputError, match="another process is writing"),
        ThreadPoolExecutor(1) as other,
    ):
        other.submit(lambda: Journal(journal.folder).output_lock().__enter__()).result()
    with Journal(journal.folder).output_lock():
        pass
    assert [path.name for path in journal.folder.parent.iterdir()] == [journal.folder.name]


def test_a_journal_is_consumed_if_there_are_newer_results(journal: Journal, tmp_path: Path) -> None:
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
