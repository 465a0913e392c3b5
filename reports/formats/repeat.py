"""The command that measures the same again."""

import shlex
from collections.abc import Iterator

from sottovoce.benchmark.engines.engine import DEFAULT_ENGINE
from sottovoce.benchmark.schema.results import Results


def repeat_command(results: Results) -> str:
    """Write the command that measures the same again; RUN and SPEECH stand for what results do not tell."""
    words = ("sottovoce", "benchmark", "RUN", "--data", "SPEECH")
    return shlex.join((*words, *_clips(results), *_entries(results), *_method(results), *_extras(results)))


def _clips(results: Results) -> Iterator[str]:
    if results.dataset.split:
        yield from ("--split", results.dataset.split)
    yield from ("--limit", f"{results.dataset.n_clips}")
    if results.method.long:
        yield "--long"


def _entries(results: Results) -> Iterator[str]:
    ours = [v.name for v in results.variants if v.engine == DEFAULT_ENGINE and v.name != results.baseline]
    others = [v.name for v in results.variants if v.engine != DEFAULT_ENGINE]
    if ours:
        yield from ("--variants", ",".join(ours))
    if others:
        yield from ("--engines", ",".join((DEFAULT_ENGINE, *others)))


def _method(results: Results) -> Iterator[str]:
    method = results.method
    yield from ("--passes", f"{method.passes}", "--threads", f"{method.threads}", "--seed", f"{method.seed}")
    if method.timing_clips is not None:
        yield from ("--timing-clips", f"{len(method.timing_clips)}")
    for comparison in results.comparisons[:1]:  # the margin is the same for all
        yield from ("--margin", f"{100 * comparison.verdict.margin:g}")


def _extras(results: Results) -> Iterator[str]:
    starts = {len(v.cold_start.seconds) for v in results.variants if v.cold_start is not None}
    batches = {point.batch_size for variant in results.variants for point in variant.throughput}
    threads = {point.threads for variant in results.variants for point in variant.thread_sweep}
    if starts:
        yield from ("--cold-starts", f"{max(starts)}")
    if results.machine is not None:
        yield "--ceilings"
    if batches:
        yield from ("--batch-sizes", _listed(batches))
    if threads:
        yield from ("--thread-sweep", _listed(threads))
    if results.self_check is not None:
        yield "--self-check"


def _listed(numbers: set[int]) -> str:
    return ",".join(map(str, sorted(numbers)))
