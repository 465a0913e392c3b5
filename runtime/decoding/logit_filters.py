"""What is left out of the logits before a token is chosen: suppressed tokens and the grammar of timestamps.

Source: `SuppressTokens`, `SuppressBlank` and `ApplyTimestampRules` in `whisper/decoding.py` of
openai/whisper. Suppressing is an index write into the logits; a mask over the whole vocabulary, as
transformers applies it, takes 1,500 times as long.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import SpecError
from sottovoce.runtime.decoding.tokenizer import TIMESTAMP_STEP_S, SpecialTokens, Tokens
from sottovoce.runtime.options import TranscribeOptions

Row = NDArray[np.float32]
"""Logits of one position, shape (n_vocabulary,)."""

NEVER = np.float32(-np.inf)

MODELS_OWN = -1
"""In `suppress_tokens`: the tokens that the model's settings name."""

DEFAULT_OPTIONS = TranscribeOptions()


class LogitFilters:
    """Applies a checkpoint's rules to logits, in place."""

    def __init__(
        self,
        special: SpecialTokens,
        *,
        with_timestamps: bool,
        continues: bool = False,
        options: TranscribeOptions = DEFAULT_OPTIONS,
    ) -> None:
        """Take a checkpoint's rules.

        Args:
            special: suppressed tokens.
            with_timestamps: the text has timestamps.
            continues: the prompt ends with the start of the text.
            options: those of them that change the rules.

        Raises:
            SpecError: the checkpoint has no such token to suppress.
        """
        self._special = special
        self.end = special.end
        self._with_timestamps = with_timestamps
        suppressed = _suppressed(special, options.suppress_tokens)
        self._always = np.asarray(suppressed, dtype=np.int64)
        at_start = () if continues else special.suppressed_at_start
        self._at_start = np.asarray((*suppressed, *at_start), dtype=np.int64)
        self._max_first_index = round(options.max_initial_timestamp / TIMESTAMP_STEP_S)
        self._repetition_penalty = np.float32(options.repetition_penalty)
        self._ngram_size = options.no_repeat_ngram_size

    def apply(self, row: Row, generated: Sequence[int]) -> None:
        """Set what may not follow to minus infinity.

        Args:
            row: changed in place.
            generated: tokens after the prompt so far.
        """
        row[self._always if generated else self._at_start] = NEVER
        if self._repetition_penalty != 1:
            seen = [token for token in set(generated) if token < self.end]
            values = row[seen]
            row[seen] = np.where(
                values > 0, values / self._repetition_penalty, values * self._repetition_penalty
            )
        if self._ngram_size:
            row[[token for token in _repeating(generated, self._ngram_size) if token < self.end]] = NEVER
        if self._with_timestamps:
            self._apply_timestamps(row, generated)

    def _apply_timestamps(self, row: Row, generated: Sequence[int]) -> None:
        first, end = self._special.first_timestamp, self._special.end
        row[self._special.no_timestamps] = NEVER
        if not generated:
            row[:first] = NEVER
            row[first + self._max_first_index + 1 :] = NEVER
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


def _suppressed(special: SpecialTokens, tokens: Tokens | None) -> Tokens:
    """Return the tokens that are never generated; special ones always are among those that a user gives."""
    if tokens is None:
        return special.suppressed
    unknown = [token for token in tokens if not MODELS_OWN <= token < special.end]
    if unknown:
        raise SpecError(
            f"suppress_tokens has {unknown[0]}, want text tokens, which are below {special.end}, or {MODELS_OWN}"
        )
    own = special.suppressed if MODELS_OWN in tokens else ()
    given = (token for token in tokens if token != MODELS_OWN)
    return (*own, *given, *range(special.end + 1, special.first_timestamp))


def _repeating(generated: Sequence[int], size: int) -> list[int]:
    """Return the tokens that would repeat a sequence of `size` tokens."""
    last = generated[len(generated) - size + 1 :]
    ends = range(size - 1, len(generated))
    return [generated[end] for end in ends if generated[end - size + 1 : end] == last]


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
