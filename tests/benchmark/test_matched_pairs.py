"""The matched-pairs test, by hand and against scipy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from sottovoce.benchmark.statistics.matched_pairs import (
    MIN_SEGMENTS,
    Mistakes,
    find_mistakes,
    judge_differences,
    matched_pairs,
    segment_differences,
)
from sottovoce.statistics.accuracy import word_errors

WORDS = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=12).map(" ".join)


def differences(reference: str, baseline: str, variant: str) -> list[int]:
    return list(segment_differences(find_mistakes(reference, baseline), find_mistakes(reference, variant)))


def test_mistakes_are_where_the_words_differ() -> None:
    found = find_mistakes("the cat sat on the mat", "a cat sat right on mat")
    assert found == Mistakes(wrong=(True, False, False, False, True, False), inserted=(0, 0, 0, 1, 0, 0, 0))


@pytest.mark.parametrize(
    ("baseline", "variant", "expected"),
    [
        ("one two three four five six", "one two three four five six", []),
        # Two words right in both part two segments.
        ("X two three X five six", "one two three four X six", [-1, 0]),
        # One word does not.
        ("X two X four five six", "one two three four five six", [-2]),
        # Both err alike: a segment, and no difference.
        ("one two three four five X", "one two three four five Y", [0]),
        ("one two three four five six", "one two three four five six seven eight", [2]),
    ],
)
def test_segments_are_bounded_by_two_words_that_are_correct_in_both(
    baseline: str, variant: str, expected: list[int]
) -> None:
    assert differences("one two three four five six", baseline, variant) == expected


@given(reference=WORDS, baseline=WORDS, variant=WORDS)
def test_segments_hold_all_errors(reference: str, baseline: str, variant: str) -> None:
    expected = word_errors(reference, variant).errors - word_errors(reference, baseline).errors
    assert sum(differences(reference, baseline, variant)) == expected


@given(reference=WORDS, baseline=WORDS, variant=WORDS)
def test_swapping_the_transcripts_negates_the_differences(
    reference: str, baseline: str, variant: str
) -> None:
    there = differences(reference, baseline, variant)
    back = differences(reference, variant, baseline)
    assert there == [-each for each in back]


def test_the_statistic_is_that_of_a_normal_mean() -> None:
    """By hand: 20 segments of +1, 10 of 0, 10 of -1: mean 0.25, variance 27.5 / 39, z = 0.25 / sqrt(0.70513 / 40)."""
    found = judge_differences([1] * 20 + [0] * 10 + [-1] * 10)
    assert found.n_segments == 40
    assert found.mean_difference == pytest.approx(0.25)
    assert found.statistic == pytest.approx(1.88294, abs=1e-4)
    assert found.p_value == pytest.approx(0.05971, abs=1e-4)


def test_a_few_segments_have_no_statistic() -> None:
    found = judge_differences([1] * (MIN_SEGMENTS - 1))
    assert (found.statistic, found.p_value) == (None, None)


def test_equal_transcripts_have_no_segments() -> None:
    same = find_mistakes("one two", "one two")
    assert matched_pairs([(same, same)]).n_segments == 0


def test_equally_good_transcripts_are_rejected_in_five_of_a_hundred_tests() -> None:
    rng = np.random.default_rng(0)
    draws = rng.choice([-1, 0, 1], p=[0.3, 0.4, 0.3], size=(2_000, 120))
    rejected = np.mean([(judge_differences(draw.tolist()).p_value or 1) < 0.05 for draw in draws])
    assert rejected == pytest.approx(0.05, abs=0.015)


def test_p_values_are_two_tailed() -> None:
    found = judge_differences([1] * 40 + [0] * 20)
    assert found.statistic is not None
    assert found.p_value == pytest.approx(2 * norm.sf(found.statistic))
