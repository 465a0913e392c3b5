"""Segments from a window's tokens: where the model's timestamps say that they start and end.

Source: `transcribe` in `whisper/transcribe.py` of openai/whisper.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.decoding.tokenizer import TIMESTAMP_STEP_S, SpecialTokens, Tokens

LEAST_SAMPLES_DONE = SAMPLE_RATE_HZ // 2
"""A window that closes nothing behind it counts as done, or windows would hardly move."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimestampedTokens:
    """A stretch of a window with its text tokens.

    Attributes:
        start_s: seconds from the start of the window.
        end_s: seconds; not before `start_s`.
        tokens: text tokens.
        is_closed: the model said where it ends.
    """

    start_s: float
    end_s: float
    tokens: Tokens
    is_closed: bool


def split_pieces(tokens: Tokens, special: SpecialTokens, window_s: float) -> tuple[TimestampedTokens, ...]:
    """Cut tokens at their timestamps.

    Args:
        tokens: of a window, after the prompt; without timestamps they are one piece.
        special: tells timestamps from text.
        window_s: of the window's audio; no piece reaches beyond it.

    Returns:
        Pieces with text, in order of time.
    """
    pieces: list[TimestampedTokens] = []
    start_s, text = 0.0, []
    for token in tokens:
        if token < special.first_timestamp:
            text.append(token)
            continue
        time_s = min((token - special.first_timestamp) * TIMESTAMP_STEP_S, window_s)
        if text:
            pieces.append(_piece(start_s, time_s, text, special, is_closed=True))
            text = []
        start_s = time_s
    if text:
        pieces.append(_piece(start_s, window_s, text, special, is_closed=False))
    return tuple(piece for piece in pieces if piece.tokens)


def samples_done(pieces: Sequence[TimestampedTokens], n_samples: int, *, ends_open: bool) -> int:
    """Return where the next window starts: what the model did not see end is heard again.

    Args:
        pieces: of the window.
        n_samples: of the window.
        ends_open: the last piece ends and another starts, of which the window shows too little.

    Source: `transcribe` in `whisper/transcribe.py` of openai/whisper.
    """
    closed_s = [piece.end_s for piece in pieces if piece.is_closed]
    if not closed_s or (pieces[-1].is_closed and not ends_open):
        return n_samples
    n_closed = round(closed_s[-1] * SAMPLE_RATE_HZ)
    return n_closed if n_closed >= LEAST_SAMPLES_DONE else n_samples


def timed_tokens(pieces: Sequence[TimestampedTokens], special: SpecialTokens) -> Tokens:
    """Return the tokens of pieces with their timestamps, as the model said them.

    Text without timestamps before a window teaches the model to leave them out, and windows then end within sentences.
    """
    return tuple(chain.from_iterable(_timed(piece, special) for piece in pieces))


def _timed(piece: TimestampedTokens, special: SpecialTokens) -> Tokens:
    start, end = (
        special.first_timestamp + round(time_s / TIMESTAMP_STEP_S) for time_s in (piece.start_s, piece.end_s)
    )
    return (start, *piece.tokens, end) if piece.is_closed else (start, *piece.tokens)


def _piece(
    start_s: float, end_s: float, tokens: list[int], special: SpecialTokens, *, is_closed: bool
) -> TimestampedTokens:
    text = tuple(token for token in tokens if token < special.end)
    return TimestampedTokens(start_s=start_s, end_s=max(start_s, end_s), tokens=text, is_closed=is_closed)
