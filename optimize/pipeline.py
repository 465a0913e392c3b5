"""The stage `optimize`: a checkpoint, a recipe and speech in, a run out.

A run is made step by step in `OUT.unfinished`: each float variant, the calibration record, each quantized component.
Finished steps are kept, so that the same command resumes after an interruption.
"""

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sottovoce.calibrate.record import load_calibration, record, select_calibration
from sottovoce.calibrate.store import CalibrationStore
from sottovoce.errors import InputError
from sottovoce.machine.os_errors import translated_os_errors
from sottovoce.optimize.checkpoint.resolve import find_checkpoint
from sottovoce.optimize.manifests import PLAN_KEY, write_run_manifest
from sottovoce.optimize.openvino.component_cache import COMPONENTS_NAME, ComponentCache
from sottovoce.optimize.openvino.quantize import QuantizeFile
from sottovoce.optimize.plan import RunPlan, check_cpu, check_resources, is_begun, settings_of
from sottovoce.optimize.steps import Sources, export_missing, quantize_into, record_missing
from sottovoce.progress import Reporter
from sottovoce.recipes.load import parse_recipe
from sottovoce.recipes.recipe import Recipe
from sottovoce.runs import CALIBRATION_NAME, Run, read_run
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.openvino.memory import map_large_blocks
from sottovoce.speech.clips import ClipSet
from sottovoce.storage.artifacts import Manifest, canonical_sha256, is_artifact, read_manifest
from sottovoce.storage.folders import check_output, new_folder, recover_interrupted_write, replace_folder
from sottovoce.storage.locks import output_lock
from sottovoce.storage.resumable import ResumableFolder, resumable_path

logger = logging.getLogger(__name__)

RUN_NAME = "run"
"""Name of the run inside its unfinished folder."""

Finish = Callable[[Path], None]
"""Adds the last parts to a run that has its float variants and its record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputPolicy:
    """What to do with an existing output.

    Attributes:
        force: replace an existing run.
        restart: delete what an interrupted command left, instead of resuming.
    """

    force: bool = False
    restart: bool = False


def optimize(planned: RunPlan, *, force: bool, reporter: Reporter, restart: bool = False) -> Run:
    """Make a run: export, check, record, quantize; or resume an interrupted one.

    Raises:
        InputError: there is an unfinished run with other settings.
        ParityError: an exported variant differs from the checkpoint.
        ResourceError: the disk is full, or memory is short.
        StageError: the result of a step fails its check.
    """

    def quantize(work: Path) -> None:
        into = work / planned.recipe.quantize.name
        if is_artifact(into):
            return
        write = ComponentCache(work.with_name(COMPONENTS_NAME))
        with new_folder(into) as made:
            made.rmdir()
            quantize_into(work, made, planned.recipe, lambda: planned.checkpoint, reporter, write)

    return make_run(planned, quantize, OutputPolicy(force=force, restart=restart), reporter)


def make_run(planned: RunPlan, finish: Finish, policy: OutputPolicy, reporter: Reporter) -> Run:
    """Make a run with its float variants and its record, let `finish` add to it, and move it to the output.

    Raises:
        InputError: there is an unfinished run with other settings.
        OutputExistsError: the output exists, and `force` is not set.
        ParityError: an exported variant differs from the checkpoint.
        ResourceError: the disk is full, or memory is short.
        StageError: the result of a step fails its check.
    """
    check_resources(planned)
    map_large_blocks()
    out = planned.out
    was_begun = is_begun(out)
    with translated_os_errors(out), output_lock(out, note=reporter.note) as waited:
        unfinished = ResumableFolder(resumable_path(out), "run")
        recover_interrupted_write(unfinished.folder)
        settings = settings_of(planned)
        # Another process may have made the run while this one waited, or was killed after it had moved the run here.
        may_stand = waited or (was_begun and (not policy.force or is_artifact(unfinished.folder / RUN_NAME)))
        if may_stand and _is_made(out, settings):
            reporter.note(f"{out} was finished by an earlier command of the same settings")
        else:
            recover_interrupted_write(out)
            check_output(out, force=policy.force)
            _begin_or_resume(unfinished, settings, reporter, restart=policy.restart)
            _make(planned, settings, unfinished, finish, reporter)
        unfinished.remove()
        return read_run(out)


def _is_made(out: Path, settings: dict[str, str]) -> bool:
    """Return whether an output is a run with these settings."""
    return is_artifact(out) and read_manifest(out).facts.get(PLAN_KEY) == canonical_sha256(settings)


def _begin_or_resume(
    unfinished: ResumableFolder, settings: dict[str, str], reporter: Reporter, *, restart: bool
) -> None:
    work = unfinished.folder / RUN_NAME
    if unfinished.begin(settings, restart=restart):
        done = sorted(path.name for path in work.glob("[!.]*") if is_artifact(path))
        reporter.note(
            f"goes on with an interrupted run ({unfinished.folder}), finished so far: {', '.join(done) or 'nothing'}"
        )
        _remove_debris(work)
    work.mkdir(exist_ok=True)


def _remove_debris(work: Path) -> None:
    """Remove the unfinished steps of a killed process."""
    for path in work.glob(".*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _make(
    planned: RunPlan,
    settings: dict[str, str],
    unfinished: ResumableFolder,
    finish: Finish,
    reporter: Reporter,
) -> None:
    work = unfinished.folder / RUN_NAME
    try:
        sources = Sources(planned, reporter)
        export_missing(sources, work)
        record_missing(sources, work)
        finish(work)
        write_run_manifest(
            work,
            planned.recipe,
            name=planned.checkpoint.name,
            origin=planned.checkpoint.origin,
            plan=canonical_sha256(settings),
        )
        replace_folder(work, planned.out)
    except BaseException:
        if not any(map(is_artifact, work.glob("[!.]*"))):
            unfinished.remove()
        raise


def calibrate_again(run: Run, speech: ClipSet, recipe: Recipe, reporter: Reporter) -> Manifest:
    """Record a run's baseline again, and replace its calibration record."""
    selection = select_calibration(
        speech, recipe.calibration, english_only=not run.baseline.facts.is_multilingual
    )
    clips = load_calibration(selection, reporter)
    with locked_run(run, reporter) as now:
        with new_folder(now.folder / CALIBRATION_NAME, force=True) as work:
            manifest = record(
                now.baseline.folder,
                clips,
                work,
                recipe=recipe,
                compute=ComputeSpec(),
                reporter=reporter,
            )
        refresh_run_manifest(now, now.recipe.model_copy(update={"calibration": recipe.calibration}))
    return manifest


@contextmanager
def locked_run(run: Run, reporter: Reporter) -> Iterator[Run]:
    """Lock a run, and yield its current state."""
    map_large_blocks()
    with translated_os_errors(run.folder), output_lock(run.folder, note=reporter.note) as waited:
        yield read_run(run.folder) if waited else run


def quantize_again(
    run: Run,
    recipe: Recipe,
    reporter: Reporter,
    *,
    checkpoint: str | None = None,
    write: QuantizeFile | None = None,
    as_own: bool = False,
) -> Run:
    """Quantize a run again from its calibration record, with the settings of a recipe.

    A variant with another name than the run's own is added: the run keeps its recipe, and stands for its own variant.

    Args:
        recipe: with the run's baseline; of its other keys only `quantize` is used.
        checkpoint: of the run, for a CTranslate2 variant; None looks for it in the cache.
        write: writes a quantized component of an OpenVINO variant; None quantizes it.
        as_own: the run stands for this variant from now on.

    Raises:
        InputError: the run has no record, or one without the tokens that the recipe needs; or the recipe has another
            baseline.
        MissingExtraError: a CTranslate2 variant needs the extra `ct2`, which is not installed.
        ResourceError: the CPU cannot run what the recipe makes.
        SpecError: the run lacks the export that the recipe quantizes, or its checkpoint cannot be found.
    """
    check_cpu(recipe)
    with locked_run(run, reporter) as now:
        merged = _merged(now, recipe)
        find = partial(find_checkpoint, now, checkpoint)
        with new_folder(now.folder / merged.quantize.name, force=True) as work:
            work.rmdir()
            quantize_into(now.folder, work, merged, find, reporter, write)
        is_own = as_own or merged.quantize.name == now.recipe.quantize.name
        refresh_run_manifest(now, merged if is_own else now.recipe)
    return read_run(run.folder)


def _merged(run: Run, recipe: Recipe) -> Recipe:
    """Return the run's recipe with the `quantize` section of another."""
    CalibrationStore(run.calibration_folder).check_transcripts(recipe.quantize)
    if recipe.baseline != run.recipe.baseline:
        raise InputError(
            f"recipe {recipe.name} has another baseline than {run.folder}; make a new run with it"
        )
    kept = run.recipe.resolved()
    return parse_recipe(
        {**recipe.resolved(), "exports": kept["exports"], "calibration": kept["calibration"]}, recipe.name
    )


def refresh_run_manifest(run: Run, recipe: Recipe) -> None:
    """Rewrite the run's manifest after one of its parts was replaced."""
    write_run_manifest(run.folder, recipe, name=run.manifest.name, origin=run.manifest.parents[0])
