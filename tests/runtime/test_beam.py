"""Beam search against a plain one, all sequences, and greedy decoding."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.runtime.audio.features import log_mel
from sottovoce.runtime.decoding.attempt import REPEATED_TOKENS, Attempt, PrefillResult, prefill
from sottovoce.runtime.decoding.logit_filters import LogitFilters, Row
from sottovoce.runtime.decoding.strategies import BLOCK, BeamSearch, Greedy, likeliest
from sottovoce.runtime.decoding.tokenizer import SpecialTokens, Tokens, WhisperTokenizer
from sottovoce.runtime.model.base import Encoded, Logits, TokenArray
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.encoder import Encoder
from sottovoce.runtime.model.load import load_decoder
from sottovoce.runtime.transcript import Task
from tests.support.tones import tone

N_TEXT = 5
END = N_TEXT
SPECIAL = SpecialTokens(
    start=END + 1,
    end=END,
    previous=END + 2,
    no_timestamps=END + 3,
    no_speech=END + 4,
    first_timestamp=END + 5,
    tasks={},
    languages={},
    suppressed=(END + 1, END + 2, END + 3, END + 4),
    suppressed_at_start=(END,),
)
FILTERS = LogitFilters(SPECIAL, with_timestamps=False)
N_VOCABULARY = END + 5

SEEDS = st.integers(0, 2**31)


class Pretender:
    """A decoder whose logits follow from everything that a row was fed."""

    can_continue = True

    def __init__(self, seed: int, end_logit: float = 0.0) -> None:
        self.seed = seed
        self.end_logit = end_logit
        self.fed: list[Tokens] = [()]
        self.chosen = [0]

    def start(self, encoded: Encoded) -> None:
        raise NotImplementedError(encoded)

    def run(self, tokens: TokenArray, at: Sequence[int] | None = None) -> Logits:
        assert at is None
        pasts = [self.fed[row] for row in self.chosen]
        self.fed = [(*past, *row) for past, row in zip(pasts, tokens.tolist(), strict=True)]
        self.chosen = list(range(len(self.fed)))
        return np.stack([self.row(past) for past in self.fed])[:, None]

    def rewind(self, n_tokens: int) -> None:
        raise NotImplementedError(n_tokens)

    def select(self, rows: Sequence[int]) -> None:
        self.chosen = list(rows)

    def begin(self) -> PrefillResult:
        return PrefillResult(row=self.row(()), no_speech_probability=0.25)

    def row(self, past: Tokens) -> Row:
        row = np.random.default_rng([self.seed, *past]).normal(0, 2, N_VOCABULARY).astype(np.float32)
        row[END] += np.float32(self.end_logit)
        return row

    def log_probabilities(self, past: Tokens) -> list[float]:
        row = self.row(past).astype(np.float64)
        row[list(SPECIAL.suppressed if past else (*SPECIAL.suppressed, END))] = -np.inf
        with np.errstate(divide="ignore"):
            logs: list[float] = np.log(np.exp(row) / np.exp(row).sum()).tolist()
        return logs

    def total(self, tokens: Tokens, *, with_end: bool) -> float:
        said = (*tokens, END) if with_end else tokens
        return sum(self.log_probabilities(said[:i])[token] for i, token in enumerate(said))


def beams(model: Pretender, *, n_beams: int, limit: int, length_penalty: float | None = None) -> Attempt:
    strategy = BeamSearch(beam_size=n_beams, length_penalty=length_penalty)
    (attempt,) = strategy.decode(model, [model.begin()], FILTERS, [limit])
    return attempt


def mean(sequence: Tokens, total: float) -> float:
    return total / len(sequence)


def plain_beams(model: Pretender, *, n_beams: int, limit: int) -> tuple[Tokens, float]:
    """Search with dictionaries; every token of every beam is a candidate, the end token is counted."""
    live: dict[Tokens, float] = {(): 0.0}
    finished: dict[Tokens, float] = {}
    for _ in range(limit):
        scores = {
            (*past, token): total + log
            for past, total in live.items()
            for token, log in enumerate(model.log_probabilities(past))
            if math.isfinite(log)
        }
        ordered = sorted(scores, key=lambda each: -scores[each])
        going_on = [sequence for sequence in ordered if sequence[-1] != END][:n_beams]
        live = {sequence: scores[sequence] for sequence in going_on}
        last = ordered.index(going_on[-1]) if len(going_on) == n_beams else len(ordered)
        finished |= {sequence: scores[sequence] for sequence in ordered[:last] if sequence[-1] == END}
        best = sorted(finished, key=lambda each: -mean(each, finished[each]))[:n_beams]
        finished = {sequence: finished[sequence] for sequence in best}
        if len(best) == n_beams and max(itertools.starmap(mean, live.items())) <= mean(
            best[-1], finished[best[-1]]
        ):
            break
    winner, total = next(iter((finished or live).items()))
    return tuple(token for token in winner if token != END), total


@given(seed=SEEDS, n_beams=st.integers(1, 5), limit=st.integers(1, 3))
def test_beams_are_those_of_a_plain_search(seed: int, n_beams: int, limit: int) -> None:
    model = Pretender(seed)
    attempt = beams(model, n_beams=n_beams, limit=limit)
    tokens, total = plain_beams(model, n_beams=n_beams, limit=limit)
    assert attempt.tokens == tokens
    assert attempt.sum_log_probability == pytest.approx(total, abs=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_a_patient_search_finds_no_worse_text_and_takes_longer(seed: int) -> None:
    models = {patience: Pretender(seed, 1.0) for patience in (0.4, 1.0, 4.0)}
    attempts = [
        BeamSearch(beam_size=3, patience=patience).decode(model, [model.begin()], FILTERS, [30])[0]
        for patience, model in models.items()
    ]
    means = [attempt.mean_log_probability for attempt in attempts]
    assert means == sorted(means)
    lengths = [len(model.fed[0]) for model in models.values()]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[-1]


@given(seed=SEEDS, end_logit=st.sampled_from((-2.0, 0.0, 2.0)))
def test_one_beam_is_greedy_decoding(seed: int, end_logit: float) -> None:
    model = Pretender(seed, end_logit)
    (greedy,) = Greedy().decode(model, [model.begin()], FILTERS, [30])
    assert beams(Pretender(seed, end_logit), n_beams=1, limit=30) == greedy


@given(seed=SEEDS, n_beams=st.integers(2, 6), limit=st.integers(1, 30))
def test_the_probability_is_that_of_the_tokens(seed: int, n_beams: int, limit: int) -> None:
    model = Pretender(seed)
    attempt = beams(model, n_beams=n_beams, limit=limit)
    totals = [model.total(attempt.tokens, with_end=with_end) for with_end in (True, False)]
    possible = (
        totals if attempt.has_looped else totals[:1]
    )  # what finished, where a likelier one loops, or what loops
    assert any(attempt.sum_log_probability == pytest.approx(total, abs=1e-3) for total in possible)
    assert len(attempt.log_probabilities) == len(attempt.tokens)
    said = model.total(attempt.tokens, with_end=False)
    assert sum(attempt.log_probabilities) == pytest.approx(said, abs=1e-3)
    assert attempt.no_speech_probability == 0.25
    assert attempt.temperature == 0.0
    assert len(attempt.tokens) <= limit


@given(seed=SEEDS, length_penalty=st.sampled_from((None, 0.0, 0.6, 1.0)))
def test_enough_beams_find_the_best_of_all_sequences(seed: int, length_penalty: float | None) -> None:
    model = Pretender(seed)
    attempt = beams(model, n_beams=200, limit=3, length_penalty=length_penalty)

    def score(tokens: Tokens) -> float:
        n_tokens = len(tokens) + 1
        penalty = n_tokens if length_penalty is None else ((5 + n_tokens) / 6) ** length_penalty
        return model.total(tokens, with_end=True) / penalty

    every = [tokens for size in (1, 2) for tokens in itertools.product(range(N_TEXT), repeat=size)]
    assert score(attempt.tokens) == pytest.approx(max(map(score, every)), abs=1e-4)


def test_a_search_whose_likeliest_beam_loops_ends() -> None:
    class Loop(Pretender):
        def row(self, past: Tokens) -> Row:
            row = np.zeros(N_VOCABULARY, dtype=np.float32)
            row[len(past) // 100], row[END] = 20, -20
            return row

    attempt = beams(Loop(0), n_beams=3, limit=100)
    assert attempt.has_looped
    assert attempt.tokens == (0,) * REPEATED_TOKENS


def test_a_finished_beam_wins_over_a_likelier_one_that_loops() -> None:
    class Ends(Pretender):
        def row(self, past: Tokens) -> Row:
            row = np.full(N_VOCABULARY, -20, dtype=np.float32)
            if past:
                row[0 if past[0] == 0 else END] = 20
            else:
                row[:2] = (1, 0)
            return row

    attempt = beams(Ends(0), n_beams=2, limit=100)
    assert attempt.tokens == (1,)
    assert attempt.has_looped, "what has finished is there for want of anything better"


def test_a_search_without_anything_to_go_on_with_ends() -> None:
    class Short(Pretender):
        def row(self, past: Tokens) -> Row:
            row = np.full(N_VOCABULARY, -np.inf, dtype=np.float32)
            row[END if past else 3] = 1
            return row

    attempt = beams(Short(0), n_beams=3, limit=100)
    assert attempt.tokens == (3,)
    assert not attempt.has_looped
    assert attempt.sum_log_probability == pytest.approx(0.0)


@given(
    seed=SEEDS,
    size=st.sampled_from((3, BLOCK - 1, 3 * BLOCK, 10 * BLOCK + 7)),
    count=st.integers(1, 8),
    possible=st.floats(0.01, 1),
    levels=st.sampled_from((4, 10_000)),
)
def test_the_likeliest_tokens_are_those_of_a_sort(
    seed: int, size: int, count: int, possible: float, levels: int
) -> None:
    rng = np.random.default_rng(seed)
    row = rng.integers(0, levels, size).astype(np.float32)
    row[rng.random(size) > possible] = -np.inf
    tokens = likeliest(row, count)
    ordered = np.sort(row[np.isfinite(row)])[::-1]
    reached = ordered[:count]
    expected = np.flatnonzero(row >= reached[-1]) if len(reached) else np.zeros(0)
    assert tokens.tolist() == expected.tolist()


@pytest.mark.parametrize("name", ["fp32", "fp32-stateful"])
def test_beams_of_a_real_graph_know_what_they_were_fed(tiny_run: Path, name: str) -> None:
    folder, compute = tiny_run / name, ComputeSpec()
    encoder, decoder = Encoder.load(folder, compute), load_decoder(folder, compute)
    tokenizer = WhisperTokenizer.load(folder)
    special = tokenizer.special
    filters = LogitFilters(special, with_timestamps=False)
    states = encoder.encode(log_mel(tone(2.0), n_mels=encoder.n_mels), encoder.plan(32000))
    prompt = tokenizer.prompt(language="en", task=Task.TRANSCRIBE, with_timestamps=False)

    def begin() -> tuple[PrefillResult, ...]:
        decoder.start(states)
        return prefill(decoder, prompt, special)

    (one,) = BeamSearch(beam_size=1).decode(decoder, begin(), filters, [12])
    assert (one,) == Greedy().decode(decoder, begin(), filters, [12])
    (five,) = BeamSearch(beam_size=5).decode(decoder, begin(), filters, [12])
    row = begin()[0].row
    total = 0.0
    for i, token in enumerate(five.tokens):
        filters.apply(row, five.tokens[:i])
        total += float(row[token]) - float(np.logaddexp.reduce(row.astype(np.float64)))
        row = decoder.run(np.array([[token]]))[0, -1]
    assert five.has_looped
    assert five.sum_log_probability == pytest.approx(total, abs=1e-3)
    assert five.sum_log_probability >= one.sum_log_probability * len(five.tokens) / len(one.tokens)
