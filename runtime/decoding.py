"""Greedy and sampled decoding of windows, and the signs of a decoding gone wrong."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sottovoce.runtime.decoder import Decoder
from sottovoce.runtime.rules import Row, Rules, log_sum_exp
from sottovoce.runtime.tokens import MAX_TOKENS, Tokens

TOKENS_PER_S, TOKENS_ANYWAY = 12, 12
"""Nobody speaks more: a window with more tokens loops."""

NGRAM_REPEATS = 4
MAX_NGRAM = 8

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What one decoding of a window gave.

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
class Start:
    """The logits behind the prompt, and what the prompt's own logits tell.

    Attributes:
        row: logits of the first token to generate, shape (n_vocabulary,).
        no_speech_probability: 0 to 1.
    """

    row: Row
    no_speech_probability: float


def feed_prompt(decoder: Decoder, prompt: Tokens, *, start: int, no_speech: int) -> Start:
    """Run the first pass over a prompt.

    Args:
        decoder: started with the window's states.
        prompt: ends with the tokens that steer decoding.
        start: the start-of-transcript token; the no-speech token is judged behind it.
        no_speech: the no-speech token.
    """
    behind_start, behind_prompt = decoder.run(
        np.array([prompt], dtype=np.int64), at=(prompt.index(start), len(prompt) - 1)
    )[0]
    probability = float(np.exp(behind_start[no_speech] - log_sum_exp(behind_start)))
    return Start(row=behind_prompt, no_speech_probability=probability)


def token_limit(audio_s: float, prompt: Tokens) -> int:
    """Return how many tokens a window of some seconds can hold at most."""
    return min(MAX_TOKENS - len(prompt), int(TOKENS_PER_S * audio_s) + TOKENS_ANYWAY)


def decode_greedily(decoder: Decoder, begin: Start, rules: Rules, *, end: int, limit: int) -> Attempt:
    """Take the likeliest token until the end token, a loop or the limit.

    Args:
        decoder: fed with the prompt.
        begin: what the prompt gave.
        rules: what may follow.
        end: the end token.
        limit: tokens at most; reaching it is a loop.
    """
    tokens: list[int] = []
    logs: list[float] = []
    row = begin.row
    step = np.zeros((1, 1), dtype=np.int64)
    has_looped = False
    while True:
        rules.apply(row, tokens)
        token = int(row.argmax())
        logs.append(float(row[token]) - log_sum_exp(row))
        if token == end:
            break
        tokens.append(token)
        has_looped = len(tokens) >= limit or repeats_itself(tokens)
        if has_looped:
            break
        step[0, 0] = token
        row = decoder.run(step)[0, -1]
    return Attempt(
        tokens=tuple(tokens),
        sum_log_probability=sum(logs),
        no_speech_probability=begin.no_speech_probability,
        has_looped=has_looped,
        log_probabilities=tuple(logs[: len(tokens)]),
    )


def repeats_itself(tokens: Sequence[int]) -> bool:
    """Tell whether the last tokens are one n-gram, several times over."""
    n_tokens = len(tokens)
    for size in range(1, MAX_NGRAM + 1):
        needed = size * NGRAM_REPEATS
        if n_tokens < needed:
            return False
        if tokens[-1] != tokens[-1 - size]:
            continue
        last = tokens[-size:]
        if all(tokens[n_tokens - needed + i] == last[i % size] for i in range(needed - size)):
            return True
    return False


def compression_ratio(text: str) -> float:
    """Return the bytes of a text by its bytes under zlib; repetition raises it. Source: whisper."""
    raw = text.encode("utf-8")
    return len(raw) / len(zlib.compress(raw)) if raw else 0.0
