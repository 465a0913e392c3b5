"""The demo's choices, and its warnings in one line."""

import numpy as np

from sottovoce.cli.demo import DEMO_OVERRIDES, DEMO_PASSES, DEMO_RECIPES, FoldedWarnings
from sottovoce.progress import Silent
from sottovoce.recipes.load import load_recipe
from sottovoce.statistics.intervals import Interval, widen_by_rounds


class Notes(Silent):
    """A reporter that keeps notes."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        """Keep the text."""
        self.texts.append(text)


def test_a_steady_speed_up_is_decided_in_the_passes_of_the_demo() -> None:
    ratios = list(2.1 * np.linspace(0.95, 1.05, DEMO_PASSES))
    resampled = Interval(value=2.1, low=2.05, high=2.15)
    assert widen_by_rounds(resampled, ratios, n_blocks=24).low > 1.5


def test_the_recommended_recipe_comes_first_and_both_share_export_and_record() -> None:
    recommended, classic = (load_recipe(name, DEMO_OVERRIDES) for name in DEMO_RECIPES)
    assert (recommended.quantize.name, classic.quantize.name) == DEMO_RECIPES == ("int8-fast", "int8")
    assert recommended.exports == classic.exports
    assert recommended.calibration == classic.calibration


def test_warnings_of_calibration_become_one_line() -> None:
    notes = Notes()
    folded = FoldedWarnings(notes)
    for text in ("warning: only 1 speaker", "wrote the record", "warning: no clip shorter than 3 s"):
        folded.note(text)
    folded.summarize()
    assert notes.texts == [
        "wrote the record",
        "2 warnings about calibration concern the demo's synthetic speech alone; the report lists them",
    ]
