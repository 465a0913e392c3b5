"""Put the results together from the measured data; reads only the files of the run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sottovoce.benchmark.clips.select import combine_hashes, dataset_sha256
from sottovoce.benchmark.engines.engine import AA_SUFFIX, DEFAULT_ENGINE
from sottovoce.benchmark.engines.registry import engine_versions
from sottovoce.benchmark.entries import engine_names
from sottovoce.benchmark.live.measure import LiveMeasurement
from sottovoce.benchmark.live.summary import summarize_live
from sottovoce.benchmark.plan import Plan
from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.comparisons import Comparison, PeerComparison
from sottovoce.benchmark.schema.failures import SkippedEngine
from sottovoce.benchmark.schema.machine import Noise, SelfCheck
from sottovoce.benchmark.schema.output_drift import OutputDrift
from sottovoce.benchmark.schema.results import Dataset, Method, Rejected, Results, VariantResult
from sottovoce.benchmark.statistics.comparison import (
    Entrant,
    by_speaker,
    compare,
    compare_peer,
    ratio_of_times,
)
from sottovoce.benchmark.statistics.output_drift import compare_outputs, count_hallucinations
from sottovoce.benchmark.statistics.robustness import (
    RowsByCondition,
    compare_conditions,
    count_condition_errors,
    rows_by_condition,
)
from sottovoce.benchmark.summary import summarize_variant
from sottovoce.benchmark.timing.blocks import plan_blocks
from sottovoce.benchmark.timing.journal import Blocks
from sottovoce.benchmark.timing.measure import Measurement
from sottovoce.benchmark.timing.noise import MAX_FOREIGN_SHARE, MAX_STEAL_SHARE
from sottovoce.benchmark.timing.roofline import roofline_points
from sottovoce.benchmark.timing.scaling import Scaling
from sottovoce.benchmark.timing.worker import ColdRun
from sottovoce.calibrate.audit import read_report
from sottovoce.machine.environment import MachineRates, library_versions, read_host
from sottovoce.optimize.checkpoint.resolve import published_id
from sottovoce.optimize.search.report import read_search
from sottovoce.optimize.sensitivity.report import read_current_sensitivity
from sottovoce.runs import CALIBRATION_NAME, Run
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.speech.clips import SYNTHETIC_SOURCE, ClipSet, count_by
from sottovoce.statistics.accuracy import NORMALIZER
from sottovoce.statistics.intervals import CONFIDENCE, N_RESAMPLES, Interval, make_blocks
from sottovoce.storage.artifacts import created_now


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BenchmarkData:
    """Everything that was measured.

    Attributes:
        rows: by entry, in the order of the clips.
        cold_runs: by entry; empty without `cold_starts`.
        rates: of the machine; None without `ceilings`.
        skipped: engines that are not installed, and entries of other engines that failed.
        live: None without `live`.
    """

    plan: Plan
    measurement: Measurement
    rows: Mapping[str, tuple[ClipRow, ...]]
    cold_runs: Mapping[str, tuple[ColdRun, ...]]
    rates: MachineRates | None
    scaling: Scaling
    skipped: tuple[SkippedEngine, ...]
    live: LiveMeasurement | None


def assemble(run: Run, speech: ClipSet, data: BenchmarkData) -> Results:
    """Summarize and compare the entries.

    Raises:
        GateError: there are no words, or no times, to compare.
        StageError: an entry failed on every clip that counts for speed.
    """
    plan = data.plan
    degraded = {
        entry.spec.name: rows_by_condition(plan.spec.conditions, data.rows[entry.spec.name], entry.conditions)
        for entry in data.measurement.entries
        if entry.conditions
    }
    summaries = _summaries(data, degraded)
    entrants = [Entrant(summary, data.rows[summary.name]) for summary in summaries]
    self_check = _self_check(data)
    return Results(
        created=created_now(),
        model=run.manifest.name,
        checkpoint=_published_id(run),
        checkpoint_version=_checkpoint_version(run),
        recipe=run.recipe.resolved(),
        recipe_sha256=run.recipe.sha256(),
        calibration=None if run.calibration is None else run.calibration.facts,
        doctor=read_report(run.folder / CALIBRATION_NAME),
        search=read_search(run.folder),
        sensitivity=read_current_sensitivity(run.folder),
        host=read_host(),
        versions=library_versions() | engine_versions(engine_names(plan.spec.engines)),
        dataset=_dataset(speech, plan, data.rows[summaries[0].name]),
        method=_method(plan, [summary.name for summary in summaries]),
        baseline=summaries[0].name,
        variants=tuple(summaries),
        comparisons=_compare_all(entrants, degraded, plan, None if self_check is None else self_check.ratio),
        peers=_compare_peers(entrants, plan),
        machine=data.rates,
        absent=data.skipped,
        side_effects=tuple(_output_drift(data)),
        noise=summarize_noise(plan, data.measurement.blocks),
        self_check=self_check,
        live=None if data.live is None else summarize_live(data.live, seed=plan.spec.seed),
    )


def _summaries(data: BenchmarkData, degraded: Mapping[str, RowsByCondition]) -> list[VariantResult]:
    """Summarize every entry but that of the A/A check."""
    by_name = {entry.spec.name: entry for entry in data.plan.entries}
    return [
        summarize_variant(
            measured,
            data.rows[name],
            by_name[name],
            cold_runs=data.cold_runs.get(name, ()),
            roofline=()
            if measured.probe is None or data.rates is None
            else roofline_points(measured.probe, data.rates),
        ).model_copy(
            update={
                "throughput": data.scaling.throughput.get(name, ()),
                "thread_sweep": data.scaling.thread_sweep.get(name, ()),
                "conditions": count_condition_errors(degraded.get(name, {})),
            }
        )
        for measured in data.measurement.entries
        for name in (measured.spec.name,)
        if name != data.plan.aa_entry
    ]


def _published_id(run: Run) -> str | None:
    """Return the hub id of the run's checkpoint, if it is published."""
    origins = (parent for parent in run.manifest.parents if parent.role == "checkpoint")
    return next((found for origin in origins if (found := published_id(origin)) is not None), None)


def _checkpoint_version(run: Run) -> str | None:
    """Return the revision of the checkpoint, or else its hash, which distinguish it from others of its name."""
    origin = next((parent for parent in run.manifest.parents if parent.role == "checkpoint"), None)
    if origin is None:
        return None
    if origin.revision is not None:
        return f"revision {origin.revision}"
    return None if origin.sha256 is None else f"sha256 {origin.sha256}"


def _compare_all(
    entrants: Sequence[Entrant],
    degraded: Mapping[str, RowsByCondition],
    plan: Plan,
    noise: Interval | None,
) -> tuple[Comparison, ...]:
    baseline = degraded.get(entrants[0].result.name, {})
    return tuple(
        compare(
            entrants[0],
            entrant,
            by_speaker,
            margin=plan.spec.margin,
            rng=np.random.default_rng(plan.spec.seed),
            noise=noise,
        ).model_copy(
            update={
                "conditions": compare_conditions(
                    baseline,
                    degraded.get(entrant.result.name, {}),
                    by_speaker,
                    rng=np.random.default_rng(plan.spec.seed),
                )
            }
        )
        for entrant in entrants[1:]
    )


def _compare_peers(entrants: Sequence[Entrant], plan: Plan) -> tuple[PeerComparison, ...]:
    """Compare each of our variants except the baseline with each entry of another engine."""
    ours = [entrant for entrant in entrants[1:] if entrant.result.engine == DEFAULT_ENGINE]
    others = [entrant for entrant in entrants if entrant.result.engine != DEFAULT_ENGINE]
    return tuple(
        compare_peer(subject, peer, by_speaker, rng=np.random.default_rng(plan.spec.seed))
        for subject in ours
        for peer in others
    )


def _dataset(speech: ClipSet, plan: Plan, rows: Sequence[ClipRow]) -> Dataset:
    loaded = plan.clips.loaded
    return Dataset(
        name=speech.name,
        split=plan.spec.split if speech.splits() else None,
        n_clips=len(loaded),
        audio_s=sum(len(clip.wave) for clip in loaded) / SAMPLE_RATE_HZ,
        n_words=sum(row.words.reference_words for row in rows),
        languages=count_by(clip.clip.language for clip in loaded),
        sources=count_by(clip.clip.source for clip in loaded),
        sha256=dataset_sha256(loaded),
        audio_sha256=combine_hashes(plan.clip_hashes),
        synthetic=any(clip.clip.source == SYNTHETIC_SOURCE for clip in loaded),
        left_out=tuple(Rejected(clip_id=clip.clip_id, reason=clip.reason) for clip in plan.clips.rejected),
    )


def _method(plan: Plan, names: Sequence[str]) -> Method:
    spec, timing = plan.spec, plan.timing
    clips = [loaded.clip for loaded in plan.clips.loaded]
    return Method(
        passes=spec.passes,
        warm_up_clips=spec.warm_up_clips,
        threads=spec.n_threads,
        order=tuple(name for block in plan_blocks(names, 2, passes=1) for name in block.order),
        beam_size=1,
        normalizer=NORMALIZER,
        confidence=CONFIDENCE,
        n_resamples=N_RESAMPLES,
        blocks=make_blocks([clip.speaker for clip in clips]).kind,
        speed_blocks=None if timing is None else make_blocks([clips[index].speaker for index in timing]).kind,
        seed=spec.seed,
        long=spec.long,
        timing_clips=None if timing is None else tuple(clips[index].clip_id for index in timing),
    )


def _output_drift(data: BenchmarkData) -> Iterator[OutputDrift]:
    """Compare entries with the baseline on clips for which both have details."""
    baseline, *others = data.measurement.entries
    for entry in others:
        shared = [
            loaded.clip
            for loaded in data.plan.clips.loaded
            if loaded.clip.clip_id in baseline.details and loaded.clip.clip_id in entry.details
        ]
        if shared:
            yield compare_outputs(
                entry.spec.name,
                [clip.language for clip in shared],
                [baseline.details[clip.clip_id] for clip in shared],
                [entry.details[clip.clip_id] for clip in shared],
                count_hallucinations(
                    {sound.name: sound.length_s for sound in data.plan.sounds},
                    baseline.sounds or {},
                    entry.sounds or {},
                ),
            )


def summarize_noise(plan: Plan, blocks: Blocks) -> Noise | None:
    """Add up the noise in the blocks that count for speed; None if the system has no counters."""
    clips = plan.clips.loaded
    timed = {clips[index].clip.clip_id for index in plan.timing or range(len(clips))}
    found = [block.disturbance for block in blocks.values() if block.clip_id in timed]
    cpu_s = sum(each.cpu_s for each in found)
    if cpu_s == 0:
        return None
    throttled = [each.throttled for each in found if each.throttled is not None]
    return Noise(
        n_blocks=len(found),
        n_marked=sum(each.is_beyond for each in found),
        n_repeated=sum(block.repeats for block in blocks.values()),
        steal_share=sum(each.steal_s for each in found) / cpu_s,
        foreign_share=sum(each.foreign_s for each in found) / cpu_s,
        throttled=sum(throttled) if throttled else None,
        max_steal_share=MAX_STEAL_SHARE,
        max_foreign_share=MAX_FOREIGN_SHARE,
    )


def _self_check(data: BenchmarkData) -> SelfCheck | None:
    """Compare an entry with itself in a second process."""
    if data.plan.aa_entry is None:
        return None
    name = data.plan.aa_entry.removesuffix(AA_SUFFIX)
    pairs = [
        (a, b)
        for a, b in zip(data.rows[name], data.rows[data.plan.aa_entry], strict=True)
        if a.error is None and b.error is None
    ]
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    return SelfCheck(
        entry=name,
        ratio=ratio_of_times(first, second, by_speaker, np.random.default_rng(data.plan.spec.seed)),
        n_clips=sum(bool(a.latency_s and b.latency_s) for a, b in pairs),
        same_text_rate=float(np.mean([a.hypothesis == b.hypothesis for a, b in pairs])),
    )
