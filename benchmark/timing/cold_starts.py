"""Cold starts: fresh processes of each entry, timed to their first transcript."""

from collections.abc import Mapping, Sequence

from sottovoce.benchmark.engines.engine import EngineSpec, MakeEngine
from sottovoce.benchmark.schema.failures import FailedIn
from sottovoce.benchmark.timing.blocks import plan_blocks
from sottovoce.benchmark.timing.excluded import FailedPeers
from sottovoce.benchmark.timing.worker import ClipError, ColdRun, start_cold
from sottovoce.errors import StageError
from sottovoce.progress import Reporter
from sottovoce.speech.loading import LoadedClip


def measure_cold_starts(
    specs: Sequence[EngineSpec],
    clip: LoadedClip,
    n_starts: int,
    reporter: Reporter,
    *,
    failed: FailedPeers,
    make: MakeEngine | None,
) -> Mapping[str, tuple[ColdRun, ...]]:
    """Start each entry several times on a clip, in turn, while no other process runs.

    Returns:
        By entry; without the entries of other engines that failed, which are added to `failed`.

    Raises:
        StageError: an entry of our own engine failed.
    """
    runs: dict[str, list[ColdRun]] = {spec.name: [] for spec in specs}
    by_name = {spec.name: spec for spec in specs}
    with reporter.progress("cold starts", n_starts * len(specs)) as advance:
        for block in plan_blocks(tuple(by_name), 1, passes=n_starts):
            for spec in failed.remaining([by_name[name] for name in block.order]):
                with failed.excluded(spec, FailedIn.COLD_STARTS):
                    runs[spec.name].append(_cold_run(spec, clip, make))
                advance()
    return {spec.name: tuple(runs[spec.name]) for spec in failed.remaining(specs)}


def _cold_run(spec: EngineSpec, clip: LoadedClip, make: MakeEngine | None) -> ColdRun:
    try:
        return start_cold(spec, clip.wave, clip.clip.language, make)
    except ClipError as cause:
        raise StageError(f"{spec.name} failed on {clip.clip.clip_id} in a fresh process: {cause}") from cause
