"""The journal: the blocks that a benchmark has measured, on disk, so that it can be resumed."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

from sottovoce.benchmark.engines.transcription import TimedTranscript
from sottovoce.benchmark.schema.failures import SkippedEngine
from sottovoce.benchmark.timing.noise import Disturbance
from sottovoce.storage.documents import Document, read_json_lines
from sottovoce.storage.folders import DELETED, sibling
from sottovoce.storage.locks import lock_path, output_lock
from sottovoce.storage.resumable import HEADER_NAME, ResumableFolder

BLOCKS_NAME = "blocks.jsonl"


class BlockRecord(Document):
    """One clip in every entry.

    Attributes:
        number: of the pass, from 0.
        timed: by entry.
        errors: by entry, why it failed.
        peak_rss_bytes: by entry, largest resident set so far.
        failed: entries of other engines that had failed before, and are not in the block.
        repeats: times that it was measured again because it was disturbed; only the less disturbed figures are kept.
        cpu_s: CPU time of the block, including that of other processes and of the host.
    """

    number: int
    clip_id: str
    timed: dict[str, TimedTranscript]
    errors: dict[str, str]
    peak_rss_bytes: dict[str, int]
    failed: tuple[SkippedEngine, ...] = ()
    repeats: int = 0
    cpu_s: float
    steal_s: float
    foreign_s: float
    throttled: int | None = None

    @property
    def key(self) -> tuple[int, str]:
        """Number of the pass and id of the clip."""
        return self.number, self.clip_id

    @property
    def disturbance(self) -> Disturbance:
        """The activity of other processes and of the host during the block."""
        return Disturbance(
            cpu_s=self.cpu_s, steal_s=self.steal_s, foreign_s=self.foreign_s, throttled=self.throttled
        )


Blocks = dict[tuple[int, str], BlockRecord]
"""By pass and clip."""


def failed_before(
    blocks: Iterable[BlockRecord], failed: Iterable[SkippedEngine] = ()
) -> tuple[SkippedEngine, ...]:
    """Return all failures, those of `failed` and those recorded in blocks, each once."""
    before = (each for record in blocks for each in record.failed)
    return tuple({each.name: each for each in (*failed, *before)}.values())


def peer_setting(entry: str) -> str:
    """Name the setting that describes an entry of another engine."""
    return f"peer {entry}"


class Journal:
    """The blocks of an unfinished benchmark, in a folder next to its results."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._unfinished = ResumableFolder(folder, "benchmark")

    def output_lock(self) -> AbstractContextManager[bool]:
        """Lock the journal.

        Raises:
            InputError: another benchmark has locked it.
        """
        return output_lock(self.folder, wait=False)

    def begin(self, settings: dict[str, str], *, restart: bool) -> Blocks:
        """Open the journal, and return the blocks of an interrupted benchmark with the same settings.

        The settings of an entry of another engine that has failed are ignored: it is no longer measured.

        Args:
            settings: everything that affects the figures.
            restart: discard an existing journal.

        Raises:
            InputError: the journal has other settings, or is damaged, or the folder is not a journal.
        """
        if not self._unfinished.begin(settings, restart=restart, ignored=self._failed_settings):
            return {}
        return {record.key: record for record in self._read_blocks()}

    def add(self, record: BlockRecord) -> None:
        """Append a block; it replaces an earlier one of the same pass and clip."""
        with (self.folder / BLOCKS_NAME).open("a", encoding="utf-8") as file:
            file.write(record.model_dump_json() + "\n")

    def is_consumed(self, manifest: Path) -> bool:
        """Return True if the results of this journal are complete, and only its removal was interrupted.

        Args:
            manifest: of the results.
        """
        if not manifest.is_file():
            return False
        header = self.folder / HEADER_NAME
        if header.is_file():
            return manifest.stat().st_mtime_ns > header.stat().st_mtime_ns
        return sibling(self.folder, DELETED).exists() or lock_path(self.folder).exists()

    def remove(self) -> None:
        """Delete the journal, after the results are written."""
        self._unfinished.remove()

    def _failed_settings(self) -> set[str]:
        return {peer_setting(each.name) for each in failed_before(self._read_blocks())}

    def _read_blocks(self) -> list[BlockRecord]:
        """Read the blocks; an incomplete last line is removed."""
        path = self.folder / BLOCKS_NAME
        if not path.exists():
            return []
        whole, newline, _ = path.read_bytes().rpartition(b"\n")
        path.write_bytes(whole + newline)
        return list(read_json_lines(path, BlockRecord, advice="start again with --restart"))
