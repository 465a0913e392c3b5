"""The stage `benchmark`: a run and speech in, a results folder out."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from sottovoce import __version__
from sottovoce.artifacts import (
    MANIFEST_NAME,
    Manifest,
    Parent,
    canonical_sha256,
    list_files,
    sha256_of_file,
    write_manifest,
)
from sottovoce.benchmark.assembly import Gathered, Procedure, assemble
from sottovoce.benchmark.audio_files import changed_clips, write_audio
from sottovoce.benchmark.blocks import choose_timing_clips
from sottovoce.benchmark.ceilings import best_rates, measure_rates
from sottovoce.benchmark.engines.engine import DEFAULT_ENGINE, EngineSpec, MakeEngine
from sottovoce.benchmark.engines.registry import engine_versions, find_absent, make_engine
from sottovoce.benchmark.entries import Entry, EntrySpec, choose_entries, engine_names
from sottovoce.benchmark.eval_clips import ClipChoice, load_eval_clips, note_overlap
from sottovoce.benchmark.history import history_path, keep
from sottovoce.benchmark.journal import Journal
from sottovoce.benchmark.measure import Measurement, MeasureSpec, measure
from sottovoce.benchmark.results import (
    CLIPS_NAME,
    RESULTS_NAME,
    Absent,
    ClipRow,
    MachineRates,
    Results,
    read_results,
)
from sottovoce.benchmark.scaling import Scaling, ScalingSpec, measure_scaling
from sottovoce.benchmark.sounds import make_sounds
from sottovoce.benchmark.summary import check_float_precision, clip_rows, dataset_sha256
from sottovoce.benchmark.worker import Loaded
from sottovoce.calibrate.clips import DEFAULT_SEED, ClipSet
from sottovoce.calibrate.leaks import sha256_of_wave
from sottovoce.calibrate.loading import LoadedClips
from sottovoce.cores import usable_cores
from sottovoce.environment import library_versions, read_host
from sottovoce.errors import InputError, MissingExtraError, SpecError
from sottovoce.failures import told_plainly
from sottovoce.folders import check_output, heal, new_folder
from sottovoce.locks import held
from sottovoce.progress import Reporter
from sottovoce.runs import Run
from sottovoce.runtime.audio import SAMPLE_RATE_HZ
from sottovoce.runtime.options import MAX_BATCH
from sottovoce.terms import InferencePrecision
from sottovoce.unfinished import unfinished_path

logger = logging.getLogger(__name__)

DEFAULT_MARGIN = 0.005
"""Half a point of WER: what a change may cost before users of a recognizer notice."""

NEEDED = ("jiwer", "scipy", "whisper_normalizer", "opencc")


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkSpec:
    """What to measure, and how.

    Attributes:
        split: of the speech set; ignored where a set has no splits.
        limit: clips measured; None takes all.
        variants: names, measured in our engine; empty for the quantized variant.
        timing_clips: how many clips count for speed, and are heard in every pass; None takes all.
        margin: largest tolerated WER increase, a fraction.
        engines: `ENGINE` or `ENGINE:VARIANT`; empty for our engine alone.
        checkpoint: what the run was made of, for engines that run it; None looks for it.
        long: take only recordings over 30 s instead of only clips up to 30 s.
        cold_starts: further fresh processes of each entry that are timed to their first transcript.
        ceilings: measure what this machine can do at most, and how near our variants come to it.
        side_effects: compare tokens, languages, times of words and words for noise, outside of the timed passes.
        self_check: measure our variant in a second process too, and hold the two against each other.
        batch_sizes: clips decoded together, for the throughput of engines that do; empty for none.
        thread_sweep: numbers of threads that our entries are timed with beside; empty for none.
        audio: keep clips whose transcripts differ beside the results, for the report.
        restart: throw away what an interrupted benchmark left, instead of going on.
    """

    split: str = "eval"
    limit: int | None = None
    variants: tuple[str, ...] = ()
    passes: int = 2
    timing_clips: int | None = None
    warm_up_clips: int = 2
    threads: int | None = None
    seed: int = DEFAULT_SEED
    margin: float = DEFAULT_MARGIN
    engines: tuple[str, ...] = ()
    checkpoint: str | None = None
    long: bool = False
    cold_starts: int = 0
    ceilings: bool = False
    side_effects: bool = True
    self_check: bool = False
    batch_sizes: tuple[int, ...] = ()
    thread_sweep: tuple[int, ...] = ()
    audio: bool = True
    restart: bool = False

    @property
    def n_threads(self) -> int:
        """Inference threads of every entry."""
        return self.threads or usable_cores()

    @property
    def clips(self) -> ClipChoice:
        """Which clips are measured."""
        return ClipChoice(split=self.split, limit=self.limit, seed=self.seed, long=self.long)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What is measured, settled before anything is.

    Attributes:
        again: name of the entry that is another one in a second process; None where nobody asked.
        absent: engines that were asked for and are not installed.
    """

    entries: tuple[Entry, ...]
    clips: LoadedClips
    procedure: Procedure
    again: str | None
    absent: tuple[Absent, ...]


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

    What is measured is kept in `OUT.unfinished` as it comes, so that the same command goes on after an interruption.

    Raises:
        SpecError: an engine is unknown, or cannot run what is asked of it.
        InputError: nothing to measure, or the output exists, or an unfinished benchmark of other settings does.
        MissingExtraError: a library that is needed is not installed.
        GateError: the baseline, or another variant that is to compute in float32, does not.
        StageError: a variant cannot be loaded or fails on most clips.
    """
    journal = Journal(unfinished_path(out))
    if not force and journal.is_spent(out / MANIFEST_NAME):
        with journal.held(), held(out):
            heal(out)
            journal.remove()
        reporter.note(f"{out} was finished by an earlier command")
        return read_results(out)[0]
    check_output(out, force=force)
    _check(spec)
    _require_extra()
    plan = _plan(run, speech, spec, reporter)
    with told_plainly(out), journal.held():
        gathered = _gather(run, spec, plan, journal, reporter, make)
        results = assemble(run, speech, plan.procedure, gathered)
        with new_folder(out, force=force) as work:
            _write(work, run, results, gathered, audio=spec.audio)
        journal.remove()
    _remember(results, reporter)
    return results


def _gather(
    run: Run, spec: BenchmarkSpec, plan: _Plan, journal: Journal, reporter: Reporter, make: MakeEngine
) -> Gathered:
    """Measure all that was asked for."""
    begun = journal.begin(_settings(run, plan), anew=spec.restart)
    if begun:
        reporter.note(f"goes on after {len(begun)} blocks of an interrupted benchmark ({journal.folder})")
    early_rates = _rates(spec, reporter) if spec.ceilings else None
    measurement = measure(
        [entry.spec for entry in plan.entries],
        plan.clips.loaded,
        _measure_spec(spec, plan.procedure),
        reporter,
        check=partial(_check_loaded, _float_entries(plan.entries)),
        journal=journal,
        begun=begun,
        make=make,
    )
    rates = None if early_rates is None else best_rates(early_rates, _rates(spec, reporter))
    return Gathered(
        clips=plan.clips,
        entries=plan.entries,
        measurement=measurement,
        rows=_rows(run, plan, measurement),
        rates=rates,
        absent=plan.absent,
        again=plan.again,
        scaling=_scaling(spec, plan, measurement, reporter, make),
    )


def _check(spec: BenchmarkSpec) -> None:
    """Refuse what would fail after an hour."""
    if spec.long and spec.batch_sizes:
        raise SpecError(
            "--batch-sizes is for clips up to 30 s; long recordings are decoded in batches as each engine does"
        )
    if any(size > MAX_BATCH for size in spec.batch_sizes):
        raise SpecError(f"--batch-sizes takes at most {MAX_BATCH} clips together")


def _scaling(
    spec: BenchmarkSpec, plan: _Plan, measurement: Measurement, reporter: Reporter, make: MakeEngine
) -> Scaling:
    """Measure batches on all clips, and threads on those that count for speed, of what every entry transcribed."""
    loaded, timing = plan.clips.loaded, plan.procedure.timing
    good = [
        place
        for place in range(len(loaded))
        if all(entry.clips[place].error is None for entry in measurement.entries)
    ]
    asked = ScalingSpec(
        specs=tuple(entry.spec for entry in plan.entries if entry.spec.name != plan.again),
        clips=tuple(loaded[place] for place in good),
        timed=tuple(loaded[place] for place in good if timing is None or place in timing),
        batch_sizes=spec.batch_sizes,
        threads=spec.thread_sweep,
    )
    return measure_scaling(asked, reporter, make)


def _plan(run: Run, speech: ClipSet, spec: BenchmarkSpec, reporter: Reporter) -> _Plan:
    absent = find_absent(engine_names(spec.engines))
    for each in absent:
        reporter.note(f"{each.engine} is not measured: {each.reason}")
    present = _present(spec.engines, absent)
    entries = choose_entries(
        run, _entry_spec(replace(spec, engines=present)), partial(_converted_folder, run, spec, reporter)
    )
    clips = load_eval_clips(run, speech, spec.clips, reporter)
    note_overlap(run, clips, reporter)
    again = _again(entries) if spec.self_check else None
    return _Plan(
        entries=entries if again is None else (*entries, again),
        clips=clips,
        procedure=Procedure(
            split=spec.split,
            passes=spec.passes,
            warm_up_clips=spec.warm_up_clips,
            threads=spec.n_threads,
            seed=spec.seed,
            margin=spec.margin,
            long=spec.long,
            engines=engine_names(present),
            timing=_timing(clips, spec),
            sounds=make_sounds(seed=spec.seed) if spec.side_effects else (),
        ),
        again=None if again is None else again.spec.name,
        absent=absent,
    )


def _present(engines: Sequence[str], absent: Sequence[Absent]) -> tuple[str, ...]:
    """Leave out what is absent; our own engine stands for an empty choice."""
    missing = {each.engine for each in absent}
    present = tuple(item for item in engines if item.partition(":")[0] not in missing)
    return present or (DEFAULT_ENGINE,)


def _again(entries: Sequence[Entry]) -> Entry:
    """Return our first variant, or the baseline where it is alone, for a second process."""
    ours = [entry for entry in entries if entry.spec.engine == DEFAULT_ENGINE]
    chosen = ours[min(1, len(ours) - 1)]
    return replace(chosen, spec=replace(chosen.spec, is_again=True))


def _timing(clips: LoadedClips, spec: BenchmarkSpec) -> tuple[int, ...] | None:
    if spec.timing_clips is None:
        return None
    lengths_s = [len(clip.wave) / SAMPLE_RATE_HZ for clip in clips.loaded]
    return choose_timing_clips(lengths_s, spec.timing_clips, seed=spec.seed)


def _settings(run: Run, plan: _Plan) -> dict[str, str]:
    """Return what must be the same for an interrupted benchmark to go on."""
    procedure = plan.procedure
    versions = library_versions() | engine_versions(procedure.engines)
    return {
        "run": sha256_of_file(run.folder / MANIFEST_NAME),
        "entries": ", ".join(
            f"{entry.spec.name} of {entry.spec.folder.name} on {entry.spec.compute}" for entry in plan.entries
        ),
        "clips": dataset_sha256(plan.clips.loaded),
        "audio": canonical_sha256([sha256_of_wave(clip.wave) for clip in plan.clips.loaded]),
        "warm-up clips": str(procedure.warm_up_clips),
        "usable cores": str(usable_cores()),
        "passes": str(procedure.passes),
        "clips that count for speed": "all" if procedure.timing is None else str(procedure.timing),
        "CPU": read_host().cpu,
        "versions": ", ".join(f"{name} {number}" for name, number in sorted(versions.items())),
    }


def _measure_spec(spec: BenchmarkSpec, procedure: Procedure) -> MeasureSpec:
    return MeasureSpec(
        passes=spec.passes,
        warm_up_clips=spec.warm_up_clips,
        timing=procedure.timing,
        cold_starts=spec.cold_starts,
        probes=spec.ceilings,
        details=spec.side_effects,
        sounds=procedure.sounds,
    )


def _rows(run: Run, plan: _Plan, measurement: Measurement) -> dict[str, tuple[ClipRow, ...]]:
    default_language = None if run.baseline.facts.is_multilingual else "en"
    return {
        measured.spec.name: clip_rows(
            measured,
            plan.clips.loaded,
            default_language=default_language,
            timing=plan.procedure.timing,
        )
        for measured in measurement.entries
    }


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


def _converted_folder(run: Run, spec: BenchmarkSpec, reporter: Reporter, engine: str, kind: str) -> Path:
    from sottovoce.benchmark.conversion import convert_checkpoint
    from sottovoce.optimize.origin import find_checkpoint

    checkpoint = find_checkpoint(run, spec.checkpoint)
    with reporter.progress(f"convert for {engine}", 1) as advance:
        folder = convert_checkpoint(checkpoint, engine, kind)
        advance()
    return folder


def _rates(spec: BenchmarkSpec, reporter: Reporter) -> MachineRates:
    with reporter.progress("measure the machine's ceilings", 1) as advance:
        rates = measure_rates(spec.n_threads)
        advance()
    return rates


def _check_loaded(floats: frozenset[str], spec: EngineSpec, loaded: Loaded) -> None:
    if spec.name in floats:
        check_float_precision(spec.name, loaded.precision)


def _float_entries(entries: Sequence[Entry]) -> frozenset[str]:
    """Name the entries that are to compute in float32 alone, the baseline always among them."""
    return frozenset(
        entry.spec.name
        for place, entry in enumerate(entries)
        if place == 0
        or (
            entry.int8_nodes
            and not any(entry.int8_nodes.values())
            and entry.spec.compute.precision is InferencePrecision.F32
        )
    )


def _require_extra() -> None:
    missing = next((module for module in NEEDED if find_spec(module) is None), None)
    if missing is not None:
        raise MissingExtraError(missing, needed_for="`sottovoce benchmark`", extra="benchmark")


def _write(work: Path, run: Run, results: Results, gathered: Gathered, *, audio: bool) -> None:
    (work / RESULTS_NAME).write_text(results.model_dump_json(indent=2) + "\n", encoding="utf-8")
    wanted = changed_clips(results.baseline, [each.variant for each in results.comparisons], gathered.rows)
    files = write_audio(work, gathered.clips.loaded, wanted if audio else ())
    rows = _rows_with_audio(results, gathered.rows, files)
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


def _rows_with_audio(
    results: Results, rows: Mapping[str, Sequence[ClipRow]], files: Mapping[str, str]
) -> list[ClipRow]:
    """Return the rows of the entries in the results, with the files of those that can be heard."""
    return [
        row.model_copy(update={"audio": files.get(row.clip_id)})
        for variant in results.variants
        for row in rows[variant.name]
    ]
