"""What a benchmark has measured so far, on disk, so that an interrupted one goes on where it was."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

from sottovoce.benchmark.engines.engine import Timed
from sottovoce.benchmark.schema.results import SkippedEngine, Stage
from sottovoce.benchmark.timing.noise import Disturbance
from sottovoce.storage.documents import Document, read_json_lines
from sottovoce.storage.folders import DELETED, sibling
from sottovoce.storage.locks import lock_path, output_lock
from sottovoce.storage.resumable import HEADER_NAME, ResumableFolder

BLOCKS_NAME = "blocks.jsonl"


class TimedRecord(Document):
    """A transcription with its times; as `Timed`."""

    text: str
    n_tokens: int
    latency_s: float
    stage_s: dict[Stage, float]
    calls: dict[Stage, int]


class BlockRecord(Document):
    """One clip in every entry.

    Attributes:
        number: of the pass, from 0.
        clip_id: which clip.
        timed: by entry.
        errors: why an entry failed, by entry.
        peak_rss_bytes: largest resident set so far, by entry.
        failed: entries of other engines that had failed by then, and are not in it.
        repeats: how often it was measured again because it was disturbed; the quieter figures are here.
        cpu_s: CPU time of the block, with what others had of it.
    """

    number: int
    clip_id: str
    timed: dict[str, TimedRecord]
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
        """Pass and clip."""
        return self.number, self.clip_id

    @property
    def disturbance(self) -> Disturbance:
        """What else happened meanwhile."""
        return Disturbance(
            cpu_s=self.cpu_s, steal_s=self.steal_s, foreign_s=self.foreign_s, throttled=self.throttled
        )


def as_record(timed: Timed) -> TimedRecord:
    """Make a transcription fit for the disk."""
    return TimedRecord(
        text=timed.text,
        n_tokens=timed.n_tokens,
        latency_s=timed.latency_s,
        stage_s=timed.stage_s,
        calls=timed.calls,
    )


def as_timed(record: TimedRecord) -> Timed:
    """Read a transcription back."""
    return Timed(
        text=record.text,
        n_tokens=record.n_tokens,
        latency_s=record.latency_s,
        stage_s=record.stage_s,
        calls=record.calls,
    )


def failed_before(
    blocks: Iterable[BlockRecord], failed: Iterable[SkippedEngine] = ()
) -> tuple[SkippedEngine, ...]:
    """Return the entries of other engines that blocks were measured without, and others that failed, each once."""
    before = (each for record in blocks for each in record.failed)
    return tuple({each.name: each for each in (*failed, *before)}.values())


def peer_setting(entry: str) -> str:
    """Name the setting that tells what an entry of another engine is."""
    return f"peer {entry}"


class Journal:
    """The blocks of a benchmark that is under way, in a folder beside its results."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._unfinished = ResumableFolder(folder, "benchmark")

    def output_lock(self) -> AbstractContextManager[bool]:
        """Keep others from the journal meanwhile.

        Raises:
            InputError: another benchmark writes to it: two at once would disturb each other's figures.
        """
        return output_lock(self.folder, wait=False)

    def begin(self, settings: dict[str, str], *, anew: bool) -> dict[tuple[int, str], BlockRecord]:
        """Open the journal, and return what an interrupted benchmark of the same settings left.

        What an entry of another engine is need not be the same once it has failed: it is not measured any more.

        Args:
            settings: what decides on the figures.
            anew: throw away what is there.

        Raises:
            InputError: what is there has other settings, or is damaged, or is not a journal.
        """
        if not self._unfinished.begin(settings, restart=anew, ignored=self._waived):
            return {}
        return {record.key: record for record in self._read_blocks()}

    def add(self, record: BlockRecord) -> None:
        """Keep a block; one of the same pass and clip takes the place of an earlier one."""
        with (self.folder / BLOCKS_NAME).open("a", encoding="utf-8") as file:
            file.write(record.model_dump_json() + "\n")

    def is_consumed(self, manifest: Path) -> bool:
        """Tell whether results stand that were made of this journal: a kill kept it from going away.

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
        """Throw the journal away: the results stand."""
        self._unfinished.remove()

    def _waived(self) -> set[str]:
        return {peer_setting(each.name) for each in failed_before(self._read_blocks())}

    def _read_blocks(self) -> list[BlockRecord]:
        """Read the blocks; a last line that an interruption cut short is cut off."""
        path = self.folder / BLOCKS_NAME
        if not path.exists():
            return []
        whole, newline, _ = path.read_bytes().rpartition(b"\n")
        path.write_bytes(whole + newline)
        return list(read_json_lines(path, BlockRecord, advice="start anew with --restart"))
