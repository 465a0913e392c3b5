"""The stage `search`: checkpoint, recipe with choices, speech and budget in; the fastest run within the budget out."""

import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sottovoce.calibrate.store import CalibrationStore
from sottovoce.errors import InputError, SpecError, StageError
from sottovoce.machine.os_errors import translated_os_errors
from sottovoce.machine.resources import usable_cores
from sottovoce.optimize import pipeline
from sottovoce.optimize.checkpoint.resolve import resolve_checkpoint
from sottovoce.optimize.checks.held_out import calibration_clips, load_for_comparison
from sottovoce.optimize.openvino.component_cache import COMPONENTS_NAME, ComponentCache
from sottovoce.optimize.plan import checkpoint_sha256, machine_settings, plan
from sottovoce.optimize.search.bench import TRIAL_PREFIX, BenchSpec
from sottovoce.optimize.search.choose import choose, is_finished, is_within, pareto_front, wer_per_nat
from sottovoce.optimize.search.report import (
    REPORT_NAME,
    SearchReport,
    Settings,
    Trial,
    TrialOutcome,
    describe_settings,
    write_judged_clips,
)
from sottovoce.optimize.search.space import Space, space_of
from sottovoce.optimize.search.study import Study
from sottovoce.optimize.search.workers import RAY, LocalWorker, PendingTrial, RayWorkers, Workers
from sottovoce.progress import Reporter
from sottovoce.recipes.recipe import Recipe, SearchSection
from sottovoce.runs import CALIBRATION_NAME, SEARCH_NAME, Run, read_run
from sottovoce.speech.clips import ClipSet, select_clips
from sottovoce.speech.properties import sha256_of_wave
from sottovoce.storage.artifacts import MANIFEST_NAME, canonical_sha256, sha256_of_file
from sottovoce.storage.documents import write_text
from sottovoce.storage.locks import output_lock
from sottovoce.storage.resumable import ResumableFolder, resumable_path

PRUNE_FACTOR = 2.0
MIN_TRIALS_TO_PRUNE = 4
"""A trial is stopped that diverges twice as much as the median of at least four others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Limits of a search and of its result.

    Attributes:
        max_wer_increase: over the baseline's WER, a fraction.
        minutes: over all invocations; a running trial is finished.
        max_trials: None sets no limit but the minutes.
    """

    max_wer_increase: float
    minutes: float
    max_trials: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpec:
    """Options of a search.

    Attributes:
        workers: `local` or `ray`.
        n_workers: None takes as many as the cluster has cores for.
        threads: of inference; None takes all cores.
        seed: of the choice of clips and settings.
    """

    budget: Budget
    workers: str = "local"
    n_workers: int | None = None
    threads: int | None = None
    seed: int = 0


def search(
    model: str,
    recipe: Recipe,
    speech: ClipSet,
    out: Path,
    spec: SearchSpec,
    *,
    force: bool,
    reporter: Reporter,
) -> SearchReport:
    """Search, or resume a search that was interrupted.

    First the run is made, with its float variants and its calibration record. Trials are kept in `RUN/search`; the
    best becomes the run's quantized variant at the end.

    Raises:
        SpecError: the recipe has no choices, or an invalid one.
        InputError: the output holds something else, or the speech has no calibration clips with transcripts.
        StageError: no trial worked.
    """
    space = space_of(recipe)
    with translated_os_errors(out), output_lock(out, note=reporter.note):
        started = time.monotonic()
        run = _run(model, space.recipe, speech, out, force=force, reporter=reporter)
        folder = run.folder / SEARCH_NAME
        bench = _bench(run, recipe, speech, spec, folder, reporter)
        for unfinished in folder.glob(f"{TRIAL_PREFIX}*"):  # of a killed process
            shutil.rmtree(unfinished, ignore_errors=True)
        study = Study(folder, space, purpose=_purpose(model, recipe, bench), seed=spec.seed)
        write_judged_clips((*bench.judge_clips, *bench.confirm_clips), folder)
        is_ray = spec.workers == RAY
        with RayWorkers(bench, spec.n_workers) if is_ray else LocalWorker(bench, reporter) as workers:
            _SearchLoop(study, space, workers, spec.budget, started, reporter).run()
            report = _report(recipe, study, bench, spec.budget, workers.baseline_wer)
        _keep_best(run, space, report, folder, reporter)
        write_text(folder / REPORT_NAME, report.model_dump_json(indent=2) + "\n")
        shutil.rmtree(folder / COMPONENTS_NAME, ignore_errors=True)
    return report


def _run(model: str, recipe: Recipe, speech: ClipSet, out: Path, *, force: bool, reporter: Reporter) -> Run:
    """Make the run that trials start from, or read the one that an interrupted search made."""
    if not force and (out / SEARCH_NAME).is_dir():
        ResumableFolder(resumable_path(out), "run").remove()
        return read_run(out)
    planned = plan(model, recipe, speech, out, force=force)
    policy = pipeline.OutputPolicy(force=force)
    return pipeline.make_run(
        planned, lambda work: (work / SEARCH_NAME).mkdir(exist_ok=True), policy, reporter
    )


def _bench(
    run: Run, recipe: Recipe, speech: ClipSet, spec: SearchSpec, folder: Path, reporter: Reporter
) -> BenchSpec:
    section = recipe.search or SearchSection(choices={})
    with_text = tuple(clip for clip in calibration_clips(run, speech) if clip.text)
    if not with_text:
        raise InputError(f"{speech.name} has no calibration clips with transcripts, which word errors need")
    recorded = CalibrationStore(run.folder / CALIBRATION_NAME).clip_ids()
    held_out = tuple(clip for clip in with_text if clip.clip_id not in recorded)
    if not held_out:
        reporter.note(
            f"all {len(with_text)} calibration clips of {speech.name} were recorded; trials are compared on those, "
            "which flatters all of them alike. More speech would show more"
        )
    n_wanted = section.judge_clips + section.confirm_clips
    selected = select_clips(held_out or with_text, n_wanted, seed=spec.seed)
    judging, confirming = divide(load_for_comparison(selected, n_wanted, reporter), section)
    return BenchSpec(
        run=run.folder,
        baseline=run.baseline.name,
        work=folder,
        judge_clips=judging,
        n_timed=section.timed_clips,
        confirm_clips=confirming,
        threads=spec.threads or usable_cores(),
    )


_Clip = TypeVar("_Clip")


def divide(clips: Sequence[_Clip], section: SearchSection) -> tuple[tuple[_Clip, ...], tuple[_Clip, ...]]:
    """Divide clips into those on which tokens are compared and those on which word errors are counted.

    Where there are too few for both, tokens are compared on half of them, and word errors are counted on as many as the
    recipe wants, first on the other half: word errors need every clip.
    """
    if len(clips) >= section.judge_clips + section.confirm_clips:
        judging = clips[: section.judge_clips]
        return tuple(judging), tuple(clips[len(judging) : len(judging) + section.confirm_clips])
    n_judging = min(section.judge_clips, max(1, len(clips) // 2))
    return tuple(clips[:n_judging]), tuple(clips[-section.confirm_clips :])


def _purpose(model: str, recipe: Recipe, bench: BenchSpec) -> dict[str, str]:
    """Return everything that must be the same for the figures of trials to be comparable."""
    clips = [
        (clip.clip.clip_id, sha256_of_wave(clip.wave), clip.clip.text, clip.clip.language)
        for clip in (*bench.judge_clips, *bench.confirm_clips)
    ]
    return {
        "checkpoint": checkpoint_sha256(resolve_checkpoint(model).folder),
        "recipe": recipe.sha256(),
        "calibration record": sha256_of_file(bench.run / CALIBRATION_NAME / MANIFEST_NAME),
        "speech or seed": canonical_sha256(clips),
        "number of threads": str(bench.threads),
        **machine_settings(),
    }


class _SearchLoop:
    """Keeps workers busy until the budget is used up."""

    def __init__(
        self,
        study: Study,
        space: Space,
        workers: Workers,
        budget: Budget,
        started: float,
        reporter: Reporter,
    ) -> None:
        self._study = study
        self._space = space
        self._workers = workers
        self._budget = budget
        self._started = started
        self._before_s = study.spent_s
        self._reporter = reporter
        self._n_running = 0

    def run(self) -> None:
        """Run trials until the budget is used up, or until there is nothing new to try."""
        n_done = len(self._study.trials())
        if n_done:
            self._reporter.note(
                f"going on with a search of {n_done} trials, {self._before_s / 60:.0f} minutes so far"
            )
        with self._reporter.progress("search", self._budget.max_trials) as advance:
            while self._submit_more() or self._n_running:
                self._take_one(advance)

    def _submit_more(self) -> bool:
        """Give each idle worker a trial; return whether any is running."""
        while self._n_running < self._workers.n_workers and self._may_begin():
            drawn = self._study.draw()
            if drawn is None:
                break
            self._begin(*drawn)
        return self._n_running > 0

    def _begin(self, number: int, settings: Settings) -> None:
        try:
            recipe = self._space.with_settings(settings)
        except SpecError as cause:  # each value is valid, but not together with the others
            self._study.add(number, TrialOutcome(failure=str(cause)))
            return
        limit = worst_divergence(self._study.trials())
        self._workers.submit(PendingTrial(number=number, recipe=recipe, worst_divergence=limit))
        self._n_running += 1

    def _may_begin(self) -> bool:
        """Return whether another trial fits the budget; the first always does."""
        trials = self._study.trials()
        n_started = len(trials) + self._n_running
        if n_started == 0:
            return True
        if self._budget.max_trials is not None and n_started >= self._budget.max_trials:
            return False
        usual_s = statistics.median([sum(t.outcome.seconds.values()) for t in trials]) if trials else 0.0
        return self._spent_s() + usual_s <= 60 * self._budget.minutes

    def _spent_s(self) -> float:
        return self._before_s + time.monotonic() - self._started

    def _take_one(self, advance: Callable[[], None]) -> None:
        done, outcome = self._workers.next_done()
        self._n_running -= 1
        self._study.add(done.number, outcome)
        self._study.spent_s = self._spent_s()
        advance()
        trials = self._study.trials()
        this = next(trial for trial in trials if trial.number == done.number)
        best = choose(trials, self._budget.max_wer_increase)
        so_far = "none worked yet" if best is None else f"best so far: trial {best.number}"
        changed = describe_settings(this.settings, self._space.own)
        self._reporter.note(f"trial {this.number} ({changed}): {describe_outcome(this.outcome)}; {so_far}")


def worst_divergence(trials: Sequence[Trial]) -> float | None:
    """Return the divergence from which a trial is stopped; None while too few trials finished."""
    known = [
        t.outcome.divergence for t in trials if is_finished(t.outcome) and t.outcome.divergence is not None
    ]
    return PRUNE_FACTOR * statistics.median(known) if len(known) >= MIN_TRIALS_TO_PRUNE else None


def describe_outcome(outcome: TrialOutcome) -> str:
    """Describe the outcome of a trial in one line."""
    if outcome.failure is not None or outcome.speedup is None:
        return f"failed: {outcome.failure}"
    figures = f"{outcome.speedup:.2f} times the baseline, {100 * (outcome.flips or 0):.1f} % of tokens change"
    if outcome.is_pruned or outcome.wer_increase is None:
        return f"{figures}; given up"
    return f"{figures}, WER {100 * outcome.wer_increase.value:+.2f} points"


def _report(
    recipe: Recipe, study: Study, bench: BenchSpec, budget: Budget, baseline_wer: float
) -> SearchReport:
    trials = study.trials()
    chosen = choose(trials, budget.max_wer_increase)
    if chosen is None:
        first = next((trial.outcome.failure for trial in trials if trial.outcome.failure), "no time for any")
        raise StageError(f"none of {len(trials)} trials worked; the first failure is: {first}")
    slope = wer_per_nat(trials)
    return SearchReport(
        recipe=recipe.name,
        max_wer_increase=budget.max_wer_increase,
        spent_s=study.spent_s,
        n_recorded_clips=len(CalibrationStore(bench.run / CALIBRATION_NAME).entries),
        n_judge_clips=len(bench.judge_clips),
        n_confirm_clips=len(bench.confirm_clips),
        baseline_wer=baseline_wer,
        wer_per_nat=slope,
        trials=trials,
        front=tuple(trial.number for trial in pareto_front(trials)),
        chosen=chosen.number,
        is_within_budget=is_within(chosen, budget.max_wer_increase, slope),
    )


def _keep_best(run: Run, space: Space, report: SearchReport, folder: Path, reporter: Reporter) -> None:
    found = space.with_settings(report.best.settings)
    origin = f"Found by a search of {len(report.trials)} trials: trial {report.chosen}."
    pipeline.quantize_again(
        run,
        found.model_copy(update={"description": f"{origin} {found.description}"}),
        reporter,
        write=ComponentCache(folder / COMPONENTS_NAME),
    )
