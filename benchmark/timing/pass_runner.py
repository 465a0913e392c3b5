"""The passes over the clips, block by block; an entry of another engine that fails on the way is left out."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from sottovoce.benchmark.engines.transcription import TimedTranscript
from sottovoce.benchmark.schema.failures import FailedIn
from sottovoce.benchmark.timing.blocks import Block, plan_blocks
from sottovoce.benchmark.timing.excluded import FailedPeers
from sottovoce.benchmark.timing.journal import BlockRecord, Blocks, Journal
from sottovoce.benchmark.timing.noise import between, read_cpu
from sottovoce.benchmark.timing.settling import wait_until_idle
from sottovoce.benchmark.timing.worker import ClipError, Worker
from sottovoce.errors import StageError
from sottovoce.progress import Reporter
from sottovoce.speech.loading import LoadedClip

MAX_FAILED_SHARE = 0.5

MAX_REPEATED_SHARE = 0.25
"""Of the blocks of a pass: on a machine that is always disturbed, repeating would never end."""

_Answer = TypeVar("_Answer")


@dataclass(slots=True, kw_only=True)
class PassRunner:
    """Measures every clip with every entry, pass by pass.

    Attributes:
        workers: by name of the entry; failed entries are removed.
        renew: ends the workers, and starts a new one for each.
        failed: collects entries of other engines that fail.
        journal: stores each block.
        blocks: the measured blocks.
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
        """Call a function with one worker after another, and return the answers of those that do not fail.

        Args:
            question: called with the worker of an entry.
            names: of entries; None takes all. Entries that have failed are skipped.

        Raises:
            StageError: an entry of our own engine fails, or dies.
        """
        answers = {}
        for name in tuple(self.workers if names is None else names):
            if name in self.workers:
                with self._excluded_on_failure(name):
                    answers[name] = question(self.workers[name])
        return answers

    def run(self, *, passes: int, timing: Sequence[int] | None, reporter: Reporter) -> None:
        """Measure every missing block, then repeat disturbed ones; each pass has fresh processes.

        Args:
            passes: how many.
            timing: indices of the clips in all passes after the first; None takes all.
            reporter: shows the progress.

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
        """Return the largest resident set of an entry, including that before an interruption."""
        before = (record.peak_rss_bytes.get(worker.spec.name, 0) for record in self.blocks.values())
        return max(worker.peak_rss_bytes(), *before)

    @contextmanager
    def _excluded_on_failure(self, name: str) -> Iterator[None]:
        """If an entry of another engine fails in the block, remove it and end its process, which frees its memory."""
        worker = self.workers[name]
        with self.failed.excluded(worker.spec, FailedIn.CLIPS):
            yield
        if not self.failed.remaining([worker.spec]):
            del self.workers[name]
            worker.close()

    def _key(self, block: Block) -> tuple[int, str]:
        return block.number, self.clips[block.clip].clip.clip_id

    def _keep(self, block: Block, record: BlockRecord) -> None:
        self.blocks[self._key(block)] = record
        self.journal.add(record)

    def _repeat(self, blocks: Sequence[Block]) -> None:
        """Measure disturbed blocks again, and keep the less disturbed figures."""
        most = max(1, int(MAX_REPEATED_SHARE * len(blocks)))
        done = sum(self.blocks[self._key(block)].repeats > 0 for block in blocks)
        disturbed = [block for block in blocks if self._needs_repeat(self.blocks[self._key(block)])]
        for block in disturbed[: max(0, most - done)]:
            first, second = self.blocks[self._key(block)], self._measure(block)
            quieter = min(first, second, key=lambda record: record.disturbance.rank)
            self._keep(block, quieter.model_copy(update={"repeats": 1}))

    def _needs_repeat(self, record: BlockRecord) -> bool:
        return record.disturbance.is_beyond and record.repeats == 0

    def _measure(self, block: Block) -> BlockRecord:
        """Measure a block; if an entry fails in it, measure it again without that entry, which may have disturbed the others."""
        n_workers = len(self.workers)
        record = self._measure_once(block)
        return record if len(self.workers) == n_workers else self._measure(block)

    def _measure_once(self, block: Block) -> BlockRecord:
        clip = self.clips[block.clip]
        pids = [worker.pid for worker in self.workers.values()]
        before = read_cpu(pids)
        answers = self.ask(lambda worker: self._transcribe(worker, clip), block.order)
        disturbance = between(before, read_cpu(pids))
        return BlockRecord(
            number=block.number,
            clip_id=clip.clip.clip_id,
            timed={name: answer for name, answer in answers.items() if isinstance(answer, TimedTranscript)},
            errors={name: answer for name, answer in answers.items() if isinstance(answer, str)},
            peak_rss_bytes=self.ask(Worker.peak_rss_bytes),
            failed=self.failed.found,
            cpu_s=disturbance.cpu_s,
            steal_s=disturbance.steal_s,
            foreign_s=disturbance.foreign_s,
            throttled=disturbance.throttled,
        )

    def _transcribe(self, worker: Worker, clip: LoadedClip) -> TimedTranscript | str:
        """Return the transcript or the error; a clip that failed in an earlier pass is not tried again."""
        error = self._error(worker.spec.name, clip.clip.clip_id)
        if error is not None:
            return error
        try:
            transcript = worker.transcribe(clip.wave, clip.clip.language)
        except ClipError as cause:
            return str(cause)
        wait_until_idle(worker.pid)
        return transcript

    def _error(self, name: str, clip_id: str) -> str | None:
        found = (record for record in self.blocks.values() if record.clip_id == clip_id)
        return next((record.errors[name] for record in found if name in record.errors), None)

    def _check_failures(self) -> None:
        for name in tuple(self.workers):
            errors = [error for clip in self.clips if (error := self._error(name, clip.clip.clip_id))]
            if len(errors) > MAX_FAILED_SHARE * len(self.clips):
                with self._excluded_on_failure(name):
                    raise StageError(
                        f"{name} failed on {len(errors)} of {len(self.clips)} clips, first with: {errors[0]}"
                    )
