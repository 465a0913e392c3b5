"""What a benchmark has measured so far, on disk, so that an interrupted one goes on where it was."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from sottovoce.artifacts import Document
from sottovoce.benchmark.engines.engine import Timed
from sottovoce.benchmark.noise import Disturbance
from sottovoce.benchmark.results import Stage
from sottovoce.errors import InputError

HEADER_NAME, BLOCKS_NAME = "begun.json", "blocks.jsonl"


class Header(Document):
    """What must be the same for an interrupted benchmark to go on."""

    kind: Literal["unfinished benchmark"] = "unfinished benchmark"
    settings: dict[str, str]


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
        repeats: how often it was measured again because it was disturbed; the quieter figures are here.
        cpu_s: CPU time of the block, with what others had of it.
    """

    number: int
    clip_id: str
    timed: dict[str, TimedRecord]
    errors: dict[str, str]
    peak_rss_bytes: dict[str, int]
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


class Journal:
    """The blocks of a benchmark that is under way, in a folder beside its results."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep others from the journal meanwhile.

        Raises:
            InputError: another benchmark writes to it.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(self.folder.with_name(f".{self.folder.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout as cause:
            raise InputError(
                f"another benchmark is writing {self.folder}; wait for it, or choose another --out"
            ) from cause
        try:
            yield
        finally:
            lock.release()
            Path(lock.lock_file).unlink(missing_ok=True)

    def begin(self, settings: dict[str, str], *, anew: bool) -> dict[tuple[int, str], BlockRecord]:
        """Open the journal, and return what an interrupted benchmark of the same settings left.

        Args:
            settings: what decides on the figures.
            anew: throw away what is there.

        Raises:
            InputError: what is there has other settings, or is damaged, or is not a journal.
        """
        if self.folder.exists():
            header = self._read_header()
            if not anew:
                self._check(header, settings)
                return {record.key: record for record in self._read_blocks()}
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True)
        header = Header(settings=settings)
        (self.folder / HEADER_NAME).write_text(header.model_dump_json(indent=2) + "\n", encoding="utf-8")
        return {}

    def add(self, record: BlockRecord) -> None:
        """Keep a block; one of the same pass and clip takes the place of an earlier one."""
        with (self.folder / BLOCKS_NAME).open("a", encoding="utf-8") as file:
            file.write(record.model_dump_json() + "\n")

    def remove(self) -> None:
        """Throw the journal away: the results stand."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read_header(self) -> Header:
        path = self.folder / HEADER_NAME
        try:
            return Header.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as cause:
            raise InputError(
                f"{self.folder} is in the way: an unfinished benchmark would stand there, and this is none; remove it, "
                "or choose another --out"
            ) from cause

    def _check(self, header: Header, settings: dict[str, str]) -> None:
        changed = sorted(
            name
            for name in header.settings.keys() | settings.keys()
            if header.settings.get(name) != settings.get(name)
        )
        if changed:
            first = changed[0]
            raise InputError(
                f"{self.folder} holds an unfinished benchmark with other settings ({first}: "
                f"{header.settings.get(first, 'none')}, now {settings.get(first, 'none')}"
                f"{f', and {len(changed) - 1} more' if len(changed) > 1 else ''}); repeat its command to go on, or start "
                "anew with --restart"
            )

    def _read_blocks(self) -> list[BlockRecord]:
        """Read the blocks; a last line that an interruption cut short is cut off."""
        path = self.folder / BLOCKS_NAME
        if not path.exists():
            return []
        whole, newline, _ = path.read_bytes().rpartition(b"\n")
        path.write_bytes(whole + newline)
        try:
            return [BlockRecord.model_validate_json(line) for line in whole.splitlines()]
        except ValidationError as cause:
            raise InputError(f"{path} is damaged; start anew with --restart") from cause
