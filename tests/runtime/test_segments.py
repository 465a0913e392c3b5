"""Tokens of a window are split at their timestamps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.decoding.tokenizer import SpecialTokens
from sottovoce.runtime.timestamps.segments import (
    samples_to_advance,
    split_by_timestamps,
    with_timestamp_tokens,
)

SPECIAL = SpecialTokens(
    start=101,
    end=100,
    previous=102,
    no_timestamps=103,
    no_speech=104,
    first_timestamp=110,
    tasks={},
    languages={},
    suppressed=(),
    suppressed_at_start=(),
)


def at(time_s: float) -> int:
    return SPECIAL.first_timestamp + round(time_s / 0.02)


def test_a_pair_of_timestamps_ends_one_piece_and_starts_the_next() -> None:
    pieces = split_by_timestamps((at(0), 1, 2, at(1.5), at(2), 3, at(4)), SPECIAL, 6.0)
    assert [(p.start_s, p.end_s, p.tokens, p.is_closed) for p in pieces] == [
        (0.0, 1.5, (1, 2), True),
        (2.0, 4.0, (3,), True),
    ]


def test_without_timestamps_a_window_is_one_open_piece() -> None:
    (piece,) = split_by_timestamps((1, 2), SPECIAL, 6.0)
    assert (piece.start_s, piece.end_s, piece.tokens, piece.is_closed) == (0.0, 6.0, (1, 2), False)


def test_an_open_piece_ends_with_the_window() -> None:
    pieces = split_by_timestamps((at(0), 1, at(2), at(2), 2), SPECIAL, 6.0)
    assert [(p.end_s, p.is_closed) for p in pieces] == [(2.0, True), (6.0, False)]


def test_no_piece_ends_after_the_audio() -> None:
    (piece,) = split_by_timestamps((at(0), 1, at(29)), SPECIAL, 6.0)
    assert piece.end_s == 6.0


def test_pieces_convert_back_to_the_tokens() -> None:
    tokens = (at(0), 1, 2, at(1.5), at(2), 3, at(4), at(4), 5)
    assert with_timestamp_tokens(split_by_timestamps(tokens, SPECIAL, 6.0), SPECIAL) == tokens


def test_silence_has_no_pieces() -> None:
    assert split_by_timestamps((), SPECIAL, 6.0) == ()
    assert split_by_timestamps((at(0), at(3)), SPECIAL, 6.0) == ()


@pytest.mark.parametrize(
    ("tokens", "window_s", "done_s"),
    [
        (
            (at(0), 1, at(28), at(28)),
            30.0,
            28.0,
        ),  # another segment starts, but the window holds too little of it
        ((at(0), 1, at(5), at(5), 2), 30.0, 5.0),  # within the second segment
        ((at(0), 1, at(5), at(5), 2), 12.0, 5.0),  # in the last window too
        ((at(0), 1, at(28)), 30.0, 30.0),  # no more speech
        ((at(0), 1, at(5), at(5), 2, at(9)), 12.0, 12.0),
        ((at(0), 1), 30.0, 30.0),
        ((at(0), 1, at(0.1), at(0.1)), 30.0, 30.0),  # or decoding would hardly proceed
        ((), 30.0, 30.0),
    ],
)
def test_the_next_window_starts_where_openai_whisper_starts_it(
    tokens: tuple[int, ...], window_s: float, done_s: float
) -> None:
    n_done = samples_to_advance(
        split_by_timestamps(tokens, SPECIAL, window_s),
        round(window_s * SAMPLE_RATE_HZ),
        ends_open=SPECIAL.ends_in_pair(tokens),
    )
    assert n_done == round(done_s * SAMPLE_RATE_HZ)


@given(
    tokens=st.lists(st.integers(0, SPECIAL.first_timestamp + 1500), max_size=60),
    window_s=st.floats(0.1, 30.0),
)
def test_every_text_token_is_in_one_piece_within_the_window(tokens: list[int], window_s: float) -> None:
    pieces = split_by_timestamps(tuple(tokens), SPECIAL, window_s)
    assert [t for p in pieces for t in p.tokens] == [t for t in tokens if t < SPECIAL.end]
    assert all(0 <= p.start_s <= p.end_s <= window_s for p in pieces)
