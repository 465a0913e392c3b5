"""The stage `benchmark`: a run and speech in, a results folder out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from sottovoce.benchmark.assembly import BenchmarkData, assemble
from sottovoce.benchmark.engines.engine import DEFAULT_ENGINE, EngineSpec, Entry, MakeEngine
from sottovoce.benchmark.history import add_to_history, history_path
from sottovoce.benchmark.live.measure import measure_live
from sottovoce.benchmark.plan import Plan, make_plan, settings_of
from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.failures import FailedIn
from sottovoce.benchmark.schema.results import Results, read_results
from sottovoce.benchmark.spec import BenchmarkSpec, check_spec
from sottovoce.benchmark.statistics.comparison import why_incomparable
from sottovoce.benchmark.summary import check_float_precision, score_clips
from sottovoce.benchmark.timing.cold_starts import measure_cold_starts
from sottovoce.benchmark.timing.excluded import FailedPeers
from sottovoce.benchmark.timing.journal import Blocks, Journal, failed_before
from sottovoce.benchmark.timing.measure import Measurement, measure
from sottovoce.benchmark.timing.roofline import best_rates, measure_rates
from sottovoce.benchmark.timing.scaling import Scaling, measure_scaling
from sottovoce.benchmark.timing.worker import ColdRun, Loaded
from sottovoce.benchmark.writing import write_results
from sottovoce.errors import InputError, MissingExtraError
from sottovoce.machine.environment import MachineRates
from sottovoce.machine.os_errors import translated_os_errors
from sottovoce.progress import Reporter
from sottovoce.runs import Run
from sottovoce.speech.clips import ClipSet, filter_clips
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
    make: MakeEngine | None = None,
) -> Results:
    """Measure a run's variants on a speech set and write the results folder.

    Measured blocks are stored in `OUT.unfinished`, so that the same command resumes after an interruption. An entry of
    another engine that fails is left out; the results list it as absent.

    Raises:
        SpecError: an engine is unknown, or cannot run a variant.
        InputError: there is nothing to measure, or the output exists, or an unfinished benchmark with other settings.
        MissingExtraError: a library is not installed.
        GateError: the baseline, or another float32 variant, computes in another type.
        StageError: a variant in our own engine cannot be loaded, or fails on most clips.
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
    speech = filter_clips(speech, spec.where)
    plan = make_plan(run, speech, spec, reporter)
    with translated_os_errors(out), journal.output_lock():
        data = _measure_all(run, plan, journal, reporter, make)
        results = assemble(run, speech, data)
        with new_folder(out, force=force) as work:
            write_results(work, run, results, data)
        journal.remove()
    _add_to_history(results, reporter)
    return results


def _measure_all(
    run: Run, plan: Plan, journal: Journal, reporter: Reporter, make: MakeEngine | None
) -> BenchmarkData:
    begun = journal.begin(settings_of(run, plan), restart=plan.spec.restart)
    _note_begun(begun, journal, reporter)
    failed = FailedPeers(reporter, failed_before(begun.values(), plan.failed))
    early_rates = _rates(plan, reporter)
    measurement = measure(
        plan,
        reporter,
        failed=failed,
        check=partial(_check_loaded, _float_entries(plan.entries)),
        journal=journal,
        begun=begun,
        make=make,
    )
    rows = score_clips(plan, measurement)
    cold_runs = _cold_runs(plan, measurement, rows, reporter, failed, make)
    late_rates = _rates(plan, reporter)
    measurement = _drop_incomparable(measurement, rows, failed)
    return BenchmarkData(
        plan=plan,
        measurement=measurement,
        rows=rows,
        cold_runs=cold_runs,
        rates=None if early_rates is None or late_rates is None else best_rates(early_rates, late_rates),
        scaling=_scaling(plan, measurement, rows, reporter, failed, make),
        live=measure_live(plan, reporter, failed, make=make) if plan.spec.live else None,
        skipped=(*plan.absent, *failed.found),
    )


def _note_begun(begun: Blocks, journal: Journal, reporter: Reporter) -> None:
    """Report the blocks of an interrupted benchmark, and the engines that had failed in it."""
    if begun:
        reporter.note(f"resuming after {len(begun)} blocks of an interrupted benchmark ({journal.folder})")
    for failed in failed_before(begun.values()):
        reporter.note(
            f"{failed.name} stays left out: {failed.message}; --restart measures everything again, this entry too"
        )


def _drop_incomparable(
    measurement: Measurement, rows: Mapping[str, Sequence[ClipRow]], failed: FailedPeers
) -> Measurement:
    """Leave out entries of other engines that share too few clips with one of ours."""
    ours = [rows[one.spec.name] for one in measurement.entries if one.spec.engine == DEFAULT_ENGINE]
    kept = []
    for one in measurement.entries:
        reasons = (why_incomparable(own, rows[one.spec.name]) for own in ours)
        reason = next((each for each in reasons if each is not None), None)
        if reason is None or one.spec.engine == DEFAULT_ENGINE:
            kept.append(one)
        else:
            failed.add(one.spec, FailedIn.CLIPS, reason)
    return replace(measurement, entries=tuple(kept))


def _transcribed_by_all(
    plan: Plan, measurement: Measurement, rows: Mapping[str, Sequence[ClipRow]]
) -> list[int]:
    """Return the indices of the clips on which no entry failed."""
    names = [one.spec.name for one in measurement.entries]
    return [
        index
        for index in range(len(plan.clips.loaded))
        if all(rows[name][index].error is None for name in names)
    ]


def _cold_runs(
    plan: Plan,
    measurement: Measurement,
    rows: Mapping[str, Sequence[ClipRow]],
    reporter: Reporter,
    failed: FailedPeers,
    make: MakeEngine | None,
) -> Mapping[str, tuple[ColdRun, ...]]:
    good = _transcribed_by_all(plan, measurement, rows)
    if plan.spec.cold_starts == 0 or not good:
        return {}
    return measure_cold_starts(
        [one.spec for one in measurement.entries],
        plan.clips.loaded[good[0]],
        plan.spec.cold_starts,
        reporter,
        failed=failed,
        make=make,
    )


def _scaling(
    plan: Plan,
    measurement: Measurement,
    rows: Mapping[str, Sequence[ClipRow]],
    reporter: Reporter,
    failed: FailedPeers,
    make: MakeEngine | None,
) -> Scaling:
    """Measure batches on all clips, and threads on those that count for speed, if every entry transcribed them."""
    loaded, good = plan.clips.loaded, _transcribed_by_all(plan, measurement, rows)
    return measure_scaling(
        plan.spec,
        [one.spec for one in measurement.entries if one.spec.name != plan.aa_entry],
        [loaded[index] for index in good],
        timed=[loaded[index] for index in good if plan.timing is None or index in plan.timing],
        reporter=reporter,
        failed=failed,
        make=make,
    )


def _rates(plan: Plan, reporter: Reporter) -> MachineRates | None:
    if not plan.spec.ceilings:
        return None
    with reporter.progress("measure the roofline of the machine", 1) as advance:
        rates = measure_rates(plan.spec.n_threads)
        advance()
    return rates


def _check_loaded(floats: frozenset[str], spec: EngineSpec, loaded: Loaded) -> None:
    if spec.name in floats:
        check_float_precision(spec.name, loaded.precision)


def _float_entries(entries: Sequence[Entry]) -> frozenset[str]:
    """Name the entries that must compute in float32 alone, the baseline always among them."""
    return frozenset(
        entry.spec.name
        for index, entry in enumerate(entries)
        if index == 0
        or (
            entry.int8_nodes
            and not any(entry.int8_nodes.values())
            and entry.spec.compute.precision is InferencePrecision.F32
        )
    )


def _add_to_history(results: Results, reporter: Reporter) -> None:
    """Add the results to the user's history; a history that cannot be written is only reported."""
    path = history_path()
    if path is None:
        return
    try:
        add_to_history(path, results)
    except InputError as cause:
        reporter.note(f"not added to the history: {cause}")


def _require_extra() -> None:
    missing = next((module for module in NEEDED if find_spec(module) is None), None)
    if missing is not None:
        raise MissingExtraError(missing, needed_for="`sottovoce benchmark`", extra="benchmark")
