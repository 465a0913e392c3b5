"""What the pages of trainings share: their view, curves and facts."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from sottovoce.reports.charts.chart import ChartText, Curve, CurveChart
from sottovoce.reports.sections import Section
from sottovoce.reports.sections.facts import Fact
from sottovoce.reports.sections.verdicts import Notice
from sottovoce.reports.text.units import fixed, signed_points
from sottovoce.reports.view import KeyFigure
from sottovoce.train.loop import Evaluation

TRAINED, HELD_OUT = 1, 2
"""Series of the curves."""

HELD_OUT_TERM = "Held-out speakers"
COMMON_TERMS = {
    HELD_OUT_TERM: "Speakers whose clips did not train: training is measured on them.",
    "Interval": "The figure lies in it with 95 % confidence, by resampling speakers or clips.",
}
WORD_TERMS = {
    "WER": "Word error rate: (S + D + I) divided by the number of reference words, under Whisper's normalizer.",
    "Points": "A difference of two percentages: from 5 % to 6 % is one point.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingView:
    """The page of a training, in reading order; the fields of `ReportView` of the same names."""

    model: str
    setting: str
    headline: str
    tone: str
    proof: tuple[str, ...]
    notices: tuple[Notice, ...]
    figures: tuple[KeyFigure, ...]
    sections: tuple[Section, ...]
    facts: tuple[Fact, ...]
    glossary: tuple[Fact, ...]
    source: str
    made_by: str


class Steps(Protocol):
    """A report with the length of a training."""

    @property
    def best_step(self) -> int:
        """That was kept."""

    @property
    def n_steps(self) -> int:
        """Planned."""

    @property
    def seed(self) -> int:
        """Of the training."""


def change(before: float, after: float) -> str:
    """Return a relative change in percent; the new value where the old one is 0."""
    return f"{signed_points(after / before - 1)} %" if before else fixed(after)


def before_after(label: str, unit: str, after: str, before: str) -> KeyFigure:
    """Return a key figure with its value before."""
    return KeyFigure(label=label, value=after, unit=unit, others=(f"before {before}",))


def curve_chart(name: str, title: str, y_axis: str, curves: Sequence[Curve]) -> CurveChart:
    """Return a chart of curves over the steps."""
    ends = "; ".join(
        f"{curve.label}: {fixed(curve.points[0][1])} at first, {fixed(curve.points[-1][1])} at the end"
        for curve in curves
    )
    text = ChartText(name=f"training-{name}", title=title, description=f"{ends}.", axis="Steps")
    return CurveChart(text=text, y_axis=y_axis, curves=tuple(curves), y_limit=None, is_whole=True)


def loss_curve(history: Sequence[Evaluation], scale: float) -> Curve:
    """Return the curve of the loss: the mean since the last evaluation in the middle of its steps."""
    points = tuple(
        ((last.step + each.step) / 2, scale * each.loss)
        for last, each in pairwise(history)
        if each.loss is not None
    )
    return Curve(label="Clips that train", points=points, series=TRAINED)


def held_out_curve(history: Sequence[Evaluation], best_step: int, scale: float) -> Curve:
    """Return the curve of held-out speakers, with a mark at the step that was kept."""
    points = tuple((float(each.step), scale * each.held_out) for each in history)
    marks = tuple(point for point in points if point[0] == best_step)
    return Curve(label=HELD_OUT_TERM, points=points, series=HELD_OUT, marks=marks)


def step_facts(report: Steps) -> Iterator[tuple[str, str]]:
    """Yield the length and the seed of a training."""
    yield "Steps", f"{report.best_step} kept, {report.n_steps} planned"
    yield "Seed", str(report.seed)


def facts_of(found: Iterable[tuple[str, str]]) -> tuple[Fact, ...]:
    """Return pairs of label and value as facts."""
    return tuple(Fact(label=label, value=value) for label, value in found)
