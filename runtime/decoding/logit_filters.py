"""What is left out of the logits before a token is chosen: suppressed tokens and the grammar of timestamps.

Source: `SuppressTokens`, `SuppressBlank` and `ApplyTimestampRules` in `whisper/decoding.py` of
openai/whisper. Suppressing is an index write into the logits; a mask over the whole vocabulary, as
transformers applies it, takes 1,500 times as long.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sottovoce.runtime.decoding.tokenizer import SpecialTokens

Row = NDArray[np.float32]
"""Logits of one position, shape (n_vocabulary,)."""

NEVER = np.float32(-np.inf)

MAX_FIRST_TIMESTAMP_INDEX = 50
"""The first segment starts within the first second: 50 steps of 0.02 s."""


class LogitFilters:
    """Applies a checkpoint's rules to logits, in place."""

    def __init__(self, special: SpecialTokens, *, with_timestamps: bool, continues: bool = False) -> None:
        """Take a checkpoint's rules.

        Args:
            special: suppressed tokens.
            with_timestamps: the text has timestamps.
            continues: the prompt ends with the start of the text.
        """
        self._special = special
        self.end = special.end
        self._with_timestamps = with_timestamps
        self._always = np.asarray(special.suppressed, dtype=np.int64)
        at_start = () if continues else special.suppressed_at_start
        self._at_start = np.asarray((*special.suppressed, *at_start), dtype=np.int64)

    def apply(self, row: Row, generated: Sequence[int]) -> None:
        """Set what may not follow to minus infinity.

        Args:
            row: changed in place.
            generated: tokens after the prompt so far.
        """
        row[self._always if generated else self._at_start] = NEVER
        if self._with_timestamps:
            self._apply_timestamps(row, generated)

    def _apply_timestamps(self, row: Row, generated: Sequence[int]) -> None:
        first, end = self._special.first_timestamp, self._special.end
        row[self._special.no_timestamps] = NEVER
        if not generated:
            row[:first] = NEVER
            row[first + MAX_FIRST_TIMESTAMP_INDEX + 1 :] = NEVER
            return
        is_last_timestamp = generated[-1] >= first
        is_pair = len(generated) == 1 or generated[-2] >= first
        if is_last_timestamp and is_pair:
            row[first:] = NEVER
        elif is_last_timestamp:
            row[:end] = NEVER
        self._keep_order(row, generated, may_repeat=is_last_timestamp and not is_pair)
        _prefer_timestamp(row, first)

    def _keep_order(self, row: Row, generated: Sequence[int], *, may_repeat: bool) -> None:
        first = self._special.first_timestamp
        latest = next((token for token in reversed(generated) if token >= first), first - 1)
        row[first : latest + (0 if may_repeat else 1)] = NEVER


def _prefer_timestamp(row: Row, first: int) -> None:
    """Take a timestamp where all of them together are likelier than any single text token."""
    highest = row[:first].max()
    times = row[first:]
    peak = times.max()
    if peak == NEVER:
        return
    together = peak + np.log(np.exp(times - peak).sum())
    if together > highest:
        row[:first] = NEVER


def log_sum_exp(row: Row) -> float:
    """Return the logarithm of the sum of exponentials; a token's log-probability is its logit less it."""
    peak = row.max()
    return float(peak) + float(np.log(np.exp(row - peak).sum()))
