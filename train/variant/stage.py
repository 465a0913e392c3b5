"""What `heal` and `qat` share: a run's variant and speech without transcripts in, a trained variant of the run out.

The float32 baseline is the teacher: the variant is trained until it gives the baseline's probabilities and states. The
result is a variant of its own beside the one it was trained from, so that both can be measured against each other, and
nothing is lost.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from sottovoce import __version__
from sottovoce.errors import SpecError
from sottovoce.machine.os_errors import translated_os_errors
from sottovoce.optimize.checkpoint.resolve import find_checkpoint
from sottovoce.optimize.checks.teacher_forcing import Candidate, Comparison
from sottovoce.progress import Reporter
from sottovoce.recipes.load import parse_recipe
from sottovoce.recipes.recipe import RESERVED_NAMES, VariantName
from sottovoce.runs import Run, Variant
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.encoder import Encoder
from sottovoce.runtime.model.requirements import check_machine
from sottovoce.speech.clips import ClipSet
from sottovoce.speech.properties import speaker_of
from sottovoce.storage.artifacts import (
    MANIFEST_NAME,
    canonical_sha256,
    sha256_of_file,
)
from sottovoce.storage.locks import output_lock
from sottovoce.storage.resumable import ResumableFolder, resumable_path
from sottovoce.terms import InferencePrecision
from sottovoce.train.loop import Progress, Tensors, Training, planned_steps, torch_threads
from sottovoce.train.speech import ENOUGH_AUDIO_S, Division, load_division
from sottovoce.train.variant.bench import HeldOutBench
from sottovoce.train.variant.gradients import LessonGradients
from sottovoce.train.variant.lessons import LessonBook
from sottovoce.train.variant.report import HeldOutWords, Outcome, VariantReport, loss_of
from sottovoce.train.variant.trainable import Trainable
from sottovoce.train.variant.words import measure_words
from sottovoce.train.variant.work import Method, ReportT_co, TrainingSpec, Work
from sottovoce.train.variant.write import check_place, write_variant

LESSONS_NAME = "lessons"
PLAN_NAME = "plan.json"

MEASURED_GAINS = (
    "on speech of the same kind, tiny.en came 10 to 26 % nearer to fp32 with 15 minutes, 32 to 39 % with 83"
)
"""By `heal` and `qat`, of the divergence of held-out speakers (docs/lab-notes.md)."""

FURTHER_EVALUATIONS = 5
"""Before the first step, at its uneven end, after it, and about two for the transcripts."""


def prepare(
    run: Run,
    variant: Variant,
    speech: Sequence[ClipSet],
    spec: TrainingSpec,
    reporter: Reporter,
    *,
    suffix: str,
    force: bool,
) -> Work:
    """Check everything that a training needs, and decode the speech.

    Raises:
        SpecError: the checkpoint cannot be found.
        InputError: the run has no record, the name is taken, or there is too little speech.
    """
    began = time.monotonic()
    out = run.folder / _checked_name(spec.name or f"{variant.name}{suffix}", variant)
    check_place(out, force=force)
    check_machine(variant.folder)
    _ = run.calibration_folder  # raises where there is none
    checkpoint = find_checkpoint(run, spec.checkpoint)
    division = load_division(
        speech,
        english_only=not variant.facts.is_multilingual,
        seed=spec.loop.seed,
        reporter=reporter,
    )
    _describe(division, reporter)
    return Work(
        run=run,
        variant=variant,
        variant_sha256=sha256_of_file(variant.folder / MANIFEST_NAME),
        out=out,
        checkpoint=checkpoint,
        speech=tuple(each.name for each in speech),
        division=division,
        spec=spec,
        began=began,
    )


def train_variant(
    work: Work, method: Method[ReportT_co], reporter: Reporter, *, force: bool, restart: bool
) -> ReportT_co:
    """Train a variant, or resume an interrupted training; write it where it is nearer to the baseline.

    Raises:
        StageError: training fails.
    """
    with translated_os_errors(work.out), output_lock(work.out, note=reporter.note) as waited:
        if waited:
            check_place(work.out, force=force)
        unfinished = ResumableFolder(resumable_path(work.out), "training")
        unfinished.begin(_settings(work, method), restart=restart)
        trainable = method.trainable(work, reporter)
        outcome, deltas = _train(work, trainable, unfinished.folder, reporter)
        report = method.report(outcome)
        if report.kept:
            write_variant(work, method, report, trainable, deltas, reporter, force=force)
        unfinished.remove()
    return report


def choose_variant(
    run: Run,
    name: str | None,
    is_trainable: Callable[[Variant], bool],
    *,
    needed: str,
    made_by: str,
    not_after: Sequence[str],
) -> Variant:
    """Return the variant of a name; without one the quantized variant of the recipe, or the only one that can be trained.

    Args:
        needed: what a variant must have to be trained.
        made_by: recipes that give it.
        not_after: reports of trainings whose numbers this one would not start from.

    Raises:
        InputError: the run has no such variant.
        SpecError: it cannot be trained; or, without a name, several other variants can.
    """
    variant = run.variant(name or run.recipe.quantize.name)
    if any((variant.folder / report).is_file() for report in not_after):
        raise SpecError(
            f"variant {variant.name} was trained already, and training would not start from its numbers; "
            "train the one that it was trained from, with more --steps"
        )
    if is_trainable(variant):
        return variant
    others = [each for each in run.variants if is_trainable(each)]
    if name is None and len(others) == 1:
        return others[0]
    names = ", ".join(each.name for each in others) or f"one of the recipe {made_by}"
    raise SpecError(
        f"variant {variant.name} has no {needed} to train; name another one with --variant: {names}"
    )


def _checked_name(name: str, variant: Variant) -> str:
    """Return the name of the trained variant.

    Raises:
        SpecError: no variant can have it, or the one that is trained has it.
    """
    if name == variant.name:
        raise SpecError(f"--name {name} is the variant that is trained; choose another name")
    try:
        return TypeAdapter(VariantName).validate_python(name)
    except ValidationError as cause:
        raise SpecError(
            f"--name {name}: want lower-case letters, digits, dots, dashes and underscores, and none of "
            f"{', '.join(sorted(RESERVED_NAMES))}"
        ) from cause


def _describe(division: Division, reporter: Reporter) -> None:
    reporter.note(
        f"trains on {len(division.training)} clips, {division.audio_s / 60:.0f} minutes; "
        f"measures on {len(division.held_out)} clips of other speakers"
    )
    if division.audio_s < ENOUGH_AUDIO_S:
        reporter.note(
            f"with less than {ENOUGH_AUDIO_S / 60:.0f} minutes of speech, the gain is smaller than it could be: {MEASURED_GAINS}"
        )


def _settings(work: Work, method: Method[VariantReport]) -> dict[str, str]:
    """Return everything that must be the same to resume."""
    spec = work.spec
    return {
        "variant": work.variant_sha256,
        "baseline": sha256_of_file(work.run.baseline.folder / MANIFEST_NAME),
        "calibration record": sha256_of_file(work.run.calibration_folder / MANIFEST_NAME),
        "speech": canonical_sha256(
            [[clip.audio_sha256, clip.clip.language, speaker_of(clip.clip)] for clip in work.division.clips]
        ),
        **method.settings(),
        "length": f"{spec.minutes:g} minutes" if spec.n_steps is None else f"{spec.n_steps} steps",
        "seed": str(spec.loop.seed),
        "settings of training": repr((spec.weights, spec.loop)),
        "version": __version__,
    }


def _train(work: Work, trainable: Trainable, folder: Path, reporter: Reporter) -> tuple[Outcome, Tensors]:
    book = _written_lessons(work, folder / LESSONS_NAME, reporter)
    bench = HeldOutBench(
        variant=work.variant.folder,
        compute=work.compute,
        lessons=[book.read(clip) for clip in work.division.held_out],
        work=folder,
    )
    measured = time.monotonic()
    before = bench.measure_as_it_is()
    evaluation_s = time.monotonic() - measured

    def evaluate(deltas: Tensors) -> float:
        return loss_of(bench.measure(trainable, deltas))

    deltas = trainable.no_deltas()
    with torch_threads(work.threads):
        gradients = LessonGradients(
            trainable, book, work.division.training, deltas, work.spec.loop, work.spec.weights
        )
        training = Training(folder, work.spec.loop, deltas, gradients)
        n_steps = _n_steps(work, folder / PLAN_NAME, training, evaluation_s)
        best, progress = training.run(n_steps, evaluate, reporter)
    after = bench.measure(trainable, best)
    words = measure_words(bench, work.division.held_out, trainable, best)
    outcome = _outcome(work, before=before, after=after, words=words, progress=progress, n_steps=n_steps)
    return outcome, best


def _written_lessons(work: Work, folder: Path, reporter: Reporter) -> LessonBook:
    """Let the float variant that was quantized transcribe the clips.

    It computes in bf16 for the clips that train: that is 0.05 mnat a token off (docs/lab-notes.md), and quicker.
    """
    book = LessonBook(folder)
    student = Encoder.load(work.variant.folder, work.compute)
    for clips, precision in (
        (work.division.held_out, InferencePrecision.F32),
        (work.division.training, InferencePrecision.BF16),
    ):
        teacher = Candidate.load(_source(work).folder, ComputeSpec(precision=precision, threads=work.threads))
        book.write_missing(clips, teacher, student, reporter)
    return book


def _source(work: Work) -> Variant:
    """Return the float variant that the variant was quantized from."""
    recipe = parse_recipe(work.variant.manifest.recipe or {}, f"of variant {work.variant.name}")
    return work.run.variant(recipe.quantized_from.name)


def _n_steps(work: Work, path: Path, training: Training, evaluation_s: float) -> int:
    def forecast() -> int:
        spent_s = time.monotonic() - work.began
        left_s = (
            60 * work.spec.minutes
            - spent_s
            - (work.spec.loop.n_evaluations + FURTHER_EVALUATIONS) * evaluation_s
        )
        return round(left_s / training.time_a_step())

    return planned_steps(path, work.spec.n_steps, forecast)


def _outcome(
    work: Work,
    *,
    before: Comparison,
    after: Comparison,
    words: HeldOutWords | None,
    progress: Progress,
    n_steps: int,
) -> Outcome:
    division = work.division
    return Outcome(
        variant=work.variant.name,
        name=work.out.name,
        seed=work.spec.loop.seed,
        speech=work.speech,
        audio_s=division.audio_s,
        n_clips=len(division.training),
        speakers=tuple(speaker_of(clip.clip) for clip in division.held_out),
        n_steps=n_steps,
        before=before,
        after=after,
        words=words,
        progress=progress,
    )
