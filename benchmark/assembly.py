"""From what was measured to the results: everything put together, no clocks and no files but the run's own."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sottovoce.benchmark.clips.sounds import Sound
from sottovoce.benchmark.engines.engine import AGAIN, DEFAULT_ENGINE, Probe
from sottovoce.benchmark.engines.registry import engine_versions
from sottovoce.benchmark.entries import Entry
from sottovoce.benchmark.schema.output_drift import (
    Hallucination,
    SideEffects,
    compare_details,
    hallucinations,
)
from sottovoce.benchmark.schema.results import (
    Ceiling,
    ClipRow,
    Comparison,
    Dataset,
    Method,
    Noise,
    PeerComparison,
    Rejected,
    Results,
    SelfCheck,
    SkippedEngine,
)
from sottovoce.benchmark.statistics.comparison import (
    Entrant,
    by_speaker,
    compare,
    compare_peer,
    ratio_of_times,
)
from sottovoce.benchmark.summary import audio_sha256, dataset_sha256, summarize_variant
from sottovoce.benchmark.timing.blocks import plan_blocks
from sottovoce.benchmark.timing.measure import Measurement, VariantMeasurement
from sottovoce.benchmark.timing.noise import MAX_FOREIGN_SHARE, MAX_STEAL_SHARE
from sottovoce.benchmark.timing.roofline import ceilings_of
from sottovoce.benchmark.timing.scaling import Scaling
from sottovoce.calibrate.audit import read_report
from sottovoce.machine.environment import MachineRates, library_versions, read_host
from sottovoce.optimize.checkpoint.resolve import published_id
from sottovoce.optimize.search.report import read_search
from sottovoce.optimize.sensitivity.report import read_current_sensitivity
from sottovoce.runs import CALIBRATION_NAME, Run
from sottovoce.runtime.audio.decode import SAMPLE_RATE_HZ
from sottovoce.speech.clips import SYNTHETIC_SOURCE, ClipSet, count_by
from sottovoce.speech.loading import LoadedClips
from sottovoce.statistics.accuracy import NORMALIZER
from sottovoce.statistics.intervals import CONFIDENCE, N_RESAMPLES, Interval, make_blocks
from sottovoce.storage.artifacts import created_now


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """How it was measured.

    Attributes:
        engines: by name, those that are there.
        margin: largest tolerated WER increase, a fraction.
        timing: places of the clips that count for speed; None takes all.
        sounds: without speech, that our entries heard.
    """

    split: str
    passes: int
    warm_up_clips: int
    threads: int
    seed: int
    margin: float
    long: bool
    engines: tuple[str, ...]
    timing: tuple[int, ...] | None
    sounds: tuple[Sound, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BenchmarkData:
    """What was measured.

    Attributes:
        rows: of each entry, in the order of the clips.
        rates: of the machine; None where ceilings were not asked for.
        absent: engines that are not installed, and entries of others that failed.
        again: name of the entry that is another one in a second process; None where nobody asked.
    """

    clips: LoadedClips
    entries: tuple[Entry, ...]
    measurement: Measurement
    rows: Mapping[str, tuple[ClipRow, ...]]
    rates: MachineRates | None
    absent: tuple[SkippedEngine, ...]
    again: str | None
    scaling: Scaling


def assemble(run: Run, speech: ClipSet, procedure: RunSettings, gathered: BenchmarkData) -> Results:
    """Sum up what was measured.

    Raises:
        GateError: there is no word, or no time, to compare.
        StageError: an entry failed on every clip that counts for speed.
    """
    summaries = [
        summarize_variant(
            measured,
            gathered.rows[entry.spec.name],
            entry,
            ceilings=_ceilings(measured.probe, gathered.rates),
        ).model_copy(
            update={
                "throughput": gathered.scaling.throughput.get(measured.spec.name, ()),
                "thread_sweep": gathered.scaling.thread_sweep.get(measured.spec.name, ()),
            }
        )
        for measured, entry in zip(gathered.measurement.entries, gathered.entries, strict=True)
        if entry.spec.name != gathered.again
    ]
    entrants = [(summary, gathered.rows[summary.name]) for summary in summaries]
    self_check = _self_check(gathered, procedure)
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
        versions=library_versions() | engine_versions(procedure.engines),
        dataset=_dataset(speech, procedure, gathered.clips, gathered.rows[summaries[0].name]),
        method=_method(procedure, [summary.name for summary in summaries], gathered.clips),
        baseline=summaries[0].name,
        variants=tuple(summaries),
        comparisons=_compare_all(entrants, procedure, None if self_check is None else self_check.ratio),
        peers=_compare_peers(entrants, procedure),
        machine=gathered.rates,
        absent=gathered.absent,
        side_effects=tuple(_side_effects(gathered, procedure)),
        noise=_noise(gathered.measurement),
        self_check=self_check,
    )


def _published_id(run: Run) -> str | None:
    """Return the hub id of what the run was made of, where it is a published one."""
    origins = (parent for parent in run.manifest.parents if parent.role == "checkpoint")
    return next((found for origin in origins if (found := published_id(origin)) is not None), None)


def _checkpoint_version(run: Run) -> str | None:
    """Tell by what the checkpoint is known from another one of its name."""
    origin = next((parent for parent in run.manifest.parents if parent.role == "checkpoint"), None)
    if origin is None:
        return None
    if origin.revision is not None:
        return f"revision {origin.revision}"
    return None if origin.sha256 is None else f"sha256 {origin.sha256}"


def _ceilings(probe: Probe | None, rates: MachineRates | None) -> tuple[Ceiling, ...]:
    return () if probe is None or rates is None else ceilings_of(probe, rates)


def _compare_all(
    entrants: Sequence[Entrant], procedure: RunSettings, noise: Interval | None
) -> tuple[Comparison, ...]:
    return tuple(
        compare(
            entrants[0],
            entrant,
            by_speaker,
            margin=procedure.margin,
            rng=np.random.default_rng(procedure.seed),
            noise=noise,
        )
        for entrant in entrants[1:]
    )


def _compare_peers(entrants: Sequence[Entrant], procedure: RunSettings) -> tuple[PeerComparison, ...]:
    """Compare each of our variants that is not the baseline with each entry of another engine."""
    ours = [entrant for entrant in entrants[1:] if entrant[0].engine == DEFAULT_ENGINE]
    others = [entrant for entrant in entrants if entrant[0].engine != DEFAULT_ENGINE]
    return tuple(
        compare_peer(subject, peer, by_speaker, rng=np.random.default_rng(procedure.seed))
        for subject in ours
        for peer in others
    )


def _dataset(speech: ClipSet, procedure: RunSettings, clips: LoadedClips, rows: Sequence[ClipRow]) -> Dataset:
    return Dataset(
        name=speech.name,
        split=procedure.split if speech.splits() else None,
        n_clips=len(clips.loaded),
        audio_s=sum(len(clip.wave) for clip in clips.loaded) / SAMPLE_RATE_HZ,
        n_words=sum(row.words.reference_words for row in rows),
        languages=count_by(clip.clip.language for clip in clips.loaded),
        sources=count_by(clip.clip.source for clip in clips.loaded),
        sha256=dataset_sha256(clips.loaded),
        audio_sha256=audio_sha256(clips.loaded),
        synthetic=any(clip.clip.source == SYNTHETIC_SOURCE for clip in clips.loaded),
        left_out=tuple(Rejected(clip_id=clip.clip_id, reason=clip.reason) for clip in clips.rejected),
    )


def _method(procedure: RunSettings, names: Sequence[str], clips: LoadedClips) -> Method:
    timing = procedure.timing
    return Method(
        passes=procedure.passes,
        warm_up_clips=procedure.warm_up_clips,
        threads=procedure.threads,
        order=tuple(name for block in plan_blocks(names, 2, passes=1) for name in block.order),
        beam_size=1,
        normalizer=NORMALIZER,
        confidence=CONFIDENCE,
        n_resamples=N_RESAMPLES,
        blocks=make_blocks([clip.clip.speaker for clip in clips.loaded]).kind,
        speed_blocks=None
        if timing is None
        else make_blocks([clips.loaded[p].clip.speaker for p in timing]).kind,
        seed=procedure.seed,
        long=procedure.long,
        timing_clips=None if timing is None else tuple(clips.loaded[place].clip.clip_id for place in timing),
    )


def _side_effects(gathered: BenchmarkData, procedure: RunSettings) -> Iterator[SideEffects]:
    """Compare our entries with the baseline where both tell details."""
    baseline, *others = gathered.measurement.entries
    for entry in others:
        if entry.spec.name == gathered.again:
            continue
        told = [
            (clip.clip.language, a.detail, b.detail)
            for clip, a, b in zip(gathered.clips.loaded, baseline.clips, entry.clips, strict=True)
            if a.detail is not None and b.detail is not None
        ]
        if told:
            yield compare_details(
                entry.spec.name,
                [language for language, _, _ in told],
                [before for _, before, _ in told],
                [after for _, _, after in told],
                heard=_invented(baseline, entry, procedure.sounds),
            )


def _invented(
    baseline: VariantMeasurement, entry: VariantMeasurement, sounds: Sequence[Sound]
) -> tuple[Hallucination, ...]:
    return hallucinations(
        {sound.name: sound.length_s for sound in sounds}, baseline.sounds or {}, entry.sounds or {}
    )


def _noise(measurement: Measurement) -> Noise | None:
    """Sum up what else the machine did."""
    found = measurement.disturbances
    cpu_s = sum(each.cpu_s for each in found)
    if cpu_s == 0:
        return None
    counted = [each.throttled for each in found if each.throttled is not None]
    return Noise(
        n_blocks=len(found),
        n_marked=sum(each.is_beyond for each in found),
        n_repeated=measurement.n_repeated,
        steal_share=sum(each.steal_s for each in found) / cpu_s,
        foreign_share=sum(each.foreign_s for each in found) / cpu_s,
        throttled=sum(counted) if counted else None,
        max_steal_share=MAX_STEAL_SHARE,
        max_foreign_share=MAX_FOREIGN_SHARE,
    )


def _self_check(gathered: BenchmarkData, procedure: RunSettings) -> SelfCheck | None:
    """Hold an entry against itself in a second process."""
    if gathered.again is None:
        return None
    name = gathered.again.removesuffix(AGAIN)
    pairs = [
        (a, b)
        for a, b in zip(gathered.rows[name], gathered.rows[gathered.again], strict=True)
        if a.error is None and b.error is None
    ]
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    ratio = ratio_of_times(first, second, by_speaker, np.random.default_rng(procedure.seed))
    return SelfCheck(
        entry=name,
        ratio=ratio,
        n_clips=sum(bool(a.latency_s and b.latency_s) for a, b in zip(first, second, strict=True)),
        same_text_rate=float(
            np.mean([a.hypothesis == b.hypothesis for a, b in zip(first, second, strict=True)])
        ),
    )
