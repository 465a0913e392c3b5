"""The search: a checkpoint, a recipe with choices, speech and a budget in, the fastest run within it out."""

import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sottovoce.calibrate.leaks import sha256_of_wave
from sottovoce.calibrate.record import CALIBRATION_SPLIT, usable_clips
from sottovoce.calibrate.store import CalibrationStore
from sottovoce.errors import InputError, SpecError, StageError
from sottovoce.machine.cores import usable_cores
from sottovoce.machine.os_errors import told_plainly
from sottovoce.optimize import pipeline
from sottovoce.optimize.checkpoint.resolve import resolve_checkpoint
from sottovoce.optimize.openvino.component_cache import COMPONENTS_NAME, ComponentCache
from sottovoce.optimize.plan import checkpoint_sha256, machine_settings, plan
from sottovoce.optimize.search.bench import TRIAL_PREFIX, BenchSpec
from sottovoce.optimize.search.choose import choose, is_finished, is_within, pareto_front, wer_per_nat
from sottovoce.optimize.search.judged_clips import write_judged_clips
from sottovoce.optimize.search.outcome import (
    REPORT_NAME,
    SearchReport,
    Settings,
    Trial,
    TrialOutcome,
    describe_settings,
)
from sottovoce.optimize.search.space import Space, space_of
from sottovoce.optimize.search.study import Study
from sottovoce.optimize.search.workers import RAY, LocalWorker, PendingTrial, RayWorkers, Workers
from sottovoce.progress import Reporter
from sottovoce.recipes.recipe import Recipe, SearchSection
from sottovoce.runs import CALIBRATION_NAME, SEARCH_NAME, Run, read_run
from sottovoce.speech.clips import Clip, ClipSet, select_clips
from sottovoce.speech.loading import LoadedClip, load_clips
from sottovoce.storage.artifacts import MANIFEST_NAME, canonical_sha256, sha256_of_file, write_text
from sottovoce.storage.locks import output_lock
from sottovoce.storage.resumable import ResumableFolder, resumable_path

PRUNE_FACTOR = 2.0
MIN_TRIALS_TO_PRUNE = 4
"""A trial is given up that parts from the baseline twice as much as the median of at least four others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a search may cost, and what its result may.

    Attributes:
        max_wer_increase: over the baseline's, a fraction.
        minutes: of all sittings together; a trial under way is finished.
        max_trials: None leaves it to the minutes.
    """

    max_wer_increase: float
    minutes: float
    max_trials: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpec:
    """How a search is done.

    Attributes:
        budget: of time and of word errors.
        workers: `local` or `ray`.
        n_workers: None takes as many as the cluster has cores for.
        threads: of inference; None takes all cores.
        seed: chooses clips and settings.
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
    """Search, or go on with a search that was interrupted.

    The run is made first, with its float variants and its calibration record. Trials are kept in `RUN/search`;
    the best becomes the run's quantized variant at the end.

    Raises:
        SpecError: the recipe has no choices, or one means nothing.
        InputError: the output holds something else, or the speech has no clips to judge by.
        StageError: no trial worked.
    """
    space = space_of(recipe)
    with told_plainly(out), output_lock(out, note=reporter.note):
        return _search(model, recipe, space, speech, out, spec, force=force, reporter=reporter)


def _search(
    model: str,
    recipe: Recipe,
    space: Space,
    speech: ClipSet,
    out: Path,
    spec: SearchSpec,
    *,
    force: bool,
    reporter: Reporter,
) -> SearchReport:
    started = time.monotonic()
    run = _run(model, space.recipe, speech, out, force=force, reporter=reporter)
    folder = run.folder / SEARCH_NAME
    bench = _bench(run, recipe, speech, spec, folder, reporter)
    _remove_debris(folder)
    study = Study(folder, space, purpose=_purpose(model, recipe, bench), seed=spec.seed)
    write_judged_clips((*bench.judge_clips, *bench.confirm_clips), folder)
    with _workers(bench, spec, reporter) as workers:
        sitting = _Sitting(study, space, workers, spec.budget, started, reporter)
        sitting.go_on()
        report = _report(recipe, study, bench, spec.budget, workers.baseline_wer)
    _keep_best(run, space, report, folder, reporter)
    write_text(folder / REPORT_NAME, report.model_dump_json(indent=2) + "\n")
    shutil.rmtree(folder / COMPONENTS_NAME, ignore_errors=True)
    return report


def _run(model: str, recipe: Recipe, speech: ClipSet, out: Path, *, force: bool, reporter: Reporter) -> Run:
    """Make the run that trials start from, or take the one that an interrupted search made."""
    if not force and (out / SEARCH_NAME).is_dir():
        ResumableFolder(resumable_path(out), "run").remove()
        return read_run(out)
    planned = plan(model, recipe, speech, out, force=force)
    manner = pipeline.OutputPolicy(force=force)
    return pipeline.make_run(
        planned, lambda work: (work / SEARCH_NAME).mkdir(exist_ok=True), manner, reporter
    )


def _bench(
    run: Run, recipe: Recipe, speech: ClipSet, spec: SearchSpec, folder: Path, reporter: Reporter
) -> BenchSpec:
    section = recipe.search or SearchSection(choices={})
    candidates = usable_clips(
        speech, CALIBRATION_SPLIT, english_only=not run.baseline.facts.is_multilingual
    ).clips
    with_text = tuple(clip for clip in candidates if clip.text)
    if not with_text:
        raise InputError(f"{speech.name} has no calibration clips with transcripts, which word errors need")
    recorded = CalibrationStore(run.folder / CALIBRATION_NAME).clip_ids()
    unheard = tuple(clip for clip in with_text if clip.clip_id not in recorded)
    if not unheard:
        reporter.note(
            f"all {len(with_text)} calibration clips of {speech.name} were recorded; trials are judged by them too, "
            "which flatters all of them alike. More speech would tell more"
        )
    n_wanted = section.judge_clips + section.confirm_clips
    loaded = _load(select_clips(unheard or with_text, n_wanted, seed=spec.seed), reporter)
    judging, confirming = divide(loaded, section)
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

    Where there are too few for both, half of them judge, and as many confirm as are asked for, first those that do not
    judge: word errors need every clip.
    """
    if len(clips) >= section.judge_clips + section.confirm_clips:
        judging = clips[: section.judge_clips]
        return tuple(judging), tuple(clips[len(judging) : len(judging) + section.confirm_clips])
    n_judging = min(section.judge_clips, max(1, len(clips) // 2))
    return tuple(clips[:n_judging]), tuple(clips[-section.confirm_clips :])


def _load(clips: Sequence[Clip], reporter: Reporter) -> tuple[LoadedClip, ...]:
    with reporter.progress("decode clips to judge by", len(clips)) as advance:
        loaded = load_clips(clips, wanted=None, on_clip=advance)
    return loaded.loaded


def _remove_debris(folder: Path) -> None:
    """Remove what a killed process was writing."""
    for path in folder.glob(f"{TRIAL_PREFIX}*"):
        shutil.rmtree(path, ignore_errors=True)


def _purpose(model: str, recipe: Recipe, bench: BenchSpec) -> dict[str, str]:
    """Tell what makes the figures of trials comparable."""
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


def _workers(bench: BenchSpec, spec: SearchSpec, reporter: Reporter) -> Workers:
    if spec.workers == RAY:
        return RayWorkers(bench, spec.n_workers)
    return LocalWorker(bench, reporter)


class _Sitting:
    """One process's part of a search."""

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
        self._n_under_way = 0

    def go_on(self) -> None:
        """Try until the budget is used up, or until there is nothing new to try."""
        n_done = len(self._study.trials())
        if n_done:
            self._reporter.note(
                f"going on with a search of {n_done} trials, {self._before_s / 60:.0f} minutes so far"
            )
        with self._reporter.progress("search", self._budget.max_trials) as advance:
            while self._submit_more() or self._n_under_way:
                self._take_one(advance)

    def _submit_more(self) -> bool:
        """Keep all workers busy; tell whether any is."""
        while self._n_under_way < self._workers.n_workers and self._may_begin():
            asked = self._study.ask()
            if asked is None:
                break
            self._begin(*asked)
        return self._n_under_way > 0

    def _begin(self, number: int, settings: Settings) -> None:
        try:
            recipe = self._space.with_settings(settings)
        except SpecError as cause:  # values that are good each, but not together
            self._study.tell(number, TrialOutcome(failure=str(cause)))
            return
        limit = worst_divergence(self._study.trials())
        self._workers.submit(PendingTrial(number=number, recipe=recipe, worst_divergence=limit))
        self._n_under_way += 1

    def _may_begin(self) -> bool:
        """Tell whether another trial fits the budget; the first always does."""
        trials = self._study.trials()
        n_begun = len(trials) + self._n_under_way
        if n_begun == 0:
            return True
        if self._budget.max_trials is not None and n_begun >= self._budget.max_trials:
            return False
        usual_s = statistics.median([sum(t.outcome.seconds.values()) for t in trials]) if trials else 0.0
        return self._spent_s() + usual_s <= 60 * self._budget.minutes

    def _spent_s(self) -> float:
        return self._before_s + time.monotonic() - self._started

    def _take_one(self, advance: Callable[[], None]) -> None:
        task, outcome = self._workers.next_done()
        self._n_under_way -= 1
        self._study.tell(task.number, outcome)
        self._study.spent_s = self._spent_s()
        advance()
        trials = self._study.trials()
        this = next(trial for trial in trials if trial.number == task.number)
        best = choose(trials, self._budget.max_wer_increase)
        so_far = "none worked yet" if best is None else f"best so far: trial {best.number}"
        self._reporter.note(f"{describe_trial(self._space, this)}; {so_far}")


def worst_divergence(trials: Sequence[Trial]) -> float | None:
    """Return from where on a trial is given up; None while there are too few to tell."""
    known = [
        t.outcome.divergence for t in trials if is_finished(t.outcome) and t.outcome.divergence is not None
    ]
    return PRUNE_FACTOR * statistics.median(known) if len(known) >= MIN_TRIALS_TO_PRUNE else None


def describe_trial(space: Space, trial: Trial) -> str:
    """Tell in one line what a trial changed and gave."""
    changed = describe_settings(trial.settings, space.own)
    return f"trial {trial.number} ({changed}): {describe_outcome(trial.outcome)}"


def describe_outcome(outcome: TrialOutcome) -> str:
    """Tell in one line what a trial gave."""
    if outcome.failure is not None or outcome.speedup is None:
        return f"failed: {outcome.failure}"
    told = f"{outcome.speedup:.2f} times the baseline, {100 * (outcome.flips or 0):.1f} % of tokens flip"
    if outcome.is_pruned or outcome.wer_increase is None:
        return f"{told}; given up"
    return f"{told}, WER {100 * outcome.wer_increase.value:+.2f} points"


def _report(
    recipe: Recipe, study: Study, bench: BenchSpec, budget: Budget, baseline_wer: float
) -> SearchReport:
    trials = study.trials()
    chosen = choose(trials, budget.max_wer_increase)
    if chosen is None:
        first = next((trial.outcome.failure for trial in trials if trial.outcome.failure), "no time for any")
        raise StageError(f"none of {len(trials)} trials worked; the first says: {first}")
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
    settings: Settings = report.best.settings
    found = space.with_settings(settings)
    told = f"Found by a search of {len(report.trials)} trials: trial {report.chosen}. {found.description}"
    pipeline.quantize_again(
        run,
        found.model_copy(update={"description": told}),
        reporter,
        write=ComponentCache(folder / COMPONENTS_NAME),
    )
