"""The speed with batches and numbers of threads, after the timed passes; each combination in its own process."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from math import lcm

from sottovoce.benchmark.engines.engine import DEFAULT_ENGINE, EngineSpec, MakeEngine
from sottovoce.benchmark.engines.registry import find_engine
from sottovoce.benchmark.schema.failures import FailedIn
from sottovoce.benchmark.schema.results import ThreadPoint, Throughput
from sottovoce.benchmark.spec import BenchmarkSpec
from sottovoce.benchmark.timing.blocks import plan_blocks
from sottovoce.benchmark.timing.excluded import FailedPeers
from sottovoce.benchmark.timing.worker import ClipError, Worker
from sottovoce.errors import StageError
from sottovoce.progress import Reporter
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.model.layout import format_of
from sottovoce.speech.loading import LoadedClip
from sottovoce.terms import Format

CHUNK = 32
"""Smallest number of clips before the next batch size has its turn; rounded up to a multiple of every size."""


MAX_SWEEP_CLIPS = 30
"""Each is transcribed with every number of threads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setting:
    """An entry with one batch size, or one number of threads."""

    spec: EngineSpec
    number: int

    @property
    def name(self) -> str:
        return f"{self.spec.name} {self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """By entry; entries that were not measured are missing."""

    throughput: Mapping[str, tuple[Throughput, ...]]
    thread_sweep: Mapping[str, tuple[ThreadPoint, ...]]


def measure_scaling(
    spec: BenchmarkSpec,
    entries: Sequence[EngineSpec],
    clips: Sequence[LoadedClip],
    *,
    timed: Sequence[LoadedClip],
    reporter: Reporter,
    failed: FailedPeers,
    make: MakeEngine | None,
) -> Scaling:
    """Measure batches and threads; a failure is reported and ends them, since everything before it is still valid.

    Args:
        spec: batch sizes and numbers of threads.
        entries: in any engine; only those that support it are measured.
        clips: for batches; up to 30 s each.
        timed: for threads; those that count for speed.
        reporter: shows the progress.
        failed: collects entries of other engines that fail.
        make: takes the place of the registry's engines.
    """
    scaling = Scaling(throughput={}, thread_sweep={})
    try:
        if spec.batch_sizes and clips:
            able = [entry for entry in entries if _takes_batches(entry)]
            found = measure_throughput(able, clips, spec.batch_sizes, reporter, make, failed=failed)
            scaling = replace(scaling, throughput=found)
        if spec.thread_sweep and timed:
            ours = [entry for entry in entries if entry.engine == DEFAULT_ENGINE]
            swept = sweep_threads(ours, timed[:MAX_SWEEP_CLIPS], spec.thread_sweep, reporter, make)
            scaling = replace(scaling, thread_sweep=swept)
    except (ClipError, StageError) as cause:
        reporter.note(f"batches or threads are not measured: {cause}")
    return scaling


def _takes_batches(spec: EngineSpec) -> bool:
    """Return True if an engine decodes clips in batches; ours does not for CTranslate2 variants."""
    is_foreign = spec.engine == DEFAULT_ENGINE and format_of(spec.folder) is Format.CTRANSLATE2
    return hasattr(find_engine(spec.engine), "transcribe_batch") and not is_foreign


def measure_throughput(
    specs: Sequence[EngineSpec],
    clips: Sequence[LoadedClip],
    batch_sizes: Sequence[int],
    reporter: Reporter,
    make: MakeEngine | None,
    *,
    failed: FailedPeers,
) -> dict[str, tuple[Throughput, ...]]:
    """Transcribe all clips in batches, by language, longest first.

    Args:
        specs: entries of engines that decode in batches.
        clips: up to 30 s each.
        batch_sizes: clips per batch.
        reporter: shows the progress.
        make: takes the place of the registry's engines.
        failed: collects entries of other engines that fail.

    Raises:
        StageError: our own engine failed, or its process died.
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
    """Measure the batch sizes of one entry in turns, with one process for each size."""
    settings = [_Setting(spec=spec, number=size) for size in batch_sizes]
    audio_s = sum(map(_length_s, chunks))
    with _workers(settings, make) as workers:
        for setting, worker in workers.items():
            worker.transcribe_batch(chunks[0][: setting.number], setting.number)
        seconds = _in_turns(
            workers,
            len(chunks),
            lambda setting, worker, index: worker.transcribe_batch(chunks[index], setting.number),
            reporter,
            f"throughput of {spec.name}",
        )
        return tuple(
            Throughput(
                batch_size=setting.number,
                rtfx=audio_s / seconds[setting],
                peak_rss_bytes=worker.peak_rss_bytes(),
            )
            for setting, worker in workers.items()
        )


def sweep_threads(
    specs: Sequence[EngineSpec],
    clips: Sequence[LoadedClip],
    threads: Sequence[int],
    reporter: Reporter,
    make: MakeEngine | None,
) -> dict[str, tuple[ThreadPoint, ...]]:
    """Transcribe clips one at a time with several numbers of threads.

    Raises:
        StageError: an engine failed, or its process died.
        ClipError: an engine failed on a clip.
    """
    settings = [
        _Setting(spec=replace(spec, compute=replace(spec.compute, threads=number)), number=number)
        for spec in specs
        for number in threads
    ]
    with _workers(settings, make) as workers:
        for worker in workers.values():
            worker.transcribe(clips[0].wave, clips[0].clip.language)
        seconds = _in_turns(
            workers,
            len(clips),
            lambda _, worker, index: (
                worker.transcribe(clips[index].wave, clips[index].clip.language).latency_s
            ),
            reporter,
            "threads",
        )
    return {
        spec.name: tuple(
            ThreadPoint(threads=setting.number, rtfx=_length_s(clips) / seconds[setting], n_clips=len(clips))
            for setting in settings
            if setting.spec.name == spec.name
        )
        for spec in specs
    }


@contextmanager
def _workers(settings: Sequence[_Setting], make: MakeEngine | None) -> Iterator[dict[_Setting, Worker]]:
    with ExitStack() as stack:
        workers = {setting: stack.enter_context(Worker(setting.spec, make)) for setting in settings}
        for worker in workers.values():
            worker.wait_until_loaded()
        yield workers


def _in_turns(
    workers: Mapping[_Setting, Worker],
    n_parts: int,
    work: Callable[[_Setting, Worker, int], float],
    reporter: Reporter,
    what: str,
) -> dict[_Setting, float]:
    """Do all parts in every setting, in turns, and add up the seconds."""
    by_name = {setting.name: setting for setting in workers}
    seconds = dict.fromkeys(workers, 0.0)
    with reporter.progress(what, n_parts * len(workers)) as advance:
        for block in plan_blocks(tuple(by_name), n_parts, passes=1):
            for name in block.order:
                setting = by_name[name]
                seconds[setting] += work(setting, workers[setting], block.clip)
                advance()
    return seconds


def _length_s(clips: Sequence[LoadedClip]) -> float:
    return sum(len(clip.wave) for clip in clips) / SAMPLE_RATE_HZ
