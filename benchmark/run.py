"""The stage `benchmark`: a run and speech in, a results folder out."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from sottovoce import __version__
from sottovoce.accuracy import NORMALIZER
from sottovoce.artifacts import (
    MANIFEST_NAME,
    Manifest,
    Parent,
    check_output,
    list_files,
    new_folder,
    sha256_of_file,
    write_manifest,
)
from sottovoce.benchmark.ceilings import best_rates, ceilings_of, measure_rates
from sottovoce.benchmark.comparison import Entrant, compare, compare_peer
from sottovoce.benchmark.engines.engine import DEFAULT_ENGINE, WINDOW_S, EngineSpec, MakeEngine, Probe
from sottovoce.benchmark.engines.registry import engine_versions, make_engine, require_engines
from sottovoce.benchmark.entries import Entry, EntrySpec, choose_entries, engine_names
from sottovoce.benchmark.history import history_path, keep
from sottovoce.benchmark.measure import MeasureSpec, VariantMeasurement, interleave, measure
from sottovoce.benchmark.results import (
    CLIPS_NAME,
    RESULTS_NAME,
    Ceiling,
    ClipRow,
    Comparison,
    Dataset,
    MachineRates,
    Method,
    PeerComparison,
    Rejected,
    Results,
    VariantResult,
)
from sottovoce.benchmark.summary import (
    check_baseline_precision,
    clip_rows,
    dataset_sha256,
    summarize_variant,
)
from sottovoce.benchmark.worker import Loaded
from sottovoce.calibrate.clips import (
    DEFAULT_SEED,
    SYNTHETIC_SOURCE,
    Clip,
    ClipSet,
    count_by,
    select_clips,
)
from sottovoce.calibrate.doctor import read_recorded_clips, read_report
from sottovoce.calibrate.leaks import sha256_of_wave
from sottovoce.calibrate.loading import LoadedClips, load_clips
from sottovoce.calibrate.record import usable_clips
from sottovoce.calibrate.store import CalibrationStore
from sottovoce.cores import usable_cores
from sottovoce.environment import library_versions, read_host
from sottovoce.errors import InputError, MissingExtraError
from sottovoce.intervals import CONFIDENCE, N_RESAMPLES, Blocks, make_blocks
from sottovoce.optimize.search.outcome import read_search
from sottovoce.optimize.sensitivity.report import read_current_sensitivity
from sottovoce.progress import Reporter
from sottovoce.runs import CALIBRATION_NAME, Run
from sottovoce.runtime.audio import SAMPLE_RATE_HZ

logger = logging.getLogger(__name__)

DEFAULT_MARGIN = 0.005
"""Half a point of WER: what a change may cost before users of a recognizer notice."""

NO_LONG_CLIPS = "no recording is over 30 s; give longer ones, or leave --long away"

NEEDED = ("jiwer", "scipy", "whisper_normalizer", "opencc")


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkSpec:
    """What to measure, and how.

    Attributes:
        split: of the speech set; ignored where a set has no splits.
        limit: clips measured; None takes all.
        variants: names, measured in our engine; empty for the quantized variant.
        margin: largest tolerated WER increase, a fraction.
        engines: `ENGINE` or `ENGINE:VARIANT`; empty for our engine alone.
        checkpoint: what the run was made of, for faster-whisper, torch and torch-dynamic; None looks for it.
        long: take only recordings over 30 s instead of only clips up to 30 s.
        cold_starts: further fresh processes of each entry that are timed to their first transcript.
        ceilings: measure what this machine can do at most, and how near our variants come to it.
    """

    split: str = "eval"
    limit: int | None = None
    variants: tuple[str, ...] = ()
    passes: int = 2
    warm_up_clips: int = 2
    threads: int | None = None
    seed: int = DEFAULT_SEED
    margin: float = DEFAULT_MARGIN
    engines: tuple[str, ...] = ()
    checkpoint: str | None = None
    long: bool = False
    cold_starts: int = 0
    ceilings: bool = False

    @property
    def n_threads(self) -> int:
        """Inference threads of every entry."""
        return self.threads or usable_cores()


def benchmark(
    run: Run,
    speech: ClipSet,
    spec: BenchmarkSpec,
    out: Path,
    *,
    force: bool,
    reporter: Reporter,
    make: MakeEngine = make_engine,
) -> Results:
    """Measure a run's variants on a speech set and write the results folder.

    Raises:
        SpecError: an engine is unknown, or cannot run what is asked of it.
        InputError: nothing to measure, or the output exists.
        MissingExtraError: a library that is needed is not installed.
        GateError: the baseline does not compute in f32.
        StageError: a variant cannot be loaded or fails on most clips.
    """
    check_output(out, force=force)
    _require_extra()
    engines = engine_names(spec.engines)
    require_engines(engines)
    entries = choose_entries(run, _entry_spec(spec), partial(_converted_folder, run, spec, reporter))
    clips = load_eval_clips(run, speech, spec, reporter)
    _note_overlap(run, clips, reporter)
    early_rates = _rates(spec, reporter) if spec.ceilings else None
    measured = measure(
        [entry.spec for entry in entries],
        clips.loaded,
        MeasureSpec(
            passes=spec.passes,
            warm_up_clips=spec.warm_up_clips,
            cold_starts=spec.cold_starts,
            probes=spec.ceilings,
        ),
        reporter,
        check=partial(_check_loaded, entries[0].spec.name),
        make=make,
    )
    default_language = None if run.baseline.facts.is_multilingual else "en"
    rows = {m.spec.name: clip_rows(m, clips.loaded, default_language=default_language) for m in measured}
    rates = None if early_rates is None else best_rates(early_rates, _rates(spec, reporter))
    results = _assemble(run, speech, spec, clips, entries, measured, rows, rates)
    with new_folder(out, force=force) as work:
        _write(work, run, results, [row for of_entry in rows.values() for row in of_entry])
    _remember(results, reporter)
    return results


def _remember(results: Results, reporter: Reporter) -> None:
    """Keep the result in the user's history; a history that cannot be written does not undo the measurement."""
    path = history_path()
    if path is None:
        return
    try:
        keep(path, results)
    except InputError as cause:
        reporter.note(f"not kept in the history: {cause}")


def _entry_spec(spec: BenchmarkSpec) -> EntrySpec:
    return EntrySpec(
        variants=spec.variants,
        engines=spec.engines,
        threads=spec.n_threads,
        long=spec.long,
        checkpoint=spec.checkpoint,
    )


def _converted_folder(run: Run, spec: BenchmarkSpec, reporter: Reporter) -> Path:
    from sottovoce.benchmark.conversion import convert_checkpoint
    from sottovoce.optimize.origin import find_checkpoint

    checkpoint = find_checkpoint(run, spec.checkpoint)
    with reporter.progress("convert for faster-whisper", 1) as advance:
        folder = convert_checkpoint(checkpoint)
        advance()
    return folder


def _rates(spec: BenchmarkSpec, reporter: Reporter) -> MachineRates:
    with reporter.progress("measure the machine's ceilings", 1) as advance:
        rates = measure_rates(spec.n_threads)
        advance()
    return rates


def _check_loaded(baseline: str, spec: EngineSpec, loaded: Loaded) -> None:
    if spec.name == baseline:
        check_baseline_precision(baseline, loaded.precision)


def _note_overlap(run: Run, clips: LoadedClips, reporter: Reporter) -> None:
    """Say when clips are measured that the run was calibrated with."""
    if run.calibration is None:
        return
    record = run.folder / CALIBRATION_NAME
    recorded = CalibrationStore(record).clip_ids()
    heard = {clip.audio_sha256 for clip in read_recorded_clips(record)}
    shared = [
        clip.clip.clip_id
        for clip in clips.loaded
        if clip.clip.clip_id in recorded or sha256_of_wave(clip.wave) in heard
    ]
    if shared:
        reporter.note(
            f"{len(shared)} of {len(clips.loaded)} clips were recorded for calibration, {shared[0]} first; "
            "their word errors flatter the INT8 variant. Give the set a split, or other speech"
        )


def _require_extra() -> None:
    missing = next((module for module in NEEDED if find_spec(module) is None), None)
    if missing is not None:
        raise MissingExtraError(missing, needed_for="`sottovoce benchmark`", extra="benchmark")


def load_eval_clips(run: Run, speech: ClipSet, spec: BenchmarkSpec, reporter: Reporter) -> LoadedClips:
    """Choose and decode the clips to measure: of the split, with a transcript, by the seed.

    Raises:
        InputError: no clip with a transcript is left, or none over 30 s where those are asked for.
    """
    usable = usable_clips(speech, spec.split, english_only=not run.baseline.facts.is_multilingual)
    with_text = [clip for clip in usable.clips if clip.text and clip.text.strip()]
    if not with_text:
        raise InputError(f"{speech.name} has no transcripts; a benchmark needs them to count word errors")
    chosen = select_clips(with_text, None, seed=spec.seed)
    clips = (_load_long if spec.long else _load_short)(chosen, spec.limit, reporter)
    for rejected in clips.rejected:
        reporter.note(f"left out {rejected.clip_id}: {rejected.reason}")
    return clips


def _load_short(chosen: Sequence[Clip], limit: int | None, reporter: Reporter) -> LoadedClips:
    total = len(chosen) if limit is None else min(limit, len(chosen))
    with reporter.progress("decode evaluation clips", total) as advance:
        return load_clips(chosen, wanted=limit, on_clip=advance)


def _load_long(chosen: Sequence[Clip], limit: int | None, reporter: Reporter) -> LoadedClips:
    """Load recordings over 30 s; where a set does not tell lengths, all are decoded to see."""
    candidates = [clip for clip in chosen if clip.duration_s is None or clip.duration_s > WINDOW_S]
    if not candidates:
        raise InputError(NO_LONG_CLIPS)
    all_told = all(clip.duration_s is not None for clip in candidates)
    with reporter.progress("decode long recordings", len(candidates)) as advance:
        clips = load_clips(candidates, wanted=limit if all_told else None, max_clip_s=None, on_clip=advance)
    long = [clip for clip in clips.loaded if len(clip.wave) > WINDOW_S * SAMPLE_RATE_HZ]
    if not long:
        raise InputError(NO_LONG_CLIPS)
    return LoadedClips(loaded=tuple(long[:limit]), rejected=clips.rejected)


def _assemble(
    run: Run,
    speech: ClipSet,
    spec: BenchmarkSpec,
    clips: LoadedClips,
    entries: Sequence[Entry],
    measured: Sequence[VariantMeasurement],
    rows: dict[str, tuple[ClipRow, ...]],
    rates: MachineRates | None,
) -> Results:
    summaries = [
        summarize_variant(
            measurement, rows[entry.spec.name], entry, ceilings=_ceilings(measurement.probe, rates)
        )
        for measurement, entry in zip(measured, entries, strict=True)
    ]
    entrants = [(summary, rows[summary.name]) for summary in summaries]
    blocks = make_blocks([clip.clip.speaker for clip in clips.loaded]).kind
    return Results(
        created=datetime.now(UTC),
        model=run.manifest.name,
        recipe=run.recipe.resolved(),
        recipe_sha256=run.recipe.sha256(),
        calibration=None if run.calibration is None else run.calibration.facts,
        doctor=read_report(run.folder / CALIBRATION_NAME),
        search=read_search(run.folder),
        sensitivity=read_current_sensitivity(run.folder),
        host=read_host(),
        versions=library_versions() | engine_versions(engine_names(spec.engines)),
        dataset=_dataset(speech, spec, clips, rows[summaries[0].name]),
        method=_method(spec, summaries, blocks),
        baseline=summaries[0].name,
        variants=tuple(summaries),
        comparisons=_compare_all(entrants, spec),
        peers=_compare_peers(entrants, spec),
        machine=rates,
    )


def _ceilings(probe: Probe | None, rates: MachineRates | None) -> tuple[Ceiling, ...]:
    return () if probe is None or rates is None else ceilings_of(probe, rates)


def _compare_all(entrants: Sequence[Entrant], spec: BenchmarkSpec) -> tuple[Comparison, ...]:
    return tuple(
        compare(entrants[0], entrant, _blocks_of, margin=spec.margin, rng=np.random.default_rng(spec.seed))
        for entrant in entrants[1:]
    )


def _compare_peers(entrants: Sequence[Entrant], spec: BenchmarkSpec) -> tuple[PeerComparison, ...]:
    """Compare our first variant that is not the baseline with each entry of another engine."""
    ours = [entrant for entrant in entrants[1:] if entrant[0].engine == DEFAULT_ENGINE]
    if not ours:
        return ()
    return tuple(
        compare_peer(ours[0], entrant, _blocks_of, rng=np.random.default_rng(spec.seed))
        for entrant in entrants
        if entrant[0].engine != DEFAULT_ENGINE
    )


def _blocks_of(rows: Sequence[ClipRow]) -> Blocks:
    return make_blocks([row.speaker for row in rows])


def _dataset(speech: ClipSet, spec: BenchmarkSpec, clips: LoadedClips, rows: Sequence[ClipRow]) -> Dataset:
    return Dataset(
        name=speech.name,
        split=spec.split if speech.splits() else None,
        n_clips=len(clips.loaded),
        audio_s=sum(len(clip.wave) for clip in clips.loaded) / SAMPLE_RATE_HZ,
        n_words=sum(row.words.reference_words for row in rows),
        languages=count_by(clip.clip.language for clip in clips.loaded),
        sources=count_by(clip.clip.source for clip in clips.loaded),
        sha256=dataset_sha256(clips.loaded),
        synthetic=any(clip.clip.source == SYNTHETIC_SOURCE for clip in clips.loaded),
        left_out=tuple(Rejected(clip_id=clip.clip_id, reason=clip.reason) for clip in clips.rejected),
    )


def _method(spec: BenchmarkSpec, summaries: Sequence[VariantResult], blocks: str) -> Method:
    names = tuple(summary.name for summary in summaries)
    return Method(
        passes=spec.passes,
        warm_up_clips=spec.warm_up_clips,
        threads=spec.n_threads,
        order=tuple(name for order in interleave(names, spec.passes) for name in order),
        beam_size=1,
        normalizer=NORMALIZER,
        confidence=CONFIDENCE,
        n_resamples=N_RESAMPLES,
        blocks=blocks,
        seed=spec.seed,
        long=spec.long,
    )


def _write(work: Path, run: Run, results: Results, rows: Sequence[ClipRow]) -> None:
    (work / RESULTS_NAME).write_text(results.model_dump_json(indent=2) + "\n", encoding="utf-8")
    lines = "".join(row.model_dump_json() + "\n" for row in rows)
    (work / CLIPS_NAME).write_text(lines, encoding="utf-8")
    write_manifest(
        work,
        Manifest(
            kind="results",
            name=results.model,
            created=results.created,
            made_by=f"sottovoce benchmark {__version__}",
            parents=(
                Parent(role="run", name=run.manifest.name, sha256=sha256_of_file(run.folder / MANIFEST_NAME)),
                Parent(role="speech", name=results.dataset.name, sha256=results.dataset.sha256),
            ),
            host=results.host,
            versions=results.versions,
            files=list_files(work),
        ),
    )
