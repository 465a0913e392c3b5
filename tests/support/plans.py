"""Plans of a benchmark on tones, for tests that measure with a `FakeEngine`."""

from collections.abc import Sequence
from pathlib import Path

from sottovoce.benchmark.engines.engine import DEFAULT_ENGINE, EngineSpec, Entry
from sottovoce.benchmark.plan import Plan
from sottovoce.benchmark.spec import BenchmarkSpec
from sottovoce.benchmark.timing.measure import Measurement
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.speech.clips import Clip
from sottovoce.speech.loading import LoadedClip, LoadedClips
from tests.support.tones import tone


def engine_spec(variant: str, engine: str = DEFAULT_ENGINE) -> EngineSpec:
    return EngineSpec(engine=engine, variant=variant, folder=Path(variant), compute=ComputeSpec())


def tone_plan(
    entries: Sequence[EngineSpec],
    lengths_s: Sequence[float] = (1.0, 2.0, 3.0, 4.0),
    *,
    passes: int = 1,
    warm_up_clips: int = 0,
    timing: tuple[int, ...] | None = None,
) -> Plan:
    """Plan a benchmark of clips c0, c1 and so on, without details."""
    clips = tuple(
        LoadedClip(clip=Clip(clip_id=f"c{index}", audio=b"", text="one", language="en"), wave=tone(length_s))
        for index, length_s in enumerate(lengths_s)
    )
    return Plan(
        spec=BenchmarkSpec(passes=passes, warm_up_clips=warm_up_clips, side_effects=False),
        entries=tuple(Entry(spec=spec, component_size_bytes={}, int8_nodes={}) for spec in entries),
        clips=LoadedClips(loaded=clips, rejected=()),
        timing=timing,
    )


def latencies(found: Measurement, entry: str) -> dict[str, list[float]]:
    """Return the seconds of an entry in each pass, by clip."""
    by_clip: dict[str, list[float]] = {}
    for block in found.blocks.values():
        if entry in block.timed:
            by_clip.setdefault(block.clip_id, []).append(block.timed[entry].latency_s)
    return by_clip
