"""Measure entries clip by clip, interleaved, each in a process of its own."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from sottovoce.benchmark.clips.sounds import Sound
from sottovoce.benchmark.engines.engine import EngineSpec, MakeEngine, Probe
from sottovoce.benchmark.engines.transcription import DetailedTranscript
from sottovoce.benchmark.schema.results import FailedIn, SkippedEngine
from sottovoce.benchmark.timing.blocks import plan_blocks
from sottovoce.benchmark.timing.excluded import FailedPeers
from sottovoce.benchmark.timing.journal import Journal, failed_before
from sottovoce.benchmark.timing.noise import Disturbance
from sottovoce.benchmark.timing.pass_runner import Blocks, Measured, PassRunner
from sottovoce.benchmark.timing.worker import ClipError, ColdRun, Loaded, Worker, start_cold
from sottovoce.errors import StageError
from sottovoce.progress import Advance, Reporter
from sottovoce.speech.loading import LoadedClip

logger = logging.getLogger(__name__)


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
        failed: entries of other engines that failed before anything was measured.
    """

    passes: int = 2
    warm_up_clips: int = 2
    timing: tuple[int, ...] | None = None
    cold_starts: int = 0
    probes: bool = False
    details: bool = False
    sounds: tuple[Sound, ...] = ()
    failed: tuple[SkippedEngine, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What was measured, and what else the machine did meanwhile.

    Attributes:
        entries: all but those that failed.
        failed: of other engines, with those that failed before an interruption.
        disturbances: of each block that counts for speed.
        n_repeated: blocks that were measured again.
    """

    entries: tuple[VariantMeasurement, ...]
    failed: tuple[SkippedEngine, ...]
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
    make: MakeEngine | None = None,
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
        make: takes the place of the registry's engines.

    Raises:
        StageError: an entry of our own engine cannot be loaded, dies, or fails on more than half of the clips.
    """
    blocks = dict(begun or {})
    failed = FailedPeers(reporter, failed_before(blocks.values(), spec.failed))
    with ExitStack() as stack:
        start = _Starts(
            failed=failed,
            reporter=reporter,
            check=check,
            make=make,
            stack=stack,
            warm_up=clips[: spec.warm_up_clips],
        )
        first = start.workers(specs)
        course = PassRunner(
            workers={name: started.worker for name, started in first.items()},
            renew=start.again,
            failed=failed,
            clips=clips,
            journal=journal,
            blocks=blocks,
        )
        course.run(passes=spec.passes, timing=spec.timing, reporter=reporter)
        measured = _asked(course, first, spec, reporter)
    cold = _ColdStarts(failed=failed, specs=[one.spec for one in measured], make=make).run(
        spec.cold_starts, _heard_by_all(clips, measured), reporter
    )
    return Measurement(
        entries=tuple(replace(one, cold_runs=cold.get(one.spec.name, ())) for one in measured),
        failed=failed.found,
        disturbances=_disturbances(blocks, clips, spec.timing),
        n_repeated=sum(record.repeats for record in blocks.values()),
    )


def _asked(
    course: PassRunner, first: Mapping[str, "_Started"], spec: MeasureSpec, reporter: Reporter
) -> tuple[VariantMeasurement, ...]:
    """Ask the workers for what a course leaves open; nothing of it counts for speed on clips."""
    peaks = course.ask(course.peak_rss_bytes)
    details = _details(course, reporter) if spec.details else {}
    heard = course.ask(lambda worker: dict(_hear(worker, spec.sounds)), details)
    probes = course.ask(Worker.probe) if spec.probes else {}
    return tuple(
        VariantMeasurement(
            spec=worker.spec,
            loaded=first[name].loaded,
            warm_up_s=first[name].warm_up_s,
            peak_rss_bytes=peaks[name],
            clips=course.measured(name, details.get(name)),
            probe=probes.get(name),
            sounds=heard.get(name),
        )
        for name, worker in course.workers.items()
    )


def _heard_by_all(clips: Sequence[LoadedClip], measured: Sequence[VariantMeasurement]) -> LoadedClip | None:
    """Return the first clip on which no entry failed; None where there is none."""
    return next(
        (clip for place, clip in enumerate(clips) if all(one.clips[place].error is None for one in measured)),
        None,
    )


def _disturbances(
    blocks: Blocks, clips: Sequence[LoadedClip], timing: Sequence[int] | None
) -> tuple[Disturbance, ...]:
    """Return what disturbed the blocks whose figures count for speed; without a choice all do."""
    timed = None if timing is None else {clips[place].clip.clip_id for place in timing}
    return tuple(record.disturbance for record in blocks.values() if timed is None or record.clip_id in timed)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Started:
    """A worker that is loaded and warm."""

    worker: Worker
    loaded: Loaded
    warm_up_s: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Starts:
    """Starts workers one after another, so that no load disturbs another's load time, and warms them up.

    Attributes:
        check: called with each loaded entry; raises to refuse it.
        stack: ends the workers.
        warm_up: clips that do not count.
    """

    failed: FailedPeers
    reporter: Reporter
    check: Callable[[EngineSpec, Loaded], None]
    make: MakeEngine | None
    stack: ExitStack
    warm_up: Sequence[LoadedClip]

    def workers(self, specs: Sequence[EngineSpec]) -> dict[str, _Started]:
        """Start a worker of each entry that has not failed, and leave out what fails now."""
        loaded: dict[str, tuple[Worker, Loaded]] = {}
        with self.reporter.progress("load variants", len(specs)) as advance:
            for spec in self.failed.left(specs):
                with self.failed.excluded(spec, FailedIn.LOAD):
                    loaded[spec.name] = self._load(spec)
                advance()
        started = {}
        for name, (worker, told) in loaded.items():
            with self.failed.excluded(worker.spec, FailedIn.CLIPS):
                started[name] = _Started(worker=worker, loaded=told, warm_up_s=_warm_up(worker, self.warm_up))
            if name not in started:
                worker.close()
        return started

    def again(self, workers: Mapping[str, Worker]) -> dict[str, Worker]:
        """End workers, and start one again for each."""
        for worker in workers.values():
            worker.close()
        started = self.workers([worker.spec for worker in workers.values()])
        return {name: each.worker for name, each in started.items()}

    def _load(self, spec: EngineSpec) -> tuple[Worker, Loaded]:
        worker = self.stack.enter_context(Worker(spec, self.make))
        try:
            loaded = worker.load()
            self.check(spec, loaded)
        except StageError:
            worker.close()  # the others need the memory
            raise
        return worker, loaded


def _warm_up(worker: Worker, clips: Sequence[LoadedClip]) -> tuple[float, ...]:
    """Transcribe without counting: the first inferences of a shape prepare kernels."""
    seconds = []
    for clip in clips:
        try:
            seconds.append(worker.transcribe(clip.wave, clip.clip.language).latency_s)
        except ClipError as cause:
            logger.warning("%s failed on %s while warming up: %s", worker.spec.name, clip.clip.clip_id, cause)
    return tuple(seconds)


def _details(course: PassRunner, reporter: Reporter) -> dict[str, dict[str, DetailedTranscript]]:
    """Ask engines that can for tokens, words and language of each clip; nothing of it is timed."""
    tells = course.ask(lambda worker: not worker.spec.is_again and worker.supports_detail())
    able = [name for name, is_able in tells.items() if is_able]
    with reporter.progress("side effects", len(course.clips) * len(able)) as advance:
        return course.ask(lambda worker: dict(_details_of(worker, course.clips, advance)), able)


def _details_of(
    worker: Worker, clips: Sequence[LoadedClip], advance: Advance
) -> Iterator[tuple[str, DetailedTranscript]]:
    for clip in clips:
        try:
            yield clip.clip.clip_id, worker.detail(clip.wave, clip.clip.language)
        except ClipError as cause:
            logger.warning("%s tells no details of %s: %s", worker.spec.name, clip.clip.clip_id, cause)
        advance()


def _hear(worker: Worker, sounds: Sequence[Sound]) -> Iterator[tuple[str, str]]:
    for sound in sounds:
        try:
            yield sound.name, worker.transcribe(sound.wave, None).text
        except ClipError as cause:
            logger.warning("%s failed on %s: %s", worker.spec.name, sound.name, cause)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ColdStarts:
    """Entries that are started in fresh processes, in turn, when no other process is there."""

    failed: FailedPeers
    specs: Sequence[EngineSpec]
    make: MakeEngine | None

    def run(
        self, n_starts: int, clip: LoadedClip | None, reporter: Reporter
    ) -> dict[str, tuple[ColdRun, ...]]:
        """Start each entry so many times on a clip; of one that fails no start counts, without a clip none.

        Raises:
            StageError: an entry of our own engine fails.
        """
        if n_starts == 0 or clip is None:
            return {}
        runs: dict[str, list[ColdRun]] = {spec.name: [] for spec in self.specs}
        by_name = {spec.name: spec for spec in self.specs}
        with reporter.progress("cold starts", n_starts * len(self.specs)) as advance:
            for start in plan_blocks(tuple(by_name), 1, passes=n_starts):
                for spec in self.failed.left([by_name[name] for name in start.order]):
                    with self.failed.excluded(spec, FailedIn.COLD_STARTS):
                        runs[spec.name].append(_cold_run(spec, clip, self.make))
                    advance()
        return {spec.name: tuple(runs[spec.name]) for spec in self.failed.left(self.specs)}


def _cold_run(spec: EngineSpec, clip: LoadedClip, make: MakeEngine | None) -> ColdRun:
    try:
        return start_cold(spec, clip.wave, clip.clip.language, make)
    except ClipError as cause:
        raise StageError(f"{spec.name} failed on {clip.clip.clip_id} in a fresh process: {cause}") from cause
