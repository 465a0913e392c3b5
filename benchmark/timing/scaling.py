"""How speed grows with batches and with threads: apart from the timed passes, each combination in a process of its own."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from math import lcm

from sottovoce.benchmark.engines.engine import DEFAULT_ENGINE, EngineSpec, MakeEngine
from sottovoce.benchmark.engines.registry import find_engine
from sottovoce.benchmark.schema.results import FailedIn, SkippedEngine, ThreadPoint, Throughput
from sottovoce.benchmark.timing.blocks import plan_blocks
from sottovoce.benchmark.timing.excluded import FailedPeers
from sottovoce.benchmark.timing.worker import ClipError, Worker
from sottovoce.errors import StageError
from sottovoce.progress import Reporter
from sottovoce.runtime.audio.decode import SAMPLE_RATE_HZ
from sottovoce.runtime.model.layout import format_of
from sottovoce.speech.loading import LoadedClip
from sottovoce.terms import Format

CHUNK = 32
"""At least so many clips has one way at once before the next has its turn; batches of every size fill them."""


MAX_SWEEP_CLIPS = 30
"""Each is heard with every number of threads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """An entry with a number of clips decoded together, or of threads."""

    spec: EngineSpec
    number: int

    @property
    def name(self) -> str:
        return f"{self.spec.name} {self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """By name of the entry; what nobody asked for, or an engine cannot do, is not there.

    Attributes:
        failed: entries of other engines whose batches failed.
    """

    throughput: Mapping[str, tuple[Throughput, ...]]
    thread_sweep: Mapping[str, tuple[ThreadPoint, ...]]
    failed: tuple[SkippedEngine, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingSpec:
    """What is asked.

    Attributes:
        specs: the entries.
        clips: up to 30 s each where batches are asked for.
        timed: those that count for speed.
        batch_sizes: clips decoded together; empty for none.
        threads: numbers of threads; empty for none.
    """

    specs: tuple[EngineSpec, ...]
    clips: tuple[LoadedClip, ...]
    timed: tuple[LoadedClip, ...]
    batch_sizes: tuple[int, ...]
    threads: tuple[int, ...]


def measure_scaling(asked: ScalingSpec, reporter: Reporter, make: MakeEngine | None) -> Scaling:
    """Measure batches and threads; what fails is told and left out: what was measured before is worth more."""
    scaling = Scaling(throughput={}, thread_sweep={})
    failed = FailedPeers(reporter)
    try:
        if asked.batch_sizes and asked.clips:
            able = [spec for spec in asked.specs if _takes_batches(spec)]
            found = measure_throughput(able, asked.clips, asked.batch_sizes, reporter, make, failed=failed)
            scaling = replace(scaling, throughput=found)
        if asked.threads and asked.timed:
            ours = [spec for spec in asked.specs if spec.engine == DEFAULT_ENGINE]
            swept = sweep_threads(ours, asked.timed[:MAX_SWEEP_CLIPS], asked.threads, reporter, make)
            scaling = replace(scaling, thread_sweep=swept)
    except (ClipError, StageError) as cause:
        reporter.note(f"batches or threads are not measured: {cause}")
    return replace(scaling, failed=failed.found)


def _takes_batches(spec: EngineSpec) -> bool:
    """Tell whether an engine decodes clips together: ours cannot where CTranslate2 decodes."""
    is_foreign = spec.engine == DEFAULT_ENGINE and format_of(spec.folder) is Format.CTRANSLATE2
    return find_engine(spec.engine).takes_batches and not is_foreign


def measure_throughput(
    specs: Sequence[EngineSpec],
    clips: Sequence[LoadedClip],
    batch_sizes: Sequence[int],
    reporter: Reporter,
    make: MakeEngine | None,
    *,
    failed: FailedPeers,
) -> dict[str, tuple[Throughput, ...]]:
    """Let engines that decode clips in batches transcribe all of them, by language, the longest first.

    Args:
        specs: entries of such engines.
        clips: up to 30 s each.
        batch_sizes: clips decoded together.
        reporter: follows the work.
        make: takes the place of the registry's engines.
        failed: is told of entries of other engines that fail.

    Raises:
        StageError: a process of our own engine died, or the engine failed.
    """
    by_language = sorted(clips, key=lambda clip: (clip.clip.language or "", -len(clip.wave)))
    chunk = lcm(*batch_sizes) * -(-CHUNK // lcm(*batch_sizes))
    chunks = [by_language[start : start + chunk] for start in range(0, len(clips), chunk)]
    found = {}
    for spec in specs:
        with failed.excluded(spec, FailedIn.THROUGHPUT):
            found[spec.name] = _measure_batches(spec, chunks, batch_sizes, reporter, make)
    return found


def _measure_batches(
    spec: EngineSpec,
    chunks: Sequence[Sequence[LoadedClip]],
    batch_sizes: Sequence[int],
    reporter: Reporter,
    make: MakeEngine | None,
) -> tuple[Throughput, ...]:
    """Measure the sizes of one entry in turns: no more models are in memory than it has sizes."""
    ways = [_Way(spec=spec, number=size) for size in batch_sizes]
    audio_s = sum(map(_length_s, chunks))
    with _workers(ways, make) as workers:
        for way, worker in workers.items():
            worker.transcribe_batch(chunks[0][: way.number], way.number)
        seconds = _in_turns(
            workers,
            len(chunks),
            lambda way, worker, place: worker.transcribe_batch(chunks[place], way.number),
            reporter,
            f"throughput of {spec.name}",
        )
        return tuple(
            Throughput(
                batch_size=way.number,
                rtfx=audio_s / seconds[way],
                peak_rss_bytes=worker.peak_rss_bytes(),
            )
            for way, worker in workers.items()
        )


def sweep_threads(
    specs: Sequence[EngineSpec],
    clips: Sequence[LoadedClip],
    threads: Sequence[int],
    reporter: Reporter,
    make: MakeEngine | None,
) -> dict[str, tuple[ThreadPoint, ...]]:
    """Transcribe clips one at a time with several numbers of threads.

    Args:
        specs: the entries.
        clips: what each transcribes.
        threads: of inference.
        reporter: follows the work.
        make: takes the place of the registry's engines.

    Raises:
        StageError: a process died, or an engine failed.
        ClipError: an engine failed on a clip.
    """
    ways = [
        _Way(spec=replace(spec, compute=replace(spec.compute, threads=number)), number=number)
        for spec in specs
        for number in threads
    ]
    with _workers(ways, make) as workers:
        for worker in workers.values():
            worker.transcribe(clips[0].wave, clips[0].clip.language)
        seconds = _in_turns(
            workers,
            len(clips),
            lambda _, worker, place: (
                worker.transcribe(clips[place].wave, clips[place].clip.language).latency_s
            ),
            reporter,
            "threads",
        )
    return {
        spec.name: tuple(
            ThreadPoint(threads=way.number, rtfx=_length_s(clips) / seconds[way], n_clips=len(clips))
            for way in ways
            if way.spec.name == spec.name
        )
        for spec in specs
    }


@contextmanager
def _workers(ways: Sequence[_Way], make: MakeEngine | None) -> Iterator[dict[_Way, Worker]]:
    with ExitStack() as stack:
        workers = {way: stack.enter_context(Worker(way.spec, make)) for way in ways}
        for worker in workers.values():
            worker.wait_until_loaded()
        yield workers


def _in_turns(
    workers: Mapping[_Way, Worker],
    n_parts: int,
    work: Callable[[_Way, Worker, int], float],
    reporter: Reporter,
    what: str,
) -> dict[_Way, float]:
    """Let every way do every part, in turns, and add up the seconds."""
    by_name = {way.name: way for way in workers}
    seconds = dict.fromkeys(workers, 0.0)
    with reporter.progress(what, n_parts * len(workers)) as advance:
        for block in plan_blocks(tuple(by_name), n_parts, passes=1):
            for name in block.order:
                way = by_name[name]
                seconds[way] += work(way, workers[way], block.clip)
                advance()
    return seconds


def _length_s(clips: Sequence[LoadedClip]) -> float:
    return sum(len(clip.wave) for clip in clips) / SAMPLE_RATE_HZ
