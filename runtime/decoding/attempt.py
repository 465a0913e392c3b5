"""What decoding a window once gives, from the prompt on, and the signs that it went wrong."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sottovoce.runtime.decoding.logit_filters import Row, log_sum_exp
from sottovoce.runtime.decoding.tokenizer import MAX_TOKENS, SpecialTokens, Tokens
from sottovoce.runtime.model.base import Decoder

TOKENS_PER_S, TOKENS_ANYWAY = 12, 12
"""People speak fewer: a window with more tokens loops."""

NGRAM_REPEATS, REPEATED_TOKENS = 4, 24
"""A loop is an n-gram that occurs at least 4 times in a row and fills at least 24 tokens: people do say "no" four times."""
MAX_NGRAM = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One decoding of a window.

    Attributes:
        tokens: after the prompt, timestamps included, without the end token.
        sum_log_probability: natural logarithm, of the tokens and the end token.
        no_speech_probability: of the no-speech token where the transcript starts; 0 to 1.
        has_looped: it was stopped because it repeated itself or went on too long.
        temperature: 0 for greedy.
        log_probabilities: natural logarithm, of each of the tokens.
    """

    tokens: Tokens
    sum_log_probability: float
    no_speech_probability: float
    has_looped: bool
    temperature: float = 0.0
    log_probabilities: tuple[float, ...] = ()

    @property
    def mean_log_probability(self) -> float:
        """Mean over the tokens and the end token."""
        return self.sum_log_probability / (len(self.tokens) + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefillResult:
    """What feeding the prompt gave for one window.

    Attributes:
        row: logits of the first token to generate, shape (n_vocabulary,).
        no_speech_probability: 0 to 1.
    """

    row: Row
    no_speech_probability: float


def prefill(
    decoder: Decoder, prompt: Tokens, special: SpecialTokens, *, n_windows: int = 1
) -> tuple[PrefillResult, ...]:
    """Feed the same prompt for each window, in one pass.

    Args:
        decoder: started with the windows' states.
        prompt: ends with the tokens that steer decoding.
        special: the no-speech token is judged behind the start-of-transcript token.
        n_windows: rows of the batch.
    """
    tokens = np.tile(np.array(prompt, dtype=np.int64), (n_windows, 1))
    logits = decoder.run(tokens, at=(prompt.index(special.start), len(prompt) - 1))
    return tuple(
        PrefillResult(
            row=after_prompt,
            no_speech_probability=float(np.exp(after_start[special.no_speech] - log_sum_exp(after_start))),
        )
        for after_start, after_prompt in logits
    )


def token_limit(audio_s: float, prompt: Tokens, *, least: int = 0) -> int:
    """Return how many tokens a window of some seconds can hold at most.

    Args:
        audio_s: seconds of its audio.
        prompt: takes room.
        least: tokens that a window of any length may hold, where there is room.
    """
    return min(MAX_TOKENS - len(prompt), max(int(TOKENS_PER_S * audio_s) + TOKENS_ANYWAY, least))


def repeats_itself(tokens: Sequence[int]) -> bool:
    """Return whether the last tokens are one n-gram, several times over.

    What repeats itself less shows in the compression ratio of the whole text.
    """
    n_tokens = len(tokens)
    if n_tokens < REPEATED_TOKENS:
        return False
    for size in range(1, MAX_NGRAM + 1):
        needed = size * max(NGRAM_REPEATS, -(-REPEATED_TOKENS // size))
        if n_tokens < needed or tokens[-1] != tokens[-1 - size]:
            continue
        last = tokens[-size:]
        if all(tokens[n_tokens - needed + i] == last[i % size] for i in range(needed - size)):
            return True
    return False


def compression_ratio(text: str) -> float:
    """Return the size of a text in bytes, divided by its size under zlib; repetition raises it. Source: openai/whisper."""
    raw = text.encode("utf-8")
    return len(raw) / len(zlib.compress(raw)) if raw else 0.0
