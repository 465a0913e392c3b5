"""How speed grows with batches and with threads: apart from the timed passes, each combination in a process of its own."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from sottovoce.benchmark.blocks import plan_blocks
from sottovoce.benchmark.engines.engine import EngineSpec, MakeEngine
from sottovoce.benchmark.results import ThreadPoint, Throughput
from sottovoce.benchmark.worker import Worker
from sottovoce.calibrate.loading import LoadedClip
from sottovoce.progress import Reporter
from sottovoce.runtime.audio import SAMPLE_RATE_HZ

CHUNK = 32
"""Clips that one combination has at once before the next has its turn; batches are cut within them."""


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
    """By name of the entry; what nobody asked for, or an engine cannot do, is not there."""

    throughput: Mapping[str, tuple[Throughput, ...]]
    thread_sweep: Mapping[str, tuple[ThreadPoint, ...]]


def measure_throughput(
    specs: Sequence[EngineSpec],
    clips: Sequence[LoadedClip],
    batch_sizes: Sequence[int],
    reporter: Reporter,
    make: MakeEngine,
) -> dict[str, tuple[Throughput, ...]]:
    """Let engines that decode clips in batches transcribe all of them, the longest first.

    Args:
        specs: the entries.
        clips: up to 30 s each.
        batch_sizes: clips decoded together.
        reporter: follows the work.
        make: makes the engines, in their processes.

    Raises:
        StageError: a process died, or an engine failed.
    """
    ways = [_Way(spec=spec, number=size) for spec in specs for size in batch_sizes]
    longest_first = sorted(clips, key=lambda clip: -len(clip.wave))
    chunks = [longest_first[start : start + CHUNK] for start in range(0, len(clips), CHUNK)]
    with _workers(ways, make) as workers:
        able = {way: worker for way, worker in workers.items() if worker.takes_batches()}
        for way, worker in able.items():
            worker.transcribe_batch(chunks[0][: way.number], way.number)
        seconds = _in_turns(
            able,
            len(chunks),
            lambda way, worker, place: worker.transcribe_batch(chunks[place], way.number),
            reporter,
            "throughput",
        )
        found = {
            way: Throughput(
                batch_size=way.number,
                rtfx=_length_s(clips) / seconds[way],
                peak_rss_bytes=worker.peak_rss_bytes(),
            )
            for way, worker in able.items()
        }
    return {
        spec.name: points
        for spec in specs
        if (points := tuple(point for way, point in found.items() if way.spec == spec))
    }


def sweep_threads(
    specs: Sequence[EngineSpec],
    clips: Sequence[LoadedClip],
    threads: Sequence[int],
    reporter: Reporter,
    make: MakeEngine,
) -> dict[str, tuple[ThreadPoint, ...]]:
    """Transcribe clips one at a time with several numbers of threads.

    Args:
        specs: the entries.
        clips: what each transcribes.
        threads: of inference.
        reporter: follows the work.
        make: makes the engines, in their processes.

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
def _workers(ways: Sequence[_Way], make: MakeEngine) -> Iterator[dict[_Way, Worker]]:
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
