"""Decoding windows token by token, one or several at once, and the signs of a decoding gone wrong."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from sottovoce.runtime.decoding.logit_filters import LogitFilters, Row, log_sum_exp
from sottovoce.runtime.decoding.tokenizer import MAX_TOKENS, Tokens
from sottovoce.runtime.model.decoder import Decoder

TOKENS_PER_S, TOKENS_ANYWAY = 12, 12
"""Nobody speaks more: a window with more tokens loops."""

NGRAM_REPEATS, REPEATED_TOKENS = 4, 24
"""A loop is an n-gram so many times over that is so many tokens: people do say "no" four times."""
MAX_NGRAM = 8

Pick = Callable[[Row], int]
"""Chooses a token from logits."""


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
class PrefillResult:
    """The logits behind the prompt, and what the prompt's own logits tell.

    Attributes:
        row: logits of the first token to generate, shape (n_vocabulary,).
        no_speech_probability: 0 to 1.
    """

    row: Row
    no_speech_probability: float


def prefill(decoder: Decoder, prompt: Tokens, *, start: int, no_speech: int) -> PrefillResult:
    """Run the first pass over a prompt; see `prefill_batch`."""
    (begin,) = prefill_batch(decoder, prompt, 1, start=start, no_speech=no_speech)
    return begin


def prefill_batch(
    decoder: Decoder, prompt: Tokens, n_windows: int, *, start: int, no_speech: int
) -> tuple[PrefillResult, ...]:
    """Run the first pass over the same prompt for each window.

    Args:
        decoder: started with the windows' states.
        prompt: ends with the tokens that steer decoding.
        n_windows: rows of the batch.
        start: the start-of-transcript token; the no-speech token is judged behind it.
        no_speech: the no-speech token.
    """
    tokens = np.tile(np.array(prompt, dtype=np.int64), (n_windows, 1))
    logits = decoder.run(tokens, at=(prompt.index(start), len(prompt) - 1))
    return tuple(
        PrefillResult(
            row=behind_prompt,
            no_speech_probability=float(np.exp(behind_start[no_speech] - log_sum_exp(behind_start))),
        )
        for behind_start, behind_prompt in logits
    )


def token_limit(audio_s: float, prompt: Tokens, *, least: int = 0) -> int:
    """Return how many tokens a window of some seconds can hold at most.

    Args:
        audio_s: seconds of its audio.
        prompt: takes room.
        least: tokens that a window of any length may hold, where there is room.
    """
    return min(MAX_TOKENS - len(prompt), max(int(TOKENS_PER_S * audio_s) + TOKENS_ANYWAY, least))


def likeliest_token(row: Row) -> int:
    """Return the token with the largest logit."""
    return int(row.argmax())


def decode_greedily(
    decoder: Decoder, begin: PrefillResult, rules: LogitFilters, *, end: int, limit: int
) -> Attempt:
    """Take the likeliest token until the end token, a loop or the limit; see `decode_batch`."""
    (attempt,) = decode_batch(decoder, [begin], rules, end=end, limits=[limit])
    return attempt


@dataclass(slots=True)
class _Line:
    """What one window has said so far."""

    limit: int
    tokens: list[int] = field(default_factory=list)
    logs: list[float] = field(default_factory=list)
    has_ended: bool = False
    has_looped: bool = False

    def take(self, row: Row, rules: LogitFilters, end: int, pick: Pick) -> int:
        """Append a token; return what to feed next."""
        if self.has_ended:
            return end
        rules.apply(row, self.tokens)
        token = pick(row)
        self.logs.append(float(row[token]) - log_sum_exp(row))
        if token == end:
            self.has_ended = True
            return end
        self.tokens.append(token)
        self.has_looped = len(self.tokens) >= self.limit or repeats_itself(self.tokens)
        self.has_ended = self.has_looped
        return token


def decode_batch(
    decoder: Decoder,
    begins: Sequence[PrefillResult],
    rules: LogitFilters,
    *,
    end: int,
    limits: Sequence[int],
    pick: Pick = likeliest_token,
) -> tuple[Attempt, ...]:
    """Take a token for each window until all have ended, looped or reached their limit.

    Each step reads the weights once for all windows. A window that has ended is fed end tokens: its
    row costs its share of the attention, a smaller batch would need its keys and values moved.

    Args:
        decoder: fed with the prompt.
        begins: what the prompt gave for each window.
        rules: what may follow.
        end: the end token.
        limits: tokens at most for each window; reaching it is a loop.
        pick: chooses a token from logits that the rules were applied to.
    """
    lines = [_Line(limit=limit) for limit in limits]
    rows: Sequence[Row] = [begin.row for begin in begins]
    step = np.empty((len(lines), 1), dtype=np.int64)
    while True:
        for i, line in enumerate(lines):
            step[i, 0] = line.take(rows[i], rules, end, pick)
        if all(line.has_ended for line in lines):
            break
        rows = list(decoder.run(step)[:, -1])
    return tuple(
        Attempt(
            tokens=tuple(line.tokens),
            sum_log_probability=sum(line.logs),
            no_speech_probability=begin.no_speech_probability,
            has_looped=line.has_looped,
            log_probabilities=tuple(line.logs[: len(line.tokens)]),
        )
        for line, begin in zip(lines, begins, strict=True)
    )


def repeats_itself(tokens: Sequence[int]) -> bool:
    """Tell whether the last tokens are one n-gram, several times over.

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
    """Return the bytes of a text by its bytes under zlib; repetition raises it. Source: whisper."""
    raw = text.encode("utf-8")
    return len(raw) / len(zlib.compress(raw)) if raw else 0.0
