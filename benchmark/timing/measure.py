"""Measure entries clip by clip, interleaved, each in its own process."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from sottovoce.benchmark.clips.sounds import Sound
from sottovoce.benchmark.engines.engine import EngineSpec, MakeEngine, Probe
from sottovoce.benchmark.engines.transcription import DetailedTranscript
from sottovoce.benchmark.plan import Plan
from sottovoce.benchmark.schema.failures import FailedIn
from sottovoce.benchmark.timing.conditions import ConditionTexts, transcribe_conditions
from sottovoce.benchmark.timing.excluded import FailedPeers
from sottovoce.benchmark.timing.journal import Blocks, Journal
from sottovoce.benchmark.timing.pass_runner import PassRunner
from sottovoce.benchmark.timing.worker import ClipError, Loaded, Worker
from sottovoce.errors import StageError
from sottovoce.progress import Advance, Reporter
from sottovoce.speech.loading import LoadedClip

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantMeasurement:
    """The figures of one entry, apart from its transcripts.

    Attributes:
        warm_up_s: latency of the transcriptions before the counted ones.
        details: by clip, tokens, words and language; empty if the engine has none, or without `side_effects`.
        sounds: by sound without speech, its transcript; None if `details` is empty.
        conditions: the transcripts under the conditions of `robustness`; empty without it, and for other engines.
        probe: times of encoder and decode step alone; None without `ceilings`.
    """

    spec: EngineSpec
    loaded: Loaded
    warm_up_s: tuple[float, ...]
    peak_rss_bytes: int
    details: Mapping[str, DetailedTranscript]
    sounds: Mapping[str, str] | None = None
    conditions: ConditionTexts = field(default_factory=dict)
    probe: Probe | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """The entries that did not fail, and the blocks of all passes with the transcripts and times of each entry."""

    entries: tuple[VariantMeasurement, ...]
    blocks: Blocks


def measure(
    plan: Plan,
    reporter: Reporter,
    *,
    failed: FailedPeers,
    check: Callable[[EngineSpec, Loaded], None],
    journal: Journal,
    begun: Blocks,
    make: MakeEngine | None = None,
) -> Measurement:
    """Transcribe every clip with every entry, in turn.

    The entries follow one another on each clip, so that the compared times are seconds apart. Only one process works
    at a time.

    Args:
        plan: entries, clips and passes.
        reporter: shows the progress.
        failed: entries of other engines that have failed already; those that fail now are added.
        check: called with each loaded entry before anything is measured; raises to refuse it.
        journal: stores each block.
        begun: blocks of an interrupted benchmark, which are not measured again.
        make: takes the place of the registry's engines.

    Raises:
        StageError: an entry of our own engine cannot be loaded, dies, or fails on more than half of the clips.
    """
    clips, spec = plan.clips.loaded, plan.spec
    with ExitStack() as stack:
        starter = _Starter(
            failed=failed,
            reporter=reporter,
            check=check,
            make=make,
            stack=stack,
            warm_up=clips[: spec.warm_up_clips],
        )
        first = starter.start([entry.spec for entry in plan.entries])
        runner = PassRunner(
            workers={name: started.worker for name, started in first.items()},
            renew=starter.restart,
            failed=failed,
            clips=clips,
            journal=journal,
            blocks=dict(begun),
        )
        runner.run(passes=spec.passes, timing=plan.timing, reporter=reporter)
        return Measurement(entries=_ask_for_rest(runner, first, plan, reporter), blocks=runner.blocks)


def _ask_for_rest(
    runner: PassRunner, first: Mapping[str, "_Started"], plan: Plan, reporter: Reporter
) -> tuple[VariantMeasurement, ...]:
    """Get peak memory, details, sounds, transcripts under conditions and probes after the passes; nothing here counts for speed on clips."""
    peaks = runner.ask(runner.peak_rss_bytes)
    details = _details(runner, reporter) if plan.spec.side_effects else {}
    sounds = runner.ask(lambda worker: dict(_transcribe_sounds(worker, plan.sounds)), details)
    conditions = transcribe_conditions(runner, plan.spec, reporter)
    probes = runner.ask(Worker.probe) if plan.spec.ceilings else {}
    return tuple(
        VariantMeasurement(
            spec=worker.spec,
            loaded=first[name].loaded,
            warm_up_s=first[name].warm_up_s,
            peak_rss_bytes=peaks[name],
            details=details.get(name, {}),
            sounds=sounds.get(name),
            conditions=conditions.get(name, {}),
            probe=probes.get(name),
        )
        for name, worker in runner.workers.items()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Started:
    """A worker that is loaded and warm."""

    worker: Worker
    loaded: Loaded
    warm_up_s: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Starter:
    """Starts workers one after another, so that loading is not disturbed, and warms them up.

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

    def start(self, specs: Sequence[EngineSpec]) -> dict[str, _Started]:
        """Start a worker for each entry that has not failed; leave out entries that fail now."""
        loaded: dict[str, tuple[Worker, Loaded]] = {}
        with self.reporter.progress("load variants", len(specs)) as advance:
            for spec in self.failed.remaining(specs):
                with self.failed.excluded(spec, FailedIn.LOAD):
                    loaded[spec.name] = self._load(spec)
                advance()
        started = {}
        for name, (worker, facts) in loaded.items():
            with self.failed.excluded(worker.spec, FailedIn.CLIPS):
                started[name] = _Started(
                    worker=worker, loaded=facts, warm_up_s=_warm_up(worker, self.warm_up)
                )
            if name not in started:
                worker.close()
        return started

    def restart(self, workers: Mapping[str, Worker]) -> dict[str, Worker]:
        """End workers, and start a new one for each."""
        for worker in workers.values():
            worker.close()
        started = self.start([worker.spec for worker in workers.values()])
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


def _details(runner: PassRunner, reporter: Reporter) -> dict[str, dict[str, DetailedTranscript]]:
    """Get tokens, words and language of each clip from the engines that have them; by entry and clip."""
    has_details = runner.ask(lambda worker: not worker.spec.is_aa_check and worker.supports_detail())
    names = [name for name, has in has_details.items() if has]
    with reporter.progress("output drift", len(runner.clips) * len(names)) as advance:
        return runner.ask(lambda worker: dict(_details_of(worker, runner.clips, advance)), names)


def _details_of(
    worker: Worker, clips: Sequence[LoadedClip], advance: Advance
) -> Iterator[tuple[str, DetailedTranscript]]:
    for clip in clips:
        try:
            yield clip.clip.clip_id, worker.detail(clip.wave, clip.clip.language)
        except ClipError as cause:
            logger.warning("%s has no details for %s: %s", worker.spec.name, clip.clip.clip_id, cause)
        advance()


def _transcribe_sounds(worker: Worker, sounds: Sequence[Sound]) -> Iterator[tuple[str, str]]:
    for sound in sounds:
        try:
            yield sound.name, worker.transcribe(sound.wave, None).text
        except ClipError as cause:
            logger.warning("%s failed on %s: %s", worker.spec.name, sound.name, cause)
