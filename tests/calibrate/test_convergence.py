"""From when on ranges change no more."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sottovoce.calibrate.convergence import (
    Convergence,
    InputExtremes,
    checkpoints,
    describe_convergence,
    has_converged,
    measure_convergence,
    range_after,
    relative_changes,
    settled_at,
    smoothing_scales,
)
from sottovoce.calibrate.coverage import Topic
from sottovoce.terms import Component

CHANGES = st.lists(st.floats(0, 2), min_size=1, max_size=40)


def extremes(
    highs: NDArray[np.float32], lows: NDArray[np.float32] | None = None, *, name: str = "layers.0.fc2"
) -> InputExtremes:
    return InputExtremes(
        name=name,
        operations=((name, "MatMul"),),
        lows=-highs if lows is None else lows,
        highs=highs,
        weight_maxima=(),
    )


def noisy(n_clips: int, rng: np.random.Generator, *, spread: float = 0.02) -> NDArray[np.float32]:
    values = 5 * (1 + spread * rng.standard_normal((n_clips, 8)))
    return values.astype(np.float32)


def follow(tensor: InputExtremes, *, alpha: float | None = None, is_quantized: bool = True) -> Convergence:
    return measure_convergence([tensor], Component.ENCODER, alpha=alpha, is_quantized=is_quantized)


@given(st.integers(1, 10_000))
def test_checkpoints_rise_to_the_number_of_clips(n_clips: int) -> None:
    counts = checkpoints(n_clips)
    assert list(counts) == sorted(set(counts))
    assert counts[-1] == n_clips
    assert counts[0] >= 1
    assert len(counts) <= 32


@given(CHANGES, st.floats(0.01, 1))
def test_nothing_changes_after_the_clip_at_which_ranges_settled(
    changes: list[float], tolerance: float
) -> None:
    changes = [*changes, 0.0]
    counts = tuple(range(1, len(changes) + 1))
    settled = settled_at(counts, changes, tolerance)
    assert all(change <= tolerance for change in changes[settled - 1 :])
    assert settled == 1 or changes[settled - 2] > tolerance


@given(CHANGES, st.floats(0.01, 0.5), st.floats(0.01, 0.5))
def test_a_smaller_tolerance_never_settles_earlier(changes: list[float], one: float, more: float) -> None:
    changes = [*changes, 0.0]
    counts = tuple(range(1, len(changes) + 1))
    assert settled_at(counts, changes, one + more) <= settled_at(counts, changes, one)


@pytest.mark.parametrize(("settled", "converged"), [(1, True), (48, True), (49, False), (64, False)])
def test_ranges_have_converged_if_the_last_quarter_of_the_clips_changed_nothing(
    settled: int, *, converged: bool
) -> None:
    assert has_converged(settled, 64) is converged


def test_steady_speech_converges_early_and_a_new_kind_of_speech_late() -> None:
    rng = np.random.default_rng(0)
    steady = noisy(64, rng)
    louder = np.concatenate([noisy(56, rng), 4 * noisy(8, rng)])
    assert follow(extremes(steady)).converged
    assert follow(extremes(steady)).settled_at < 16
    assert not follow(extremes(louder)).converged
    assert follow(extremes(louder)).settled_at > 56


@given(st.integers(1, 50), st.integers(0, 10_000))
def test_the_curve_ends_where_all_is_settled(n_clips: int, seed: int) -> None:
    found = follow(extremes(noisy(n_clips, np.random.default_rng(seed), spread=0.5)))
    shares = [point.settled_share for point in found.curve]
    assert shares == sorted(shares)
    assert (shares[-1], found.curve[-1].largest_change) == (1.0, 0.0)
    assert found.curve[-1].n_clips == found.n_clips == n_clips
    assert 1 <= found.settled_at <= n_clips


def test_a_range_is_the_mean_of_the_extremes_and_holds_zero() -> None:
    highs = np.array([[1, 2], [3, 8]], dtype=np.float32)
    assert range_after(extremes(highs, -highs), 2, None) == pytest.approx((-5.0, 5.0))
    assert range_after(extremes(highs, highs - 1), 2, None) == pytest.approx((0.0, 5.0))


def test_smoothing_scales_are_those_of_the_paper_between_the_clips() -> None:
    activations = np.array([1, 2, 4, 8, 16, 16, 16, 16, 16, 16, 16], dtype=np.float32)
    weights = np.full(11, 0.25, dtype=np.float32)
    found = smoothing_scales(activations, [weights], 0.5)
    np.testing.assert_allclose(found[1:], np.sqrt(activations[1:] / 0.25), rtol=1e-5)
    assert found[0] == pytest.approx(np.sqrt(2 / 0.25), rel=1e-5)


@given(st.floats(0, 1), st.integers(0, 1000))
def test_smoothing_never_makes_the_channels_less_even(alpha: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    activations = np.exp(rng.normal(size=32)).astype(np.float32)
    scales = smoothing_scales(activations, [np.ones(32, dtype=np.float32)], alpha)
    smoothed = activations / scales
    assert smoothed.max() / smoothed.min() <= activations.max() / activations.min() * 1.001


def test_a_small_negative_side_that_halves_is_a_large_change() -> None:
    ranges = np.array([[[-0.4, 10.0]], [[-0.2, 10.0]]])
    np.testing.assert_allclose(relative_changes(ranges), [[1.0], [0.0]])


def test_a_negative_side_of_less_than_a_level_does_not_count() -> None:
    ranges = np.array([[[-0.001, 10.0]], [[-0.0001, 10.0]]])
    assert relative_changes(ranges).max() < 0.05


@pytest.mark.parametrize(
    ("low", "message"),
    [
        (-0.02, "span 0.35 of 255 levels at SmoothQuant alpha 0.5: INT8 turns them all to 0"),
        (-0.03, "span 0.53 of 255 levels at SmoothQuant alpha 0.5: other clips may turn them all to 0"),
        (-0.08, None),
        (0.0, None),
    ],
)
def test_a_side_of_zero_without_a_level_is_reported(low: float, message: str | None) -> None:
    highs = np.full((8, 4), 14.5, dtype=np.float32)
    found = follow(extremes(highs, np.full((8, 4), low, dtype=np.float32), name="layers.3.fc2"), alpha=0.5)
    texts = [finding.text for finding in describe_convergence(found)]
    if message is None:
        assert texts == []
    else:
        assert len(texts) == 1
        assert f"encoder: values below zero at the input of layers.3.fc2 {message}" in texts[0]


def test_ranges_that_still_change_are_reported_with_the_last_one() -> None:
    rng = np.random.default_rng(0)
    late = np.concatenate([noisy(14, rng), 4 * noisy(2, rng)])
    inputs = [extremes(noisy(16, rng), name="steady"), extremes(late, name="late")]
    found = measure_convergence(inputs, Component.DECODER_WITH_PAST, alpha=None, is_quantized=True)
    (finding,) = describe_convergence(found)
    assert finding.topic is Topic.RANGES
    assert "decoder with past: ranges still changed" in finding.text
    assert "(last late)" in finding.text


def test_nothing_is_said_of_activations_that_stay_float() -> None:
    late = np.concatenate([np.ones((14, 4)), np.full((2, 4), 9.0)]).astype(np.float32)
    assert describe_convergence(follow(extremes(late), is_quantized=False)) == ()
    assert describe_convergence(follow(extremes(late))) != ()
