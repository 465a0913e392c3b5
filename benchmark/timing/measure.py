"""Measure entries clip by clip, interleaved, each in a process of its own."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from sottovoce.benchmark.engines.engine import Detail, EngineSpec, MakeEngine, Probe, Timed
from sottovoce.benchmark.engines.registry import make_engine
from sottovoce.benchmark.sounds import Sound
from sottovoce.benchmark.timing.blocks import Block, plan_blocks
from sottovoce.benchmark.timing.journal import BlockRecord, Journal, as_record, as_timed
from sottovoce.benchmark.timing.noise import Disturbance, between, read_cpu
from sottovoce.benchmark.timing.worker import ClipError, ColdRun, Loaded, Worker, start_cold
from sottovoce.calibrate.loading import LoadedClip
from sottovoce.errors import StageError
from sottovoce.progress import Reporter

logger = logging.getLogger(__name__)

MAX_FAILED_SHARE = 0.5

MAX_REPEATED_SHARE = 0.25
"""Of a pass: a machine that is disturbed throughout would be measured for ever."""

Blocks = dict[tuple[int, str], BlockRecord]
"""By pass and clip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one entry made of one clip.

    Attributes:
        passes: one for each pass that heard the clip; empty where it failed.
        disturbed: of each of them, whether the machine was disturbed beyond a limit.
        error: why it failed.
        detail: tokens, words and language; None where nobody asked.
    """

    passes: tuple[Timed, ...]
    disturbed: tuple[bool, ...] = ()
    error: str | None = None
    detail: Detail | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantMeasurement:
    """What was measured of one entry.

    Attributes:
        clips: in the order of the clips.
        warm_up_s: latency of the transcriptions before the counted ones.
        cold_runs: first transcripts of further fresh processes; empty where none were asked for.
        probe: times of the parts alone, after everything else; None where it was not asked for.
        sounds: text of each sound without speech; empty where nobody asked.
    """

    spec: EngineSpec
    loaded: Loaded
    warm_up_s: tuple[float, ...]
    peak_rss_bytes: int
    clips: tuple[Measured, ...]
    cold_runs: tuple[ColdRun, ...] = ()
    probe: Probe | None = None
    sounds: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureSpec:
    """How often, in which order, and what else.

    Attributes:
        timing: places of the clips that passes after the first take; None takes all.
        probes: time encoder and decode step alone.
        details: ask for tokens, words and language of each clip, where an engine tells.
        sounds: without speech, heard where details are asked for.
    """

    passes: int = 2
    warm_up_clips: int = 2
    timing: tuple[int, ...] | None = None
    cold_starts: int = 0
    probes: bool = False
    details: bool = False
    sounds: tuple[Sound, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What was measured, and what else the machine did meanwhile.

    Attributes:
        disturbances: of each block that counts for speed.
        n_repeated: blocks that were measured again.
    """

    entries: tuple[VariantMeasurement, ...]
    disturbances: tuple[Disturbance, ...]
    n_repeated: int


def measure(
    specs: Sequence[EngineSpec],
    clips: Sequence[LoadedClip],
    spec: MeasureSpec,
    reporter: Reporter,
    *,
    check: Callable[[EngineSpec, Loaded], None],
    journal: Journal,
    begun: Blocks | None = None,
    make: MakeEngine = make_engine,
) -> Measurement:
    """Transcribe every clip with every entry, in turn.

    On each clip the entries follow one another, so that what is compared lies seconds apart. Only one process
    works at a time.

    Args:
        specs: the entries, in the order of the first block.
        clips: what every entry transcribes.
        spec: passes, warm-up, cold starts and what else is asked.
        reporter: follows the work.
        check: called with each loaded entry before anything is measured; raises to refuse it.
        journal: is told each block.
        begun: blocks of an interrupted benchmark, which are not measured again.
        make: makes the engines, in their processes.

    Raises:
        StageError: an entry cannot be loaded, dies, or fails on more than half of the clips.
    """
    with _workers(specs, reporter, check, make) as loaded:
        workers = {worker.spec.name: worker for worker in loaded}
        warm_up = {name: _warm_up(worker, clips[: spec.warm_up_clips]) for name, worker in workers.items()}
        course = _Course(workers=workers, clips=clips, journal=journal, blocks=dict(begun or {}))
        course.run(spec, reporter)
        peaks = {name: course.peak_rss_bytes(name) for name in workers}
        details = _details(workers, clips, reporter) if spec.details else {}
        heard = _hear_sounds(workers, details, spec.sounds)
        measured = tuple(
            VariantMeasurement(
                spec=worker.spec,
                loaded=loaded[worker],
                warm_up_s=warm_up[name],
                peak_rss_bytes=peaks[name],
                clips=course.measured(name, details.get(name)),
                probe=worker.probe() if spec.probes else None,
                sounds=heard.get(name),
            )
            for name, worker in workers.items()
        )
    timed = None if spec.timing is None else {clips[place].clip.clip_id for place in spec.timing}
    heard_by_all = [
        clip for place, clip in enumerate(clips) if all(one.clips[place].error is None for one in measured)
    ]
    cold = _start_cold(specs, heard_by_all[:1], spec.cold_starts, reporter, make)
    return Measurement(
        entries=tuple(replace(one, cold_runs=cold[one.spec.name]) for one in measured),
        disturbances=tuple(
            record.disturbance
            for record in course.blocks.values()
            if timed is None or record.clip_id in timed
        ),
        n_repeated=sum(record.repeats for record in course.blocks.values()),
    )


@contextmanager
def _workers(
    specs: Sequence[EngineSpec],
    reporter: Reporter,
    check: Callable[[EngineSpec, Loaded], None],
    make: MakeEngine,
) -> Iterator[Mapping[Worker, Loaded]]:
    """Start the workers one after another, so that no load disturbs another's load time."""
    with ExitStack() as stack, reporter.progress("load variants", len(specs)) as advance:
        loaded = {}
        for spec in specs:
            worker = stack.enter_context(Worker(spec, make))
            loaded[worker] = worker.load()
            check(spec, loaded[worker])
            advance()
        yield loaded


def _warm_up(worker: Worker, clips: Sequence[LoadedClip]) -> tuple[float, ...]:
    """Transcribe without counting: the first inferences of a shape prepare kernels."""
    seconds = []
    for clip in clips:
        try:
            seconds.append(worker.transcribe(clip.wave, clip.clip.language).latency_s)
        except ClipError as cause:
            logger.warning("%s failed on %s while warming up: %s", worker.spec.name, clip.clip.clip_id, cause)
    return tuple(seconds)


@dataclass(slots=True, kw_only=True)
class _Course:
    """The passes over the clips, block by block."""

    workers: Mapping[str, Worker]
    clips: Sequence[LoadedClip]
    journal: Journal
    blocks: Blocks

    def run(self, spec: MeasureSpec, reporter: Reporter) -> None:
        """Measure every block that has not been, and those again that were disturbed."""
        plan = plan_blocks(tuple(self.workers), len(self.clips), passes=spec.passes, timing=spec.timing)
        with reporter.progress("benchmark", len(plan)) as advance:
            for number in range(spec.passes):
                blocks = [block for block in plan if block.number == number]
                for block in blocks:
                    if self._key(block) not in self.blocks:
                        self._keep(block, self._measure(block))
                    advance()
                self._check_failures()
                self._repeat([b for b in blocks if spec.timing is None or b.clip in spec.timing])

    def peak_rss_bytes(self, name: str) -> int:
        """Return the largest resident set of an entry, that of an interrupted benchmark included."""
        before = (record.peak_rss_bytes.get(name, 0) for record in self.blocks.values())
        return max(self.workers[name].peak_rss_bytes(), *before)

    def measured(self, name: str, details: Mapping[str, Detail] | None) -> tuple[Measured, ...]:
        """Return what an entry made of each clip."""
        by_clip: dict[str, list[BlockRecord]] = {}
        for record in sorted(self.blocks.values(), key=lambda record: record.number):
            by_clip.setdefault(record.clip_id, []).append(record)
        return tuple(
            _measured(name, by_clip[clip.clip.clip_id], (details or {}).get(clip.clip.clip_id))
            for clip in self.clips
        )

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
        clip = self.clips[block.clip]
        pids = [worker.pid for worker in self.workers.values()]
        before = read_cpu(pids)
        heard = {name: self._transcribe(name, clip) for name in block.order}
        found = between(before, read_cpu(pids))
        return BlockRecord(
            number=block.number,
            clip_id=clip.clip.clip_id,
            timed={name: as_record(told) for name, told in heard.items() if isinstance(told, Timed)},
            errors={name: told for name, told in heard.items() if isinstance(told, str)},
            peak_rss_bytes={name: worker.peak_rss_bytes() for name, worker in self.workers.items()},
            cpu_s=found.cpu_s,
            steal_s=found.steal_s,
            foreign_s=found.foreign_s,
            throttled=found.throttled,
        )

    def _transcribe(self, name: str, clip: LoadedClip) -> Timed | str:
        """Return the transcription or why it failed; what failed in an earlier pass is not tried again."""
        failed = self._error(name, clip.clip.clip_id)
        if failed is not None:
            return failed
        try:
            return self.workers[name].transcribe(clip.wave, clip.clip.language)
        except ClipError as cause:
            return str(cause)

    def _error(self, name: str, clip_id: str) -> str | None:
        found = (record for record in self.blocks.values() if record.clip_id == clip_id)
        return next((record.errors[name] for record in found if name in record.errors), None)

    def _check_failures(self) -> None:
        for name in self.workers:
            errors = [error for clip in self.clips if (error := self._error(name, clip.clip.clip_id))]
            if len(errors) > MAX_FAILED_SHARE * len(self.clips):
                raise StageError(
                    f"{name} failed on {len(errors)} of {len(self.clips)} clips, first with: {errors[0]}"
                )


def _measured(name: str, records: Sequence[BlockRecord], detail: Detail | None) -> Measured:
    """Put the passes of one entry over one clip together."""
    timed = [record for record in records if name in record.timed]
    error = next((record.errors[name] for record in records if name in record.errors), None)
    timed = timed if error is None else []
    return Measured(
        passes=tuple(as_timed(record.timed[name]) for record in timed),
        disturbed=tuple(record.disturbance.is_beyond for record in timed),
        error=error,
        detail=detail,
    )


def _details(
    workers: Mapping[str, Worker], clips: Sequence[LoadedClip], reporter: Reporter
) -> dict[str, dict[str, Detail]]:
    """Ask engines that can for tokens, words and language of each clip; nothing of it is timed."""
    able = {
        name: worker
        for name, worker in workers.items()
        if not worker.spec.is_again and worker.tells_details()
    }
    found: dict[str, dict[str, Detail]] = {name: {} for name in able}
    with reporter.progress("side effects", len(clips) * len(able)) as advance:
        for name, worker in able.items():
            for clip in clips:
                try:
                    found[name][clip.clip.clip_id] = worker.detail(clip.wave, clip.clip.language)
                except ClipError as cause:
                    logger.warning("%s tells no details of %s: %s", name, clip.clip.clip_id, cause)
                advance()
    return found


def _hear_sounds(
    workers: Mapping[str, Worker], names: Mapping[str, object], sounds: Sequence[Sound]
) -> dict[str, dict[str, str]]:
    """Let entries hear sounds without speech; whatever they say is invented."""
    return {name: dict(_hear(workers[name], sounds)) for name in names}


def _hear(worker: Worker, sounds: Sequence[Sound]) -> Iterator[tuple[str, str]]:
    for sound in sounds:
        try:
            yield sound.name, worker.transcribe(sound.wave, None).text
        except ClipError as cause:
            logger.warning("%s failed on %s: %s", worker.spec.name, sound.name, cause)


def _start_cold(
    specs: Sequence[EngineSpec],
    clips: Sequence[LoadedClip],
    n_starts: int,
    reporter: Reporter,
    make: MakeEngine,
) -> dict[str, tuple[ColdRun, ...]]:
    """Start each entry in fresh processes, in turn, when no other process is there; on the first clip."""
    runs: dict[str, list[ColdRun]] = {spec.name: [] for spec in specs}
    if n_starts == 0 or not clips:
        return dict.fromkeys(runs, ())
    clip = clips[0]
    by_name = {spec.name: spec for spec in specs}
    with reporter.progress("cold starts", n_starts * len(specs)) as advance:
        for start in plan_blocks(tuple(by_name), 1, passes=n_starts):
            for name in start.order:
                runs[name].append(_cold_run(by_name[name], clip, make))
                advance()
    return {name: tuple(found) for name, found in runs.items()}


def _cold_run(spec: EngineSpec, clip: LoadedClip, make: MakeEngine) -> ColdRun:
    try:
        return start_cold(spec, clip.wave, clip.clip.language, make)
    except ClipError as cause:
        raise StageError(f"{spec.name} failed on {clip.clip.clip_id} in a fresh process: {cause}") from cause
