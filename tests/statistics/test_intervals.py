"""Intervals against scipy's bootstrap, their coverage, and their properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap

from sottovoce.statistics.intervals import (
    CONFIDENCE,
    MIN_BLOCKS,
    N_RESAMPLES,
    Interval,
    expanded_confidence,
    make_blocks,
    rate_delta_interval,
    ratio_interval,
    ratio_of_ratios_interval,
    widen_by_rounds,
)

SECONDS = st.lists(st.floats(0.01, 100), min_size=2, max_size=12).map(np.array)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_the_interval_of_a_ratio_is_that_of_scipy() -> None:
    numerator, denominator = np.random.default_rng(1).uniform(1, 3, (2, 40))
    found = ratio_interval(numerator, denominator, rng=rng())
    expected = bootstrap(
        (numerator, denominator),
        lambda top, bottom: top.sum() / bottom.sum(),
        paired=True,
        vectorized=False,
        n_resamples=N_RESAMPLES,
        batch=500,
        confidence_level=expanded_confidence(40),
        method="percentile",
        rng=rng(),
    ).confidence_interval
    assert found.value == pytest.approx(numerator.sum() / denominator.sum())
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


N_DRAWS = 1_000


def test_intervals_of_speed_have_their_nominal_coverage() -> None:
    """Thirty speakers with different speed-ups; the true ratio is 2."""
    draws = np.random.default_rng(2)
    hits = 0
    for _ in range(N_DRAWS):
        variant = draws.uniform(1, 2, 30)
        found = ratio_interval(variant * draws.normal(2, 0.4, 30), variant, rng=draws)
        hits += found.low <= 2 <= found.high
    assert 0.93 <= hits / N_DRAWS <= 0.97


def test_intervals_of_word_errors_have_their_nominal_coverage() -> None:
    """Thirty-five speakers of some 115 words: few errors, more with some speakers, and most of them shared."""
    draws = np.random.default_rng(3)
    truth, hits = 0.004, 0
    for _ in range(N_DRAWS):
        words = draws.integers(40, 190, 35).astype(float)
        rate = draws.gamma(2, 0.02, 35)
        shared = draws.poisson(words * rate)
        only_variant = draws.poisson(words * (0.4 * rate + truth))
        only_baseline = draws.poisson(words * 0.4 * rate)
        found = rate_delta_interval(
            (shared + only_baseline).astype(float), (shared + only_variant).astype(float), words, rng=draws
        )
        hits += found.low <= truth <= found.high
    assert 0.93 <= hits / N_DRAWS <= 0.97


def test_intervals_of_speed_cover_the_spread_between_processes() -> None:
    """Thirty speakers and three passes, whose processes are some per cent faster or slower."""
    draws = np.random.default_rng(4)
    hits = narrow = 0
    for _ in range(N_DRAWS):
        voices = draws.uniform(1, 2, 30)
        factors = draws.normal(2, 0.1, 30)
        passes = np.exp(draws.normal(0, 0.03, 3))
        before = voices * factors * passes[:, None] * draws.normal(1, 0.02, (3, 30))
        after = voices * draws.normal(1, 0.02, (3, 30))
        found = ratio_interval(np.median(before, axis=0), np.median(after, axis=0), rng=draws)
        narrow += found.low <= 2 <= found.high
        wide = widen_by_rounds(found, list(before.sum(axis=1) / after.sum(axis=1)), n_blocks=30)
        hits += wide.low <= 2 <= wide.high
    assert narrow / N_DRAWS < 0.7
    assert 0.93 <= hits / N_DRAWS <= 0.97


@given(SECONDS, st.lists(st.floats(0.1, 10), min_size=1, max_size=5))
def test_rounds_only_widen(seconds: np.ndarray, ratios: list[float]) -> None:
    before = ratio_interval(np.sort(seconds), seconds, rng=rng())
    after = widen_by_rounds(before, ratios, n_blocks=len(seconds))
    assert after.value == before.value
    assert after.low <= before.low * (1 + 1e-12)
    assert after.high >= before.high * (1 - 1e-12)


@pytest.mark.parametrize("ratios", [[], [2.0], [2.0, 2.0, 2.0]])
def test_equal_rounds_do_not_widen_an_interval(ratios: list[float]) -> None:
    interval = Interval(value=2, low=1.5, high=2.5)
    assert widen_by_rounds(interval, ratios, n_blocks=20) == interval


def test_many_blocks_need_no_wider_percentiles() -> None:
    assert expanded_confidence(30) > expanded_confidence(100) > CONFIDENCE
    assert expanded_confidence(10_000) == pytest.approx(CONFIDENCE, abs=1e-4)


@given(SECONDS)
def test_a_variant_as_fast_as_the_baseline_has_a_ratio_of_exactly_one(seconds: np.ndarray) -> None:
    found = ratio_interval(seconds, seconds, rng=rng())
    assert (found.value, found.low, found.high) == pytest.approx((1.0, 1.0, 1.0))


@given(SECONDS, st.floats(0.1, 10))
def test_a_constant_speed_up_has_no_spread(seconds: np.ndarray, factor: float) -> None:
    found = ratio_interval(factor * seconds, seconds, rng=rng())
    assert (found.low, found.high) == pytest.approx((factor, factor))


@given(SECONDS, st.integers(0, 2**31))
def test_the_value_lies_in_its_interval(seconds: np.ndarray, seed: int) -> None:
    other = np.random.default_rng(seed).permutation(seconds)
    found = ratio_interval(seconds, other, rng=rng())
    assert found.low - 1e-9 <= found.value <= found.high + 1e-9


def test_the_same_seed_gives_the_same_interval() -> None:
    a, b = np.random.default_rng(3).uniform(1, 3, (2, 20))
    assert ratio_interval(a, b, rng=rng()) == ratio_interval(a, b, rng=rng())


def test_one_block_has_no_spread_to_resample() -> None:
    found = ratio_interval(np.array([4.0]), np.array([2.0]), rng=rng())
    assert (found.value, found.low, found.high) == (2, 2, 2)


def test_a_difference_of_rates_is_weighted_by_words() -> None:
    found = rate_delta_interval(np.array([0.0, 1.0]), np.array([1.0, 1.0]), np.array([10.0, 90.0]), rng=rng())
    assert found.value == pytest.approx(0.01)
    assert found.low >= 0


def test_clips_without_words_leave_the_interval_a_number() -> None:
    found = rate_delta_interval(
        np.array([0.0, 0.0, 2.0]), np.array([0.0, 0.0, 3.0]), np.array([0.0, 0.0, 5.0]), rng=rng()
    )
    assert np.isfinite([found.value, found.low, found.high]).all()


def test_errors_of_clips_without_words_count() -> None:
    """The silent clip has 40 words: the difference is that of the two error rates."""
    words = np.array([20.0, 20.0, 0.0])
    found = rate_delta_interval(np.array([1.0, 1.0, 0.0]), np.array([1.0, 1.0, 40.0]), words, rng=rng())
    assert found.value == pytest.approx(42 / 40 - 2 / 40)
    assert found.high > found.value


def test_the_same_errors_make_no_difference() -> None:
    errors, words = np.arange(12.0), np.full(12, 20.0)
    found = rate_delta_interval(errors, errors, words, rng=rng())
    assert found.value == 0
    # Hanley and Lippman-Hand 1983: none in n still allows 3.7 in n, at 97.5 % a side; here of 240 words.
    assert (found.low, found.high) == pytest.approx((-3.689 / 240, 3.689 / 240), rel=1e-3)


def test_seconds_per_call_are_compared_not_seconds() -> None:
    seconds, calls = np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 30.0])
    found = ratio_of_ratios_interval((seconds, calls), (seconds / 4, calls / 2), rng=rng())
    assert (found.value, found.low, found.high) == pytest.approx((2, 2, 2))


def test_clips_of_one_speaker_are_one_block() -> None:
    speakers = [f"s{i // 3}" for i in range(3 * MIN_BLOCKS)]
    blocks = make_blocks(speakers)
    assert blocks.kind == "speaker"
    np.testing.assert_array_equal(blocks.sums([1.0] * len(speakers)), np.full(MIN_BLOCKS, 3.0))


@pytest.mark.parametrize(
    "speakers",
    [
        ["a"] * 30,
        [f"s{i}" for i in range(MIN_BLOCKS - 1)],
        [*(f"s{i}" for i in range(MIN_BLOCKS)), None],
        [],
    ],
)
def test_with_few_or_unknown_speakers_each_clip_is_a_block(speakers: list[str | None]) -> None:
    blocks = make_blocks(speakers)
    assert blocks.kind == "clip"
    np.testing.assert_array_equal(
        blocks.sums([float(i) for i in range(len(speakers))]), np.arange(len(speakers))
    )


@given(st.lists(st.integers(0, 15), min_size=1, max_size=60))
def test_blocks_lose_nothing(owners: list[int]) -> None:
    values = [float(i) for i in range(len(owners))]
    assert make_blocks([f"s{i}" for i in owners]).sums(values).sum() == pytest.approx(sum(values))
