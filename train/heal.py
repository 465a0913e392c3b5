"""The stage `heal`: a run and speech without transcripts in, a variant with trained padding states out.

An elastic variant replaces the padding of a window by a few keys, values and states, cluster means at first. They are
trained until the variant gives the probabilities that the float32 baseline gives for 30 s. Weights do not change.

The result is a variant of its own beside the one it was trained from, so that both can be measured against each other,
and nothing is lost.
"""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sottovoce import __version__
from sottovoce.calibrate.store import CalibrationStore
from sottovoce.errors import InputError, SpecError
from sottovoce.machine.environment import library_versions, read_host
from sottovoce.machine.os_errors import translated_os_errors
from sottovoce.machine.resources import usable_cores
from sottovoce.optimize.checkpoint.resolve import Checkpoint, find_checkpoint
from sottovoce.optimize.checks.teacher_forcing import Candidate, Comparison
from sottovoce.optimize.openvino.export import TorchWhisper
from sottovoce.optimize.openvino.tensor_names import renumber_nodes
from sottovoce.optimize.pipeline import locked_run, refresh_run_manifest
from sottovoce.progress import Reporter
from sottovoce.recipes.load import parse_recipe
from sottovoce.runs import Run, Variant, VariantFacts
from sottovoce.runtime.decoding.tokenizer import WhisperTokenizer
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.elastic import PADDING_STATES_NAME, PaddingStates
from sottovoce.runtime.model.encoder import Encoder
from sottovoce.runtime.model.layout import COMPONENT_FILES, component_path
from sottovoce.runtime.model.requirements import check_machine
from sottovoce.speech.clips import ClipSet
from sottovoce.speech.properties import speaker_of
from sottovoce.storage.artifacts import (
    MANIFEST_NAME,
    Parent,
    canonical_sha256,
    created_now,
    list_files,
    sha256_of_file,
    write_manifest,
)
from sottovoce.storage.documents import write_text
from sottovoce.storage.folders import new_folder
from sottovoce.storage.locks import output_lock
from sottovoce.storage.resumable import ResumableFolder, resumable_path
from sottovoce.terms import Component, ElasticSpec, InferencePrecision
from sottovoce.train.bench import HeldOutBench
from sottovoce.train.gradients import LessonGradients
from sottovoce.train.lessons import LessonBook
from sottovoce.train.loop import LoopSpec, Progress, Tensors, Training, planned_steps, torch_threads
from sottovoce.train.loss import Examiner, LossWeights
from sottovoce.train.padding import Padding, measured_padding, write_encoder
from sottovoce.train.parameters import Start
from sottovoce.train.report import REPORT_NAME, Deltas, Figures, HealReport, is_better, loss_of
from sottovoce.train.speech import ENOUGH_AUDIO_S, Division, load_division
from sottovoce.train.whisper import ElasticWhisper

LESSONS_NAME = "lessons"
PLAN_NAME = "plan.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealSpec:
    """Options of `heal`.

    Attributes:
        variant: to train; None for the quantized variant of the run's recipe, or the only other one with padding states.
        name: of the trained variant; None for the variant's with `-healed`.
        minutes: for everything, at least 50 steps; a step takes as long as the machine needs.
        n_steps: instead of `minutes`: the same number gives the same result.
        n_padding_states: keys of each head, and states; None for as many as the variant has.
        checkpoint: that the run was made from; None looks for it in the cache and on the hub.
        threads: of training and inference; None takes all cores.
        weights: of the parts of the loss.
    """

    variant: str | None = None
    name: str | None = None
    minutes: float = 30.0
    n_steps: int | None = None
    n_padding_states: int | None = None
    checkpoint: str | None = None
    threads: int | None = None
    weights: LossWeights = field(default_factory=LossWeights)
    loop: LoopSpec = field(default_factory=LoopSpec)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Work:
    """What a training has, checked.

    Attributes:
        out: folder of the trained variant.
        elastic: of the trained variant.
        began: of this process, monotonic seconds.
    """

    run: Run
    variant: Variant
    out: Path
    elastic: ElasticSpec
    checkpoint: Checkpoint
    speech: tuple[str, ...]
    division: Division
    spec: HealSpec
    began: float

    @property
    def compute(self) -> ComputeSpec:
        """What the variant computes in."""
        return replace(self.variant.facts.compute, threads=self.threads)

    @property
    def threads(self) -> int:
        """Of training and inference."""
        return self.spec.threads or usable_cores()


def heal(
    run: Run,
    speech: Sequence[ClipSet],
    spec: HealSpec,
    reporter: Reporter,
    *,
    force: bool = False,
    restart: bool = False,
) -> HealReport:
    """Train the padding states of a run's variant, or resume an interrupted training.

    Args:
        speech: sets; of those with splits, `train` and `calib` are used.
        force: replace a variant of the same name.
        restart: delete what an interrupted command left.

    Returns:
        The report; the variant is written only where the report says `kept`.

    Raises:
        SpecError: the variant has no padding states, or the checkpoint cannot be found.
        InputError: the run has no such variant or no record, the name is taken, or there is too little speech.
        StageError: training fails.
    """
    began = time.monotonic()
    variant, measured = _variant_of(run, spec.variant)
    elastic = replace(measured, silence_centroids=spec.n_padding_states or measured.silence_centroids)
    out = run.folder / (spec.name or f"{variant.name}-healed")
    _check_name(out, variant, force=force)
    check_machine(variant.folder)
    _ = run.calibration_folder  # raises where there is none
    checkpoint = find_checkpoint(run, spec.checkpoint)
    division = load_division(
        speech,
        english_only=not variant.facts.is_multilingual,
        seed=spec.loop.seed,
        reporter=reporter,
    )
    work = _Work(
        run=run,
        variant=variant,
        out=out,
        elastic=elastic,
        checkpoint=checkpoint,
        speech=tuple(each.name for each in speech),
        division=division,
        spec=spec,
        began=began,
    )
    _describe(division, reporter)
    with translated_os_errors(out), output_lock(out, note=reporter.note):
        unfinished = ResumableFolder(resumable_path(out), "training")
        unfinished.begin(_settings(work), restart=restart)
        report, padding = _train(work, unfinished.folder, reporter)
        if report.kept:
            _write_variant(work, report, padding, reporter, force=force)
        unfinished.remove()
    return report


def _variant_of(run: Run, name: str | None) -> tuple[Variant, ElasticSpec]:
    """Return the variant to train, as `HealSpec` names it, and the settings of its padding states.

    Raises:
        InputError: the run has no such variant.
        SpecError: it has no padding states of clusters; or, without a name, several other variants have them.
    """
    variant = run.variant(name or run.recipe.quantize.name)
    trainable = {each.name: (each, found) for each in run.variants if (found := _clusters(each)) is not None}
    if variant.name in trainable:
        return trainable[variant.name]
    if name is None and len(trainable) == 1:
        return next(iter(trainable.values()))
    names = ", ".join(trainable) or "one of the recipe int8-fast"
    raise SpecError(
        f"variant {variant.name} has no padding states to train; name another one with --variant: {names}"
    )


def _clusters(variant: Variant) -> ElasticSpec | None:
    padding = PaddingStates.load(variant.folder)
    return None if padding is None or padding.spec.silence_centroids is None else padding.spec


def _check_name(out: Path, variant: Variant, *, force: bool) -> None:
    """Refuse a name that is another variant's.

    Raises:
        InputError: it is.
    """
    if out.name == variant.name:
        raise SpecError(f"--name {out.name} is the variant that is trained; choose another name")
    if out.exists() and not force:
        raise InputError(f"{out} exists already; choose another --name, or pass --force to replace it")


def _describe(division: Division, reporter: Reporter) -> None:
    reporter.note(
        f"trains on {len(division.training)} clips, {division.audio_s / 60:.0f} minutes; "
        f"measures on {len(division.held_out)} clips of other speakers"
    )
    if division.audio_s < ENOUGH_AUDIO_S:
        reporter.note(
            f"with less than {ENOUGH_AUDIO_S / 60:.0f} minutes of speech, the gain is smaller than it could be"
        )


def _settings(work: _Work) -> dict[str, str]:
    """Return everything that must be the same to resume."""
    spec = work.spec
    return {
        "variant": sha256_of_file(work.variant.folder / MANIFEST_NAME),
        "baseline": sha256_of_file(work.run.baseline.folder / MANIFEST_NAME),
        "calibration record": sha256_of_file(work.run.calibration_folder / MANIFEST_NAME),
        "speech": canonical_sha256([clip.audio_sha256 for clip in work.division.clips]),
        "padding states": str(work.elastic.silence_centroids),
        "length": f"{spec.minutes:g} minutes" if spec.n_steps is None else f"{spec.n_steps} steps",
        "seed": str(spec.loop.seed),
        "settings of training": repr((spec.weights, spec.loop)),
        "version": __version__,
    }


def _train(work: _Work, folder: Path, reporter: Reporter) -> tuple[HealReport, Padding]:
    book = _written_lessons(work, folder / LESSONS_NAME, reporter)
    store = CalibrationStore(work.run.calibration_folder)
    with reporter.progress("encode padding", 1) as advance:
        start = Start.of(
            measured_padding(work.run.baseline.folder, store, work.elastic.silence_centroids or 0)
        )
        advance()
    bench = HeldOutBench(
        variant=work.variant.folder,
        elastic=work.elastic,
        compute=work.compute,
        lessons=[book.read(clip) for clip in work.division.held_out],
        work=folder,
    )
    measured = time.monotonic()
    before = bench.measure_as_it_is()
    evaluation_s = time.monotonic() - measured

    def evaluate(deltas: Tensors) -> float:
        return loss_of(bench.measure(start.padding_of(deltas)))

    deltas = start.no_deltas()
    with torch_threads(work.threads):
        gradients = LessonGradients(
            _examiner(work), book, work.division.training, start, deltas, work.spec.loop, work.spec.weights
        )
        training = Training(folder, work.spec.loop, deltas, gradients)
        n_steps = _n_steps(work, folder / PLAN_NAME, training, evaluation_s)
        best, progress = training.run(n_steps, evaluate, reporter)
    padding = start.padding_of(best)
    return _report(work, before, bench.measure(padding), progress, n_steps), padding


def _written_lessons(work: _Work, folder: Path, reporter: Reporter) -> LessonBook:
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


def _source(work: _Work) -> Variant:
    """Return the float variant that the variant was quantized from."""
    recipe = parse_recipe(work.variant.manifest.recipe or {}, f"of variant {work.variant.name}")
    return work.run.variant(recipe.quantized_from.name)


def _examiner(work: _Work) -> Examiner:
    model = TorchWhisper(work.checkpoint.folder).model
    special = WhisperTokenizer.load(work.variant.folder).special
    return Examiner(ElasticWhisper(model), special, model.config.vocab_size)


def _n_steps(work: _Work, path: Path, training: Training, evaluation_s: float) -> int:
    def forecast() -> int:
        spent_s = time.monotonic() - work.began
        left_s = 60 * work.spec.minutes - spent_s - work.spec.loop.n_evaluations * evaluation_s
        return round(left_s / training.time_a_step())

    return planned_steps(path, work.spec.n_steps, forecast)


def _report(
    work: _Work, before: Comparison, after: Comparison, progress: Progress, n_steps: int
) -> HealReport:
    division = work.division
    deltas = Deltas(
        before=before, after=after, speakers=[speaker_of(clip.clip) for clip in division.held_out]
    )
    return HealReport(
        variant=work.variant.name,
        name=work.out.name,
        kept=is_better(deltas.divergence, deltas.start),
        seed=work.spec.loop.seed,
        n_padding_states=work.elastic.silence_centroids or 0,
        speech=work.speech,
        audio_s=division.audio_s,
        n_clips=len(division.training),
        n_held_out_clips=len(division.held_out),
        n_steps=n_steps,
        best_step=progress.best_step,
        before=Figures.of(before),
        after=Figures.of(after),
        divergence_delta=deltas.divergence,
        start_delta=deltas.start,
        history=progress.history,
    )


def _write_variant(
    work: _Work, report: HealReport, padding: Padding, reporter: Reporter, *, force: bool
) -> None:
    """Write the trained variant into the run, with the report beside it."""
    with locked_run(work.run, reporter) as now:
        with new_folder(work.out, force=force) as into:
            variant = now.variant(work.variant.name)
            _fill(into, variant, work, report, padding)
        refresh_run_manifest(now, now.recipe)


def _facts(variant: Variant, folder: Path) -> VariantFacts:
    """Return the facts of a variant whose encoder was written again."""
    path = component_path(folder, Component.ENCODER)
    size_bytes = path.stat().st_size + path.with_suffix(".bin").stat().st_size
    components = variant.facts.components
    encoder = components[Component.ENCODER].model_copy(update={"size_bytes": size_bytes})
    return variant.facts.model_copy(update={"components": {**components, Component.ENCODER: encoder}})


def _fill(into: Path, variant: Variant, work: _Work, report: HealReport, padding: Padding) -> None:
    replaced = (f"{COMPONENT_FILES[Component.ENCODER]}*", PADDING_STATES_NAME, MANIFEST_NAME, REPORT_NAME)
    shutil.copytree(variant.folder, into, ignore=shutil.ignore_patterns(*replaced), dirs_exist_ok=True)
    write_encoder(variant.folder, padding, work.elastic, into)
    renumber_nodes(into)
    write_text(into / REPORT_NAME, report.model_dump_json(indent=2) + "\n")
    parents = tuple(
        Parent(role="variant", name=each.name, sha256=sha256_of_file(each.folder / MANIFEST_NAME))
        for each in (variant, work.run.baseline)
    )
    write_manifest(
        into,
        variant.manifest.model_copy(
            update={
                "name": into.name,
                "created": created_now(),
                "made_by": f"sottovoce heal {__version__}",
                "parents": (*variant.manifest.parents, *parents),
                "host": read_host(),
                "versions": library_versions(),
                "facts": _facts(variant, into).model_dump(mode="json"),
                "files": list_files(into),
            }
        ),
    )
