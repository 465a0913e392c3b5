"""Our rules against the processors that transformers generates with."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.generation.logits_process import (
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    SuppressTokensAtBeginLogitsProcessor,
    SuppressTokensLogitsProcessor,
    WhisperTimeStampLogitsProcessor,
)

from sottovoce.errors import SpecError
from sottovoce.runtime.decoding.logit_filters import LogitFilters, Row, log_sum_exp
from sottovoce.runtime.decoding.tokenizer import SpecialTokens
from sottovoce.runtime.options import TranscribeOptions

N_TEXT = 40
N_TIMES = 80
END = N_TEXT
START, PREVIOUS, NO_SPEECH, NO_TIMESTAMPS = (END + 1, END + 2, END + 3, END + 4)
FIRST = NO_TIMESTAMPS + 1
N_VOCABULARY = FIRST + N_TIMES
FIRST_SECOND = 50
"""Steps of 0.02 s."""

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

PLAIN = replace(SPECIAL, suppressed=(), suppressed_at_start=())

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
        max_initial_timestamp_index=FIRST_SECOND,
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
    assert generated[0] in range(FIRST, FIRST + FIRST_SECOND + 1)
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


@given(seed=SEEDS, generated=st.lists(TEXT_TOKENS, min_size=1, max_size=8), penalty=st.floats(0.5, 2.0))
def test_repeated_tokens_are_penalized_as_in_transformers(
    seed: int, generated: list[int], penalty: float
) -> None:
    options = TranscribeOptions(repetition_penalty=penalty)
    ours = applied(LogitFilters(PLAIN, with_timestamps=False, options=options), random_row(seed), generated)
    theirs = RepetitionPenaltyLogitsProcessor(penalty)(
        torch.tensor([generated]), torch.from_numpy(random_row(seed))[None]
    )
    np.testing.assert_allclose(ours, theirs[0].numpy(), rtol=1e-6)


@given(seed=SEEDS, generated=st.lists(st.integers(8, 11), max_size=12), size=st.integers(1, 4))
def test_no_sequence_of_tokens_occurs_twice_as_in_transformers(
    seed: int, generated: list[int], size: int
) -> None:
    options = TranscribeOptions(no_repeat_ngram_size=size)
    ours = applied(LogitFilters(PLAIN, with_timestamps=False, options=options), random_row(seed), generated)
    theirs = NoRepeatNGramLogitsProcessor(size)(
        torch.tensor([generated], dtype=torch.int64), torch.from_numpy(random_row(seed))[None]
    )
    np.testing.assert_array_equal(ours, theirs[0].numpy())


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [(None, {1, 2, 7}), ((), set()), ((3,), {3}), ((-1, 3), {1, 2, 3, 7})],
    ids=["model's", "none", "one", "model's and one"],
)
def test_tokens_that_a_user_suppresses_replace_those_of_the_model(
    tokens: tuple[int, ...] | None, expected: set[int]
) -> None:
    options = TranscribeOptions(suppress_tokens=tokens)
    row = applied(LogitFilters(SPECIAL, with_timestamps=False, options=options), random_row(0), [9])
    assert set(np.flatnonzero(np.isneginf(row[:END]))) == expected
    assert np.isneginf(row[[START, PREVIOUS, NO_SPEECH]]).all()


def test_a_token_to_suppress_must_be_text() -> None:
    options = TranscribeOptions(suppress_tokens=(END,))
    with pytest.raises(
        SpecError, match=r"suppress_tokens has 40, want text tokens, which are below 40, or -1"
    ):
        LogitFilters(SPECIAL, with_timestamps=False, options=options)


def test_the_text_of_a_window_starts_no_later_than_the_user_wants() -> None:
    options = TranscribeOptions(max_initial_timestamp=0.5)
    row = applied(LogitFilters(SPECIAL, with_timestamps=True, options=options), random_row(0), [])
    assert set(np.flatnonzero(np.isfinite(row))) == set(range(FIRST, FIRST + 26))


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
