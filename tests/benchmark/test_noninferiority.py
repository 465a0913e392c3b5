"""What an interval says of a margin, and how many clips more would say it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.benchmark.schema.comparisons import AccuracyVerdict
from sottovoce.benchmark.statistics.noninferiority import judge_accuracy, more_clips_needed
from sottovoce.statistics.intervals import Interval

MARGIN = 0.005


def interval(low: float, value: float, high: float) -> Interval:
    return Interval(value=value, low=low, high=high)


@pytest.mark.parametrize(
    ("delta", "verdict"),
    [
        (interval(-0.01, -0.002, 0.005), AccuracyVerdict.WITHIN),
        (interval(-0.01, 0.0, 0.006), AccuracyVerdict.UNDECIDED),
        (interval(0.005, 0.01, 0.02), AccuracyVerdict.UNDECIDED),
        (interval(0.0051, 0.01, 0.02), AccuracyVerdict.BEYOND),
    ],
)
def test_the_interval_decides_and_not_the_value(delta: Interval, verdict: AccuracyVerdict) -> None:
    assert judge_accuracy(delta, margin=MARGIN, n_blocks=20) is verdict


def test_an_interval_twice_too_wide_needs_four_times_the_clips() -> None:
    assert more_clips_needed(interval(-0.01, 0.0, 0.01), margin=MARGIN, n_clips=200, n_blocks=20) == 600


def test_a_difference_beyond_the_margin_needs_clips_too() -> None:
    assert more_clips_needed(interval(0.0, 0.01, 0.03), margin=MARGIN, n_clips=100, n_blocks=20) == 300


def test_a_decided_comparison_needs_no_more_clips() -> None:
    assert more_clips_needed(interval(-0.01, -0.002, 0.005), margin=MARGIN, n_clips=200, n_blocks=20) == 0


def test_a_difference_equal_to_the_margin_has_no_number_of_clips() -> None:
    assert more_clips_needed(interval(0.0, 0.005, 0.01), margin=MARGIN, n_clips=200, n_blocks=20) is None
    assert more_clips_needed(interval(0.0, 0.00501, 0.01), margin=MARGIN, n_clips=200, n_blocks=20) is None


@given(
    low=st.floats(0.0, 0.02), high=st.floats(0.0, 0.02), value=st.floats(-0.02, 0.02), n=st.integers(10, 5000)
)
def test_the_suggested_number_of_clips_decides_if_the_difference_stays(
    low: float, high: float, value: float, n: int
) -> None:
    delta = interval(value - low, value, value + high)
    more = more_clips_needed(delta, margin=MARGIN, n_clips=n, n_blocks=20)
    if more is None:
        return
    shrink = (n / (n + more)) ** 0.5
    later = interval(value - low * shrink * 0.999_999, value, value + high * shrink * 0.999_999)
    assert judge_accuracy(later, margin=MARGIN, n_blocks=20) is not AccuracyVerdict.UNDECIDED


def test_a_few_clips_give_no_verdict_however_narrow_their_interval() -> None:
    narrow = interval(-0.001, 0.0, 0.001)
    assert judge_accuracy(narrow, margin=MARGIN, n_blocks=9) is AccuracyVerdict.UNDECIDED
    assert judge_accuracy(narrow, margin=MARGIN, n_blocks=10) is AccuracyVerdict.WITHIN
    assert more_clips_needed(narrow, margin=MARGIN, n_clips=9, n_blocks=9) == 1
    assert more_clips_needed(narrow, margin=MARGIN, n_clips=3, n_blocks=3) == 7
