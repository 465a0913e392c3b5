"""The passes over the clips, block by block; an entry of another engine that fails on the way is left out."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from sottovoce.benchmark.engines.transcription import DetailedTranscript, TimedTranscript
from sottovoce.benchmark.schema.results import FailedIn
from sottovoce.benchmark.timing.blocks import Block, plan_blocks
from sottovoce.benchmark.timing.excluded import FailedPeers
from sottovoce.benchmark.timing.journal import BlockRecord, Journal
from sottovoce.benchmark.timing.noise import between, read_cpu
from sottovoce.benchmark.timing.settling import wait_until_idle
from sottovoce.benchmark.timing.worker import ClipError, Worker
from sottovoce.errors import StageError
from sottovoce.progress import Reporter
from sottovoce.speech.loading import LoadedClip

MAX_FAILED_SHARE = 0.5

MAX_REPEATED_SHARE = 0.25
"""Of a pass: a machine that is disturbed throughout would be measured for ever."""

Blocks = dict[tuple[int, str], BlockRecord]
"""By pass and clip."""

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one entry made of one clip.

    Attributes:
        passes: one for each pass that heard the clip; empty where it failed.
        disturbed: of each of them, whether the machine was disturbed beyond a limit.
        error: why it failed.
        detail: tokens, words and language; None where nobody asked.
    """

    passes: tuple[TimedTranscript, ...]
    disturbed: tuple[bool, ...] = ()
    error: str | None = None
    detail: DetailedTranscript | None = None


@dataclass(slots=True, kw_only=True)
class PassRunner:
    """The passes over the clips.

    Attributes:
        workers: the entries, by name; what fails is taken out.
        renew: ends the workers, and starts one again for each.
        failed: is told what fails.
        journal: is told each block.
        blocks: those that are measured.
    """

    workers: dict[str, Worker]
    renew: Callable[[dict[str, Worker]], dict[str, Worker]]
    failed: FailedPeers
    clips: Sequence[LoadedClip]
    journal: Journal
    blocks: Blocks

    def ask(
        self, question: Callable[[Worker], _Answer], names: Iterable[str] | None = None
    ) -> dict[str, _Answer]:
        """Ask entries one after another, and return what each answers that does not fail.

        Args:
            question: put to the worker of an entry.
            names: of entries, of which those are asked that are left; None asks all that are.

        Raises:
            StageError: an entry of our own engine fails, or dies.
        """
        answers = {}
        for name in tuple(self.workers if names is None else names):
            if name in self.workers:
                with self._spared(name):
                    answers[name] = question(self.workers[name])
        return answers

    def run(self, *, passes: int, timing: Sequence[int] | None, reporter: Reporter) -> None:
        """Measure every block that has not been, and those again that were disturbed, each pass in fresh processes.

        Args:
            passes: how many.
            timing: places of the clips that passes after the first take; None takes all.
            reporter: follows the work.

        Raises:
            StageError: an entry of our own engine dies, or fails on more than half of the clips.
        """
        plan = plan_blocks(tuple(self.workers), len(self.clips), passes=passes, timing=timing)
        is_fresh = True
        for number in range(passes):
            blocks = [block for block in plan if block.number == number]
            if not is_fresh and any(self._key(block) not in self.blocks for block in blocks):
                self.workers = self.renew(self.workers)
            with reporter.progress(f"pass {number + 1} of {passes}", len(blocks)) as advance:
                for block in blocks:
                    if self._key(block) not in self.blocks:
                        is_fresh = False
                        self._keep(block, self._measure(block))
                    advance()
                self._check_failures()
                self._repeat([b for b in blocks if timing is None or b.clip in timing])

    def peak_rss_bytes(self, worker: Worker) -> int:
        """Return the largest resident set of an entry, that of an interrupted benchmark included."""
        before = (record.peak_rss_bytes.get(worker.spec.name, 0) for record in self.blocks.values())
        return max(worker.peak_rss_bytes(), *before)

    def measured(self, name: str, details: Mapping[str, DetailedTranscript] | None) -> tuple[Measured, ...]:
        """Return what an entry made of each clip."""
        by_clip: dict[str, list[BlockRecord]] = {}
        for record in sorted(self.blocks.values(), key=lambda record: record.number):
            by_clip.setdefault(record.clip_id, []).append(record)
        return tuple(
            _measured(name, by_clip[clip.clip.clip_id], (details or {}).get(clip.clip.clip_id))
            for clip in self.clips
        )

    @contextmanager
    def _spared(self, name: str) -> Iterator[None]:
        """Go on without an entry of another engine that fails; its process holds no memory any more."""
        worker = self.workers[name]
        with self.failed.excluded(worker.spec, FailedIn.CLIPS):
            yield
        if not self.failed.left([worker.spec]):
            del self.workers[name]
            worker.close()

    def _key(self, block: Block) -> tuple[int, str]:
        return block.number, self.clips[block.clip].clip.clip_id

    def _keep(self, block: Block, record: BlockRecord) -> None:
        self.blocks[self._key(block)] = record
        self.journal.add(record)

    def _repeat(self, blocks: Sequence[Block]) -> None:
        """Measure disturbed blocks again, and keep the quieter figures."""
        most = max(1, int(MAX_REPEATED_SHARE * len(blocks)))
        done = sum(self.blocks[self._key(block)].repeats > 0 for block in blocks)
        disturbed = [block for block in blocks if self._wants_repeat(self.blocks[self._key(block)])]
        for block in disturbed[: max(0, most - done)]:
            before, again = self.blocks[self._key(block)], self._measure(block)
            quieter = min(before, again, key=lambda record: record.disturbance.rank)
            self._keep(block, quieter.model_copy(update={"repeats": 1}))

    def _wants_repeat(self, record: BlockRecord) -> bool:
        return record.disturbance.is_beyond and record.repeats == 0

    def _measure(self, block: Block) -> BlockRecord:
        """Measure a block; once more without an entry that failed in it, which may have disturbed the others."""
        there = len(self.workers)
        record = self._measure_once(block)
        return record if len(self.workers) == there else self._measure(block)

    def _measure_once(self, block: Block) -> BlockRecord:
        clip = self.clips[block.clip]
        pids = [worker.pid for worker in self.workers.values()]
        before = read_cpu(pids)
        heard = self.ask(lambda worker: self._transcribe(worker, clip), block.order)
        found = between(before, read_cpu(pids))
        return BlockRecord(
            number=block.number,
            clip_id=clip.clip.clip_id,
            timed={name: told for name, told in heard.items() if isinstance(told, TimedTranscript)},
            errors={name: told for name, told in heard.items() if isinstance(told, str)},
            peak_rss_bytes=self.ask(Worker.peak_rss_bytes),
            failed=self.failed.found,
            cpu_s=found.cpu_s,
            steal_s=found.steal_s,
            foreign_s=found.foreign_s,
            throttled=found.throttled,
        )

    def _transcribe(self, worker: Worker, clip: LoadedClip) -> TimedTranscript | str:
        """Return the transcription or why it failed; what failed in an earlier pass is not tried again."""
        failed = self._error(worker.spec.name, clip.clip.clip_id)
        if failed is not None:
            return failed
        try:
            told = worker.transcribe(clip.wave, clip.clip.language)
        except ClipError as cause:
            return str(cause)
        wait_until_idle(worker.pid)
        return told

    def _error(self, name: str, clip_id: str) -> str | None:
        found = (record for record in self.blocks.values() if record.clip_id == clip_id)
        return next((record.errors[name] for record in found if name in record.errors), None)

    def _check_failures(self) -> None:
        for name in tuple(self.workers):
            errors = [error for clip in self.clips if (error := self._error(name, clip.clip.clip_id))]
            if len(errors) > MAX_FAILED_SHARE * len(self.clips):
                with self._spared(name):
                    raise StageError(
                        f"{name} failed on {len(errors)} of {len(self.clips)} clips, first with: {errors[0]}"
                    )


def _measured(name: str, records: Sequence[BlockRecord], detail: DetailedTranscript | None) -> Measured:
    """Put the passes of one entry over one clip together."""
    timed = [record for record in records if name in record.timed]
    error = next((record.errors[name] for record in records if name in record.errors), None)
    timed = timed if error is None else []
    return Measured(
        passes=tuple(record.timed[name] for record in timed),
        disturbed=tuple(record.disturbance.is_beyond for record in timed),
        error=error,
        detail=detail,
    )
