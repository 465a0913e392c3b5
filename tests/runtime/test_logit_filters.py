"""Our rules against the processors that transformers generates with."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.generation.logits_process import (
    SuppressTokensAtBeginLogitsProcessor,
    SuppressTokensLogitsProcessor,
    WhisperTimeStampLogitsProcessor,
)

from sottovoce.runtime.decoding.logit_filters import MAX_FIRST_TIMESTAMP_INDEX, LogitFilters, Row, log_sum_exp
from sottovoce.runtime.decoding.tokenizer import SpecialTokens

N_TEXT = 40
N_TIMES = 80
END = N_TEXT
START, PREVIOUS, NO_SPEECH, NO_TIMESTAMPS = (END + 1, END + 2, END + 3, END + 4)
FIRST = NO_TIMESTAMPS + 1
N_VOCABULARY = FIRST + N_TIMES

SPECIAL = SpecialTokens(
    start=START,
    end=END,
    previous=PREVIOUS,
    no_timestamps=NO_TIMESTAMPS,
    no_speech=NO_SPEECH,
    first_timestamp=FIRST,
    tasks={},
    languages={},
    suppressed=(1, 2, 7, START, PREVIOUS, NO_SPEECH),
    suppressed_at_start=(5, END),
)

TEXT_TOKENS = st.integers(8, N_TEXT - 1)
SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def histories(draw: st.DrawFn) -> list[int]:
    """Segments as the rules let them come: times do not go back, and stand in pairs between segments."""
    tokens: list[int] = []
    time = draw(st.integers(0, 10))
    for _ in range(draw(st.integers(0, 3))):
        text = draw(st.lists(TEXT_TOKENS, min_size=1, max_size=4))
        ends = time + draw(st.integers(1, 15))
        tokens += [FIRST + time, *text, FIRST + ends]
        time = ends + draw(st.integers(0, 5))
    tail = draw(st.lists(TEXT_TOKENS, max_size=4))
    return tokens + draw(st.sampled_from(([], [FIRST + time], [FIRST + time, *tail])))


def random_row(seed: int, favour: float = 0.0) -> Row:
    row = np.random.default_rng(seed).normal(0, 3, N_VOCABULARY).astype(np.float32)
    row[FIRST:] += np.float32(favour)
    return row


def applied(rules: LogitFilters, row: Row, generated: list[int]) -> Row:
    changed = row.copy()
    rules.apply(changed, generated)
    return changed


def expected(row: Row, generated: list[int], *, with_timestamps: bool) -> Row:
    """Apply transformers' processors in the order that its Whisper generates with."""
    begin = 3
    ids = torch.tensor([[START] * begin + generated])
    settings = SimpleNamespace(
        no_timestamps_token_id=NO_TIMESTAMPS,
        eos_token_id=END,
        bos_token_id=END,
        max_initial_timestamp_index=MAX_FIRST_TIMESTAMP_INDEX,
    )
    scores = torch.from_numpy(row.copy())[None]
    scores = SuppressTokensAtBeginLogitsProcessor(SPECIAL.suppressed_at_start, begin)(ids, scores)
    scores = SuppressTokensLogitsProcessor(SPECIAL.suppressed)(ids, scores)
    if with_timestamps:
        scores = WhisperTimeStampLogitsProcessor(settings, begin_index=begin)(ids, scores)
    filtered: Row = scores[0].numpy()
    return filtered


@given(seed=SEEDS, generated=st.lists(TEXT_TOKENS, max_size=5))
def test_suppressed_tokens_are_those_of_transformers(seed: int, generated: list[int]) -> None:
    row = random_row(seed)
    ours = applied(LogitFilters(SPECIAL, with_timestamps=False), row, generated)
    np.testing.assert_array_equal(ours, expected(row, generated, with_timestamps=False))


@given(seed=SEEDS, generated=histories(), favour=st.sampled_from((-8.0, -2.0, 0.0, 4.0)))
def test_timestamps_follow_the_rules_of_transformers(seed: int, generated: list[int], favour: float) -> None:
    row = random_row(seed, favour)
    ours = applied(LogitFilters(SPECIAL, with_timestamps=True), row, generated)
    np.testing.assert_array_equal(ours, expected(row, generated, with_timestamps=True))


@given(seed=SEEDS, n_tokens=st.integers(1, 40), favour=st.sampled_from((-3.0, 0.0, 3.0)))
def test_what_the_rules_let_through_is_well_formed(seed: int, n_tokens: int, favour: float) -> None:
    rules = LogitFilters(SPECIAL, with_timestamps=True)
    generated: list[int] = []
    for step in range(n_tokens):
        token = int(applied(rules, random_row(seed + step, favour), generated).argmax())
        if token == END:
            break
        generated.append(token)
    times = [token for token in generated if token >= FIRST]
    assert generated[0] in range(FIRST, FIRST + MAX_FIRST_TIMESTAMP_INDEX + 1)
    assert times == sorted(times)
    assert not set(generated) & {*SPECIAL.suppressed, NO_TIMESTAMPS}


def test_a_transcript_starts_with_a_time_of_the_first_second() -> None:
    row = applied(LogitFilters(SPECIAL, with_timestamps=True), random_row(0), [])
    assert set(np.flatnonzero(np.isfinite(row))) == set(range(FIRST, FIRST + 51))


def test_a_segment_that_ended_is_followed_by_a_time_or_the_end() -> None:
    row = applied(
        LogitFilters(SPECIAL, with_timestamps=True), random_row(0, favour=-20), [FIRST, 9, FIRST + 5]
    )
    allowed = set(np.flatnonzero(np.isfinite(row)).tolist())
    assert allowed == {END, *range(FIRST + 5, N_VOCABULARY)}


def test_text_follows_a_pair_of_times() -> None:
    generated = [FIRST, 9, FIRST + 5, FIRST + 5]
    row = applied(LogitFilters(SPECIAL, with_timestamps=True), random_row(0, favour=20), generated)
    assert np.isneginf(row[FIRST:]).all()
    assert np.isfinite(row[9])


def test_a_segment_has_a_length() -> None:
    row = applied(LogitFilters(SPECIAL, with_timestamps=True), random_row(0, favour=20), [FIRST + 3, 9])
    allowed = np.flatnonzero(np.isfinite(row))
    assert allowed.tolist() == list(range(FIRST + 4, N_VOCABULARY))


def test_a_checkpoint_without_suppressed_tokens_says_anything() -> None:
    special = replace(SPECIAL, suppressed=(), suppressed_at_start=())
    row = random_row(0)
    np.testing.assert_array_equal(applied(LogitFilters(special, with_timestamps=False), row, []), row)


@given(seed=SEEDS, scale=st.sampled_from((0.0, 1.0, 50.0)), shift=st.sampled_from((-1e4, 0.0, 1e4)))
def test_log_sum_exp_is_that_of_pytorch(seed: int, scale: float, shift: float) -> None:
    row = (scale * random_row(seed) + shift).astype(np.float32)
    row[:10] = -np.inf
    ours = log_sum_exp(row)
    assert ours == pytest.approx(
        torch.logsumexp(torch.from_numpy(row).double(), 0).item(), rel=1e-5, abs=1e-5
    )
