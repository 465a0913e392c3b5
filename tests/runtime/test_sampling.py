"""Tokens are drawn with the probabilities of the softmax, and the same ones from the same seed."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax
from scipy.stats import chisquare

from sottovoce.runtime.decoding.attempt import Attempt, PrefillResult
from sottovoce.runtime.decoding.logit_filters import LogitFilters, Row
from sottovoce.runtime.decoding.strategies import Greedy, Sampling, draw
from sottovoce.runtime.decoding.tokenizer import SpecialTokens
from sottovoce.runtime.model.base import Encoded, Logits, TokenArray

END = 30
SPECIAL = SpecialTokens(
    start=31,
    end=END,
    previous=31,
    no_timestamps=31,
    no_speech=31,
    first_timestamp=32,
    tasks={},
    languages={},
    suppressed=(4, 31),
    suppressed_at_start=(5, END),
)
FILTERS = LogitFilters(SPECIAL, with_timestamps=False)

SEEDS = st.integers(0, 2**31)
TEMPERATURES = st.floats(0.1, 1.0)


class Chain:
    """A decoder whose logits follow from the last token."""

    can_continue = True

    def __init__(self, seed: int) -> None:
        self.table = np.random.default_rng(seed).normal(0, 2, (32, 32)).astype(np.float32)
        self.n_runs = 0

    def start(self, encoded: Encoded) -> None:
        raise NotImplementedError(encoded)

    def run(self, tokens: TokenArray, at: Sequence[int] | None = None) -> Logits:
        assert at is None
        self.n_runs += 1
        return self.table[tokens].copy()

    def rewind(self, n_tokens: int) -> None:
        raise NotImplementedError(n_tokens)

    def select(self, rows: Sequence[int]) -> None:
        raise NotImplementedError(rows)

    def begin(self) -> PrefillResult:
        return PrefillResult(row=self.table[31].copy(), no_speech_probability=0.25)


def sampled(chain: Chain, temperature: float, seed: int, limit: int = 40) -> Attempt:
    strategy = Sampling(temperature=temperature, seed=seed)
    (attempt,) = strategy.decode(chain, [chain.begin()], FILTERS, [limit])
    return attempt


def masked(row: Row, *, at_start: bool) -> Row:
    row = row.copy()
    row[[4, 31, 5, END] if at_start else [4, 31]] = -np.inf
    return row


@given(seed=SEEDS, temperature=TEMPERATURES)
def test_the_same_seed_gives_the_same_transcript(seed: int, temperature: float) -> None:
    assert sampled(Chain(seed), temperature, 7) == sampled(Chain(seed), temperature, 7)


def test_other_seeds_give_other_transcripts() -> None:
    assert len({sampled(Chain(1), 1.0, seed).tokens for seed in range(10)}) > 5


@given(seed=SEEDS, temperature=TEMPERATURES)
def test_log_probabilities_are_those_without_the_temperature(seed: int, temperature: float) -> None:
    chain = Chain(seed)
    attempt = sampled(chain, temperature, seed)
    said = attempt.tokens if attempt.has_looped else (*attempt.tokens, END)
    rows = [31, *attempt.tokens]
    total = sum(
        log_softmax(masked(chain.table[past], at_start=i == 0))[token]
        for i, (past, token) in enumerate(zip(rows, said, strict=False))
    )
    assert attempt.sum_log_probability == pytest.approx(total, abs=1e-3)
    assert len(attempt.log_probabilities) == len(attempt.tokens)
    assert attempt.temperature == temperature
    assert attempt.no_speech_probability == 0.25


class Rows(Chain):
    """A decoder that can spread one row over several."""

    def select(self, rows: Sequence[int]) -> None:
        assert set(rows) == {0}


@pytest.mark.parametrize("seed", range(10))
def test_of_several_samples_the_likeliest_is_taken(seed: int) -> None:
    one = sampled(Chain(seed), 1.0, seed)
    (best,) = Sampling(temperature=1.0, best_of=20, seed=seed).decode(
        rows := Rows(seed), [rows.begin()], FILTERS, [40]
    )
    assert best.mean_log_probability > one.mean_log_probability


@given(seed=SEEDS, temperature=TEMPERATURES)
def test_sampling_keeps_to_the_filters(seed: int, temperature: float) -> None:
    tokens = sampled(Chain(seed), temperature, seed).tokens
    assert tokens[0] != 5
    assert not {4, END, 31} & set(tokens)


@given(seed=SEEDS)
def test_near_zero_temperature_is_greedy(seed: int) -> None:
    chain = Chain(seed)
    (greedy,) = Greedy().decode(chain, [chain.begin()], FILTERS, [40])
    attempt = sampled(chain, 1e-4, seed)
    assert attempt.tokens == greedy.tokens
    assert attempt.has_looped == greedy.has_looped
    assert attempt.sum_log_probability == pytest.approx(greedy.sum_log_probability)


def test_the_limit_ends_a_transcript() -> None:
    chain = Chain(0)
    chain.table[:, END] = -np.inf
    attempt = sampled(chain, 1.0, 0, limit=3)
    assert attempt.has_looped
    assert len(attempt.tokens) == 3
    assert chain.n_runs == 2


@pytest.mark.parametrize("temperature", [0.2, 0.6, 1.0])
def test_tokens_are_drawn_with_the_probabilities_of_the_softmax(temperature: float) -> None:
    generator = np.random.default_rng(0)
    row = np.array([1.0, 0.5, -np.inf, 0.0, 1.2, -0.3], dtype=np.float32)
    n_draws = 20_000
    counts = np.bincount([draw(row, temperature, generator) for _ in range(n_draws)], minlength=len(row))
    expected = n_draws * softmax(row.astype(np.float64) / temperature)
    assert counts[2] == 0
    assert chisquare(np.delete(counts, 2), np.delete(expected, 2)).pvalue > 0.001


class Fixed(np.random.Generator):
    """A generator that gives one number."""

    def __init__(self, value: float) -> None:
        super().__init__(np.random.PCG64(0))
        self.value = value

    def random(self) -> float:  # type: ignore[override]
        return self.value


@pytest.mark.parametrize("value", [0.0, 0.5, 1 - 2**-53])
def test_the_ends_of_chance_draw_a_possible_token(value: float) -> None:
    row = np.full(1000, -np.inf, dtype=np.float32)
    row[[17, 500]] = (0.0, -30.0)
    assert draw(row, 1.0, Fixed(value)) in (17, 500)
