"""Models that are made once, in the user's cache, where a command names a checkpoint instead of a run.

Only the quantized variant is kept. Its run is made in `NAME.making` beside it, where the next call resumes after an
interruption; the variant appears in one step. A finished model is found without loading the rest of this stage.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from sottovoce.errors import MissingExtraError
from sottovoce.progress import Reporter
from sottovoce.recipes.load import load_recipe
from sottovoce.recipes.recipe import Recipe
from sottovoce.runtime.model.requirements import recommended_recipe
from sottovoce.storage.artifacts import is_artifact
from sottovoce.storage.cache import cache_folder
from sottovoce.storage.folders import remove_folder
from sottovoce.storage.locks import output_lock
from sottovoce.storage.resumable import ResumableFolder, resumable_path

if TYPE_CHECKING:
    from sottovoce.runs import Run


def cached_model(name: str, reporter: Reporter) -> Path:
    """Return the folder of a variant of a published checkpoint, which is made when it is first needed.

    Args:
        name: short name or hub id, see `names.is_model_name`.
        reporter: receives what is made and what that takes.

    Raises:
        InputError: there is no such checkpoint.
        MissingExtraError: it must be made, and the extra `optimize` is not installed.
        ResourceError: memory or disk is short for making it.
    """
    recipe = load_recipe(recommended_recipe())
    folder = _folder(name, recipe)
    if is_artifact(folder):
        return folder
    with output_lock(folder, note=reporter.note):
        if not is_artifact(folder):
            _make(name, recipe, folder, reporter)
    return folder


def find_cached_model(name: str) -> Path | None:
    """Return the folder of a variant of a published checkpoint if it was made already; see `cached_model`."""
    folder = _folder(name, load_recipe(recommended_recipe()))
    return folder if is_artifact(folder) else None


def _folder(name: str, recipe: Recipe) -> Path:
    return _models_folder(name) / f"{name.replace('/', '--')}-{recipe.name}-{recipe.sha256()[:8]}"


def _models_folder(name: str) -> Path:
    try:
        return cache_folder() / "models"
    except ModuleNotFoundError as cause:
        raise _missing(name, "platformdirs") from cause


def _missing(name: str, module: str) -> MissingExtraError:
    return MissingExtraError(
        module, needed_for=f"making the model {name}, once; a run or a bundle needs none", extra="all"
    )


def _make(name: str, recipe: Recipe, folder: Path, reporter: Reporter) -> None:
    """Make a run of a checkpoint, and keep its quantized variant."""
    from sottovoce.runs import read_run

    making = folder.with_name(f"{folder.name}.making")
    out = making / "run"
    run = read_run(out) if is_artifact(out) else _make_run(name, recipe, out, reporter)
    run.variant(recipe.quantize.name).folder.rename(folder)
    remove_folder(making)
    reporter.note(f"made {folder}; from now on {name} is used at once")


def _make_run(name: str, recipe: Recipe, out: Path, reporter: Reporter) -> "Run":
    from sottovoce.optimize.pipeline import optimize
    from sottovoce.optimize.plan import plan, settings_of
    from sottovoce.speech.sets import read_speech
    from sottovoce.speech.synthetic import demo_speech

    try:
        planned = plan(name, recipe, read_speech(str(demo_speech())), out, force=True)
    except MissingExtraError as cause:
        raise _missing(name, cause.module) from cause
    reporter.note(
        f"the model {name} is made first, once: recipe {recipe.name}, {planned.forecast.describe()}, in {out.parent.parent}. "
        f"It is calibrated with sottovoce's own synthetic speech; to use yours: sottovoce optimize {name} --data SPEECH"
    )
    # After an update of a library, or on another CPU, an interrupted making starts again.
    unfinished = ResumableFolder(resumable_path(out), "run")
    restart = unfinished.has_other_settings(settings_of(planned))
    return optimize(planned, force=True, reporter=reporter, restart=restart)
