"""Which trial a search keeps: figures alone, no models."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.optimize.search.choose import choose, is_within, pareto_front, wer_per_nat
from sottovoce.optimize.search.report import Trial, TrialOutcome
from sottovoce.optimize.search.search import worst_divergence
from sottovoce.statistics.intervals import Interval

FIGURES = st.tuples(
    st.floats(0.5, 8.0),
    st.floats(0.0, 0.1),
    st.floats(-0.01, 0.02),
    st.sampled_from(["good", "pruned", "failed"]),
)


def trial(
    number: int, speedup: float, divergence: float, wer_increase: float = 0.0, kind: str = "good"
) -> Trial:
    if kind == "failed":
        return Trial(number=number, settings={}, outcome=TrialOutcome(failure="destroyed"))
    interval = Interval(value=wer_increase, low=wer_increase - 0.01, high=wer_increase + 0.01)
    outcome = TrialOutcome(
        speedup=speedup,
        flips=divergence,
        divergence=divergence,
        n_tokens=100,
        size_bytes=1,
        wer_increase=None if kind == "pruned" else interval,
        is_pruned=kind == "pruned",
    )
    return Trial(number=number, settings={}, outcome=outcome)


def trials_of(figures: Sequence[tuple[float, float, float, str]]) -> list[Trial]:
    return [trial(number, *figure) for number, figure in enumerate(figures)]


def finished(trials: Sequence[Trial]) -> list[Trial]:
    return [t for t in trials if t.outcome.wer_increase is not None]


def test_the_fastest_within_the_budget_is_chosen() -> None:
    trials = [trial(0, 2.0, 0.01, 0.000), trial(1, 3.0, 0.01, 0.001), trial(2, 4.0, 0.01, 0.009)]
    chosen = choose(trials, 0.002)
    assert chosen is not None
    assert chosen.number == 1


def test_among_equally_fast_trials_the_least_divergent_is_chosen() -> None:
    trials = [trial(0, 3.00, 0.020), trial(1, 2.95, 0.010), trial(2, 2.0, 0.001)]
    chosen = choose(trials, 0.002)
    assert chosen is not None
    assert chosen.number == 1


def test_a_lucky_count_of_words_does_not_excuse_a_large_divergence() -> None:
    """Four trials show that a nat costs 0.3 words; the fifth diverges far and is lucky."""
    steady = [trial(n, 2.0, 0.01 * (n + 1), 0.003 * (n + 1)) for n in range(4)]
    lucky = trial(4, 4.0, 0.08, -0.001)
    slope = wer_per_nat([*steady, lucky])
    assert slope is not None
    assert not is_within(lucky, 0.004, slope)
    chosen = choose([*steady, lucky], 0.004)
    assert chosen is not None
    assert chosen.number == 0


def test_the_slope_is_that_of_a_line_through_the_origin() -> None:
    trials = [trial(n, 2.0, 0.01 * (n + 1), 0.25 * 0.01 * (n + 1)) for n in range(5)]
    assert wer_per_nat(trials) == pytest.approx(0.25)
    assert wer_per_nat(trials[:3]) is None


@given(st.lists(FIGURES, max_size=12), st.floats(0, 0.02))
def test_the_chosen_trial_finished_and_none_within_the_budget_is_much_faster(
    figures: list[tuple[float, float, float, str]], budget: float
) -> None:
    trials = trials_of(figures)
    chosen = choose(trials, budget)
    if not finished(trials):
        assert chosen is None
        return
    assert chosen is not None
    assert chosen in finished(trials)
    slope = wer_per_nat(trials)
    within = [t for t in trials if is_within(t, budget, slope)]
    if within:
        assert chosen in within
        assert all((t.outcome.speedup or 0) <= 1.051 * (chosen.outcome.speedup or 0) for t in within)
    else:
        least = min(t.outcome.divergence or 0.0 for t in finished(trials))
        assert chosen.outcome.divergence == least


@given(st.lists(FIGURES, max_size=12))
def test_no_trial_beats_one_on_the_front(figures: list[tuple[float, float, float, str]]) -> None:
    trials = trials_of(figures)
    front = pareto_front(trials)
    for t in finished(trials):
        is_beaten = any(
            (o.outcome.speedup or 0) >= (t.outcome.speedup or 0)
            and (o.outcome.divergence or 0) <= (t.outcome.divergence or 0)
            and (o.outcome.speedup, o.outcome.divergence) != (t.outcome.speedup, t.outcome.divergence)
            for o in finished(trials)
        )
        assert not (t in front and is_beaten)
        if not is_beaten:
            pair = (t.outcome.speedup, t.outcome.divergence)
            assert pair in [(f.outcome.speedup, f.outcome.divergence) for f in front]
    speeds = [t.outcome.speedup or 0 for t in front]
    assert speeds == sorted(speeds, reverse=True)


def test_no_trial_is_stopped_before_four_have_finished() -> None:
    trials = [trial(n, 2.0, 0.01 * (n + 1)) for n in range(5)]
    assert worst_divergence(trials[:3]) is None
    assert worst_divergence(trials) == pytest.approx(2 * 0.03)
    assert worst_divergence([*trials, trial(9, 1.0, 9.0, kind="pruned")]) == pytest.approx(2 * 0.03)
