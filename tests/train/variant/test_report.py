"""What counts as a gain of `heal`."""

import pytest

from sottovoce.optimize.checks.teacher_forcing import ClipComparison, Comparison
from sottovoce.statistics.intervals import Interval
from sottovoce.train.variant.report import Differences, is_better, loss_of


def comparison(*clips: tuple[int, float, float]) -> Comparison:
    """Make a comparison of clips with so many tokens, divergence over them, divergence at the start."""
    return Comparison(
        clips=tuple(
            ClipComparison(
                clip_id=str(i), n_tokens=n, n_disagreements=0, kl_divergence=kl, start_divergence=start
            )
            for i, (n, kl, start) in enumerate(clips)
        )
    )


def test_a_difference_is_by_token_and_by_clip() -> None:
    before, after = comparison((10, 0.5, 0.1), (30, 0.7, 0.3)), comparison((10, 0.3, 0.3), (30, 0.5, 0.5))
    deltas = Differences(before=before, after=after, speakers=("a", "b"))
    assert deltas.divergence.value == pytest.approx(-0.4 / 40)
    assert deltas.start.value == pytest.approx(0.2)


def test_equal_divergences_have_no_interval() -> None:
    same = comparison((10, 0.5, 0.1), (30, 0.7, 0.3))
    found = Differences(before=same, after=same, speakers=("a", "b"))
    assert found.start == Interval(value=0.0, low=0.0, high=0.0)


def test_the_start_counts_as_one_more_token() -> None:
    assert loss_of(comparison((10, 0.5, 0.1), (30, 0.7, 0.3))) == pytest.approx(1.6 / 40)


@pytest.mark.parametrize(
    ("divergence", "start_low", "kept"),
    [(-0.001, -0.001, True), (-0.001, 0.001, False), (0.001, -0.001, False)],
)
def test_a_variant_that_is_further_at_the_start_beyond_chance_is_not_kept(
    divergence: float, start_low: float, *, kept: bool
) -> None:
    nearer = Interval(value=divergence, low=divergence - 1, high=divergence + 1)
    assert is_better(nearer, Interval(value=0.01, low=start_low, high=0.02)) is kept
