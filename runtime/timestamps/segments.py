"""Split the tokens of a window at the timestamps that the model predicts.

Source: `transcribe` in `whisper/transcribe.py` of openai/whisper.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.decoding.tokenizer import TIMESTAMP_STEP_S, SpecialTokens, Tokens

MIN_ADVANCE_SAMPLES = SAMPLE_RATE_HZ // 2
"""A shorter advance skips the whole window instead, or decoding would hardly proceed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimestampedTokens:
    """Text tokens between two timestamps.

    Attributes:
        start_s: seconds from the start of the window.
        end_s: seconds; not before `start_s`.
        tokens: text tokens.
        is_closed: the model predicted the end.
    """

    start_s: float
    end_s: float
    tokens: Tokens
    is_closed: bool


def split_by_timestamps(
    tokens: Tokens, special: SpecialTokens, window_s: float
) -> tuple[TimestampedTokens, ...]:
    """Split tokens at their timestamps.

    Args:
        tokens: of a window, after the prompt; without timestamps the result has one element.
        window_s: duration of the window's audio; no element ends later.

    Returns:
        Elements with text, in order of time.
    """
    found: list[TimestampedTokens] = []
    start_s, text = 0.0, []
    for token in tokens:
        if token < special.first_timestamp:
            text.append(token)
            continue
        time_s = min((token - special.first_timestamp) * TIMESTAMP_STEP_S, window_s)
        if text:
            found.append(_text_between(start_s, time_s, text, special, is_closed=True))
            text = []
        start_s = time_s
    if text:
        found.append(_text_between(start_s, window_s, text, special, is_closed=False))
    return tuple(each for each in found if each.tokens)


def samples_to_advance(pieces: Sequence[TimestampedTokens], n_samples: int, *, ends_open: bool) -> int:
    """Return where the next window starts: text whose end the model did not predict is decoded again.

    Args:
        pieces: of the window.
        n_samples: of the window.
        ends_open: the tokens end with two timestamps: further speech starts, but the window holds too little of it.
    """
    closed_s = [piece.end_s for piece in pieces if piece.is_closed]
    if not closed_s or (pieces[-1].is_closed and not ends_open):
        return n_samples
    n_closed = round(closed_s[-1] * SAMPLE_RATE_HZ)
    return n_closed if n_closed >= MIN_ADVANCE_SAMPLES else n_samples


def with_timestamp_tokens(pieces: Sequence[TimestampedTokens], special: SpecialTokens) -> Tokens:
    """Return tokens with their timestamps again, as the model predicted them.

    After previous text without timestamps the model predicts none either, and windows then end within sentences.
    """
    return tuple(chain.from_iterable(_with_timestamps(piece, special) for piece in pieces))


def _with_timestamps(piece: TimestampedTokens, special: SpecialTokens) -> Tokens:
    start, end = (
        special.first_timestamp + round(time_s / TIMESTAMP_STEP_S) for time_s in (piece.start_s, piece.end_s)
    )
    return (start, *piece.tokens, end) if piece.is_closed else (start, *piece.tokens)


def _text_between(
    start_s: float, end_s: float, tokens: list[int], special: SpecialTokens, *, is_closed: bool
) -> TimestampedTokens:
    text = tuple(token for token in tokens if token < special.end)
    return TimestampedTokens(start_s=start_s, end_s=max(start_s, end_s), tokens=text, is_closed=is_closed)
