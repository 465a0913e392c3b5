from dataclasses import dataclass

import pytest

from sottovoce.benchmark.schema.comparisons import AccuracyVerdict, Comparison, SpeedVerdict, Verdict
from sottovoce.benchmark.schema.results import Results
from sottovoce.reports.sections.verdicts import describe_verdict
from sottovoce.statistics.intervals import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    verdict: str
    ends: tuple[float, float, float]
    said: str


SPEEDS = (
    Case(
        verdict="faster",
        ends=(1.9, 1.8, 2.0),
        said="int8 is 1.9 times as fast as fp32 (95\N{NO-BREAK SPACE}% interval 1.8 to 2.0); ",
    ),
    Case(
        verdict="slower",
        ends=(0.8, 0.7, 0.9),
        said="int8 is slower than fp32: 0.80 times as fast (95\N{NO-BREAK SPACE}% interval 0.70 to 0.90); ",
    ),
    Case(
        verdict="undecided",
        ends=(1.02, 0.9, 1.1),
        said="int8 measured 1.02 times as fast as fp32, "
        "but the 95\N{NO-BREAK SPACE}% interval (0.90 to 1.10) leaves open which is faster; ",
    ),
)
ACCURACIES = (
    Case(
        verdict="within",
        ends=(0.001, -0.002, 0.004),
        said="its word error rate is 0.10 points higher (\N{MINUS SIGN}0.20 to 0.40), "
        "within the margin of 0.5 points.",
    ),
    Case(
        verdict="beyond",
        ends=(0.02, 0.01, 0.03),
        said="its word error rate is 2.0 points higher (1.0 to 3.0), "
        "beyond the margin of 0.5 points: it is less accurate.",
    ),
    Case(
        verdict="undecided",
        ends=(0.003, -0.004, 0.01),
        said="its word error rate is 0.30 points higher (\N{MINUS SIGN}0.40 to 1.0), "
        "which leaves open whether it stays within 0.5 points: about 140 more clips like these would decide it.",
    ),
)


def interval(ends: tuple[float, float, float]) -> Interval:
    value, low, high = ends
    return Interval(value=value, low=low, high=high)


def compare(results: Results, speed: Case, accuracy: Case) -> Comparison:
    verdict = Verdict(
        speed=SpeedVerdict(speed.verdict), accuracy=AccuracyVerdict(accuracy.verdict), margin=0.005
    )
    return results.comparisons[1].model_copy(
        update={"speedup": interval(speed.ends), "wer_delta": interval(accuracy.ends), "verdict": verdict}
    )


@pytest.mark.parametrize("accuracy", ACCURACIES, ids=lambda case: case.verdict)
@pytest.mark.parametrize("speed", SPEEDS, ids=lambda case: case.verdict)
def test_the_sentence_says_what_the_intervals_allow(results: Results, speed: Case, accuracy: Case) -> None:
    assert describe_verdict(compare(results, speed, accuracy), results) == speed.said + accuracy.said


def test_a_loss_within_the_margin_is_named_a_loss(results: Results) -> None:
    loss = Case(verdict="within", ends=(0.003, 0.001, 0.004), said="")
    sentence = describe_verdict(compare(results, SPEEDS[0], loss), results)
    assert sentence.endswith(
        "0.30 points higher (0.10 to 0.40), a real loss, but within the margin of 0.5 points."
    )


def test_a_gain_in_accuracy_is_lower_not_minus_higher(results: Results) -> None:
    gain = Case(verdict="within", ends=(-0.004, -0.006, -0.002), said="")
    assert "its word error rate is 0.40 points lower (" in describe_verdict(
        compare(results, SPEEDS[0], gain), results
    )


def test_an_unchanged_error_rate_is_the_same(results: Results) -> None:
    same = Case(verdict="within", ends=(0.0, 0.0, 0.0), said="")
    sentence = describe_verdict(compare(results, SPEEDS[0], same), results)
    assert "its word error rate is the same (0 to 0)" in sentence
