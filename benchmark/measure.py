"""Measure variants clip by clip, interleaved, each in a process of its own."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

from sottovoce.benchmark.engines.engine import EngineSpec, MakeEngine, Probe, Timed
from sottovoce.benchmark.engines.registry import make_engine
from sottovoce.benchmark.worker import ClipError, ColdRun, Loaded, Worker, start_cold
from sottovoce.calibrate.loading import LoadedClip
from sottovoce.errors import StageError
from sottovoce.progress import Reporter

logger = logging.getLogger(__name__)

MAX_FAILED_SHARE = 0.5

_Name = TypeVar("_Name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one variant made of one clip: one entry for each counted pass, or why it failed."""

    passes: tuple[Timed, ...]
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantMeasurement:
    """What was measured of one variant.

    Attributes:
        clips: in the order of the clips.
        warm_up_s: latency of the transcriptions before the counted ones.
        cold_runs: first transcripts of further fresh processes; empty where none were asked for.
        probe: times of the parts alone, after everything else; None where it was not asked for.
    """

    spec: EngineSpec
    loaded: Loaded
    warm_up_s: tuple[float, ...]
    peak_rss_bytes: int
    clips: tuple[Measured, ...]
    cold_runs: tuple[ColdRun, ...] = ()
    probe: Probe | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureSpec:
    """How often, in which order, and what else."""

    passes: int = 2
    warm_up_clips: int = 2
    cold_starts: int = 0
    probes: bool = False


@dataclass(slots=True)
class _Tally:
    timed: list[Timed] = field(default_factory=list)
    error: str | None = None


def interleave(names: Sequence[_Name], passes: int) -> tuple[tuple[_Name, ...], ...]:
    """Return the order of variants in each pass: A B, B A, A B and so on.

    A drift of the machine's speed then falls on all variants alike.
    """
    return tuple(tuple(names if i % 2 == 0 else reversed(names)) for i in range(passes))


def measure(
    specs: Sequence[EngineSpec],
    clips: Sequence[LoadedClip],
    spec: MeasureSpec,
    reporter: Reporter,
    *,
    check: Callable[[EngineSpec, Loaded], None],
    make: MakeEngine = make_engine,
) -> tuple[VariantMeasurement, ...]:
    """Transcribe every clip with every variant, in turn.

    A pass goes through the clips once; on each clip the variants follow one another, so that
    what is compared lies seconds apart. Only one process works at a time.

    Args:
        specs: the variants, in the order of the first pass.
        clips: what every variant transcribes.
        spec: passes, warm-up and cold starts.
        reporter: follows the work.
        check: called with each loaded variant before anything is measured; raises to refuse it.
        make: makes the engines, in their processes.

    Raises:
        StageError: a variant cannot be loaded, dies, or fails on more than half of the clips.
    """
    with _workers(specs, reporter, check, make) as loaded:
        workers = {worker.spec.name: worker for worker in loaded}
        warm_up = {name: _warm_up(worker, clips[: spec.warm_up_clips]) for name, worker in workers.items()}
        tallies = _passes(workers, clips, spec, reporter)
        measured = tuple(
            VariantMeasurement(
                spec=worker.spec,
                loaded=loaded[worker],
                warm_up_s=warm_up[name],
                peak_rss_bytes=worker.peak_rss_bytes(),
                clips=tuple(_measured(tallies[name, i]) for i in range(len(clips))),
                probe=worker.probe() if spec.probes else None,
            )
            for name, worker in workers.items()
        )
    cold = _start_cold(specs, clips[0], spec.cold_starts, reporter, make)
    return tuple(replace(one, cold_runs=cold[one.spec.name]) for one in measured)


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


def _passes(
    workers: Mapping[str, Worker], clips: Sequence[LoadedClip], spec: MeasureSpec, reporter: Reporter
) -> dict[tuple[str, int], _Tally]:
    tallies = {(name, i): _Tally() for name in workers for i in range(len(clips))}
    orders = interleave(tuple(workers), spec.passes)
    with reporter.progress("benchmark", len(orders) * len(clips)) as advance:
        for order in orders:
            for i, clip in enumerate(clips):
                for name in order:
                    _transcribe(workers[name], clip, tallies[name, i])
                advance()
            _check_failures(tallies, workers, len(clips))
    return tallies


def _transcribe(worker: Worker, clip: LoadedClip, tally: _Tally) -> None:
    if tally.error is not None:
        return
    try:
        tally.timed.append(worker.transcribe(clip.wave, clip.clip.language))
    except ClipError as cause:
        tally.error = str(cause)


def _check_failures(
    tallies: Mapping[tuple[str, int], _Tally], workers: Mapping[str, Worker], n_clips: int
) -> None:
    for name in workers:
        errors = [tallies[name, i].error for i in range(n_clips) if tallies[name, i].error is not None]
        if len(errors) > MAX_FAILED_SHARE * n_clips:
            raise StageError(f"{name} failed on {len(errors)} of {n_clips} clips, first with: {errors[0]}")


def _measured(tally: _Tally) -> Measured:
    return Measured(passes=tuple(tally.timed), error=tally.error)


def _start_cold(
    specs: Sequence[EngineSpec], clip: LoadedClip, n_starts: int, reporter: Reporter, make: MakeEngine
) -> dict[str, tuple[ColdRun, ...]]:
    """Start each variant in fresh processes, in turn, when no other process is there."""
    runs: dict[str, list[ColdRun]] = {spec.name: [] for spec in specs}
    if n_starts == 0:
        return dict.fromkeys(runs, ())
    with reporter.progress("cold starts", n_starts * len(specs)) as advance:
        for order in interleave(range(len(specs)), n_starts):
            for spec in (specs[i] for i in order):
                runs[spec.name].append(_cold_run(spec, clip, make))
                advance()
    return {name: tuple(found) for name, found in runs.items()}


def _cold_run(spec: EngineSpec, clip: LoadedClip, make: MakeEngine) -> ColdRun:
    try:
        return start_cold(spec, clip.wave, clip.clip.language, make)
    except ClipError as cause:
        raise StageError(f"{spec.name} failed on {clip.clip.clip_id} in a fresh process: {cause}") from cause
