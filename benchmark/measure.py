"""Measure variants clip by clip, interleaved, each in a process of its own."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from sottovoce.benchmark.engines.engine import EngineSpec, Timed
from sottovoce.benchmark.worker import ClipError, Loaded, Worker
from sottovoce.calibrate.loading import LoadedClip
from sottovoce.errors import StageError
from sottovoce.progress import Reporter

logger = logging.getLogger(__name__)

MAX_FAILED_SHARE = 0.5


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
    """

    spec: EngineSpec
    loaded: Loaded
    warm_up_s: tuple[float, ...]
    peak_rss_bytes: int
    clips: tuple[Measured, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureSpec:
    """How often and in which order."""

    passes: int = 2
    warm_up_clips: int = 2


@dataclass(slots=True)
class _Tally:
    timed: list[Timed] = field(default_factory=list)
    error: str | None = None


def interleave(names: Sequence[str], passes: int) -> tuple[tuple[str, ...], ...]:
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
) -> tuple[VariantMeasurement, ...]:
    """Transcribe every clip with every variant, in turn.

    A pass goes through the clips once; on each clip the variants follow one another, so that
    what is compared lies seconds apart. Only one process works at a time.

    Args:
        specs: the variants, in the order of the first pass.
        clips: at most 30 s each.
        spec: passes and warm-up.
        reporter: follows the work.
        check: called with each loaded variant before anything is measured; raises to refuse it.

    Raises:
        StageError: a variant cannot be loaded, dies, or fails on more than half of the clips.
    """
    with _workers(specs, reporter, check) as loaded:
        workers = {worker.spec.variant: worker for worker in loaded}
        warm_up = {name: _warm_up(worker, clips[: spec.warm_up_clips]) for name, worker in workers.items()}
        tallies = _passes(workers, clips, spec, reporter)
        return tuple(
            VariantMeasurement(
                spec=worker.spec,
                loaded=loaded[worker],
                warm_up_s=warm_up[name],
                peak_rss_bytes=worker.peak_rss_bytes(),
                clips=tuple(_measured(tallies[name, i]) for i in range(len(clips))),
            )
            for name, worker in workers.items()
        )


@contextmanager
def _workers(
    specs: Sequence[EngineSpec], reporter: Reporter, check: Callable[[EngineSpec, Loaded], None]
) -> Iterator[Mapping[Worker, Loaded]]:
    """Start the workers one after another, so that no load disturbs another's load time."""
    with ExitStack() as stack, reporter.progress("load variants", len(specs)) as advance:
        loaded = {}
        for spec in specs:
            worker = stack.enter_context(Worker(spec))
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
            logger.warning(
                "%s failed on %s while warming up: %s", worker.spec.variant, clip.clip.clip_id, cause
            )
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
