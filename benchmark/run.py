"""The stage `benchmark`: a run and speech in, a results folder out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from sottovoce.benchmark.assembly import BenchmarkData, assemble
from sottovoce.benchmark.engines.engine import DEFAULT_ENGINE, EngineSpec, MakeEngine
from sottovoce.benchmark.engines.registry import make_engine
from sottovoce.benchmark.entries import Entry
from sottovoce.benchmark.history import history_path, keep
from sottovoce.benchmark.plan import Plan, make_plan, settings_of
from sottovoce.benchmark.schema.results import ClipRow, FailedIn, Results, read_results
from sottovoce.benchmark.spec import BenchmarkSpec, check_spec
from sottovoce.benchmark.statistics.comparable import why_incomparable
from sottovoce.benchmark.summary import check_float_precision, clip_rows
from sottovoce.benchmark.timing.excluded import FailedPeers
from sottovoce.benchmark.timing.journal import Journal, failed_before
from sottovoce.benchmark.timing.measure import Measurement, MeasureSpec, measure
from sottovoce.benchmark.timing.pass_runner import Blocks
from sottovoce.benchmark.timing.roofline import best_rates, measure_rates
from sottovoce.benchmark.timing.scaling import Scaling, ScalingSpec, measure_scaling
from sottovoce.benchmark.timing.worker import Loaded
from sottovoce.benchmark.writing import write_results
from sottovoce.errors import InputError, MissingExtraError
from sottovoce.machine.environment import MachineRates
from sottovoce.machine.os_errors import translated_os_errors
from sottovoce.progress import Reporter
from sottovoce.runs import Run
from sottovoce.speech.clips import ClipSet
from sottovoce.storage.artifacts import MANIFEST_NAME
from sottovoce.storage.folders import check_output, new_folder, recover_interrupted_write
from sottovoce.storage.locks import output_lock
from sottovoce.storage.resumable import resumable_path
from sottovoce.terms import InferencePrecision

NEEDED = ("jiwer", "scipy", "whisper_normalizer", "opencc")


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
        StageError: a variant in our own engine cannot be loaded or fails on most clips. One in another engine is left
            out, and is among what the results call absent.
    """
    journal = Journal(resumable_path(out))
    if not force and journal.is_consumed(out / MANIFEST_NAME):
        with journal.output_lock(), output_lock(out):
            recover_interrupted_write(out)
            journal.remove()
        reporter.note(f"{out} was finished by an earlier command")
        return read_results(out)[0]
    check_output(out, force=force)
    check_spec(spec)
    _require_extra()
    plan = make_plan(run, speech, spec, reporter)
    with translated_os_errors(out), journal.output_lock():
        gathered = _gather(run, spec, plan, journal, reporter, make)
        results = assemble(run, speech, plan.procedure, gathered)
        with new_folder(out, force=force) as work:
            write_results(work, run, results, gathered, audio=spec.audio)
        journal.remove()
    _remember(results, reporter)
    return results


def _gather(
    run: Run, spec: BenchmarkSpec, plan: Plan, journal: Journal, reporter: Reporter, make: MakeEngine
) -> BenchmarkData:
    """Measure all that was asked for."""
    begun = journal.begin(settings_of(run, plan), anew=spec.restart)
    _note_begun(begun, journal, reporter)
    early_rates = _rates(spec, reporter) if spec.ceilings else None
    measurement = measure(
        [entry.spec for entry in plan.entries],
        plan.clips.loaded,
        _measure_spec(spec, plan),
        reporter,
        check=partial(_check_loaded, _float_entries(plan.entries)),
        journal=journal,
        begun=begun,
        make=make,
    )
    rates = None if early_rates is None else best_rates(early_rates, _rates(spec, reporter))
    rows = _rows(run, plan, measurement)
    measurement = _comparable(measurement, rows, reporter)
    measured = {one.spec.name for one in measurement.entries}
    scaling = _scaling(spec, plan, measurement, reporter, make)
    return BenchmarkData(
        clips=plan.clips,
        entries=tuple(entry for entry in plan.entries if entry.spec.name in measured),
        measurement=measurement,
        rows=rows,
        rates=rates,
        absent=(*plan.absent, *measurement.failed, *scaling.failed),
        again=plan.again,
        scaling=scaling,
    )


def _note_begun(begun: Blocks, journal: Journal, reporter: Reporter) -> None:
    """Say what an interrupted benchmark left, and which engines it left out."""
    if begun:
        reporter.note(f"goes on after {len(begun)} blocks of an interrupted benchmark ({journal.folder})")
    for failed in failed_before(begun.values()):
        reporter.note(
            f"{failed.name} stays out: {failed.told}; --restart tries it again, with everything else"
        )


def _comparable(
    measurement: Measurement, rows: Mapping[str, Sequence[ClipRow]], reporter: Reporter
) -> Measurement:
    """Leave out entries of other engines that share too little with one of ours to be compared with it."""
    failed = FailedPeers(reporter, measurement.failed)
    ours = [rows[one.spec.name] for one in measurement.entries if one.spec.engine == DEFAULT_ENGINE]
    kept = []
    for one in measurement.entries:
        reasons = (why_incomparable(own, rows[one.spec.name]) for own in ours)
        reason = next((each for each in reasons if each is not None), None)
        if reason is None or one.spec.engine == DEFAULT_ENGINE:
            kept.append(one)
        else:
            failed.leave_out(one.spec, FailedIn.CLIPS, reason)
    return replace(measurement, entries=tuple(kept), failed=failed.found)


def _measure_spec(spec: BenchmarkSpec, plan: Plan) -> MeasureSpec:
    return MeasureSpec(
        passes=spec.passes,
        warm_up_clips=spec.warm_up_clips,
        timing=plan.procedure.timing,
        cold_starts=spec.cold_starts,
        probes=spec.ceilings,
        details=spec.side_effects,
        sounds=plan.procedure.sounds,
        failed=plan.failed,
    )


def _scaling(
    spec: BenchmarkSpec, plan: Plan, measurement: Measurement, reporter: Reporter, make: MakeEngine
) -> Scaling:
    """Measure batches on all clips, and threads on those that count for speed, of what every entry transcribed."""
    loaded, timing = plan.clips.loaded, plan.procedure.timing
    good = [
        place
        for place in range(len(loaded))
        if all(entry.clips[place].error is None for entry in measurement.entries)
    ]
    asked = ScalingSpec(
        specs=tuple(one.spec for one in measurement.entries if one.spec.name != plan.again),
        clips=tuple(loaded[place] for place in good),
        timed=tuple(loaded[place] for place in good if timing is None or place in timing),
        batch_sizes=spec.batch_sizes,
        threads=spec.thread_sweep,
    )
    return measure_scaling(asked, reporter, make)


def _rows(run: Run, plan: Plan, measurement: Measurement) -> dict[str, tuple[ClipRow, ...]]:
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


def _remember(results: Results, reporter: Reporter) -> None:
    """Keep the result in the user's history; a history that cannot be written does not undo the measurement."""
    path = history_path()
    if path is None:
        return
    try:
        keep(path, results)
    except InputError as cause:
        reporter.note(f"not kept in the history: {cause}")


def _require_extra() -> None:
    missing = next((module for module in NEEDED if find_spec(module) is None), None)
    if missing is not None:
        raise MissingExtraError(missing, needed_for="`sottovoce benchmark`", extra="benchmark")
