"""Greedy decoding of several windows at once: each step reads the weights once for all of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from sottovoce.runtime.decoder import Decoder
from sottovoce.runtime.decoding import Attempt, Start, repeats_itself
from sottovoce.runtime.rules import Row, Rules, log_sum_exp
from sottovoce.runtime.tokens import Tokens


def feed_prompts(
    decoder: Decoder, prompt: Tokens, n_windows: int, *, start: int, no_speech: int
) -> tuple[Start, ...]:
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
        Start(
            row=behind_prompt,
            no_speech_probability=float(np.exp(behind_start[no_speech] - log_sum_exp(behind_start))),
        )
        for behind_start, behind_prompt in logits
    )


@dataclass(slots=True)
class _Line:
    """What one window has said so far."""

    limit: int
    tokens: list[int] = field(default_factory=list)
    logs: list[float] = field(default_factory=list)
    has_ended: bool = False
    has_looped: bool = False

    def take(self, row: Row, rules: Rules, end: int) -> int:
        """Append the likeliest token; return what to feed next."""
        if self.has_ended:
            return end
        rules.apply(row, self.tokens)
        token = int(row.argmax())
        self.logs.append(float(row[token]) - log_sum_exp(row))
        if token == end:
            self.has_ended = True
            return end
        self.tokens.append(token)
        self.has_looped = len(self.tokens) >= self.limit or repeats_itself(self.tokens)
        self.has_ended = self.has_looped
        return token


def decode_batch(
    decoder: Decoder, begins: Sequence[Start], rules: Rules, *, end: int, limits: Sequence[int]
) -> tuple[Attempt, ...]:
    """Take the likeliest token of each window until all have ended.

    A window that has ended is fed end tokens: its row costs its share of the attention, a smaller
    batch would need its keys and values moved.

    Args:
        decoder: fed with the prompt.
        begins: what the prompt gave for each window.
        rules: what may follow.
        end: the end token.
        limits: tokens at most for each window; reaching it is a loop.
    """
    lines = [_Line(limit=limit) for limit in limits]
    rows: Sequence[Row] = [begin.row for begin in begins]
    step = np.empty((len(lines), 1), dtype=np.int64)
    while True:
        for i, line in enumerate(lines):
            step[i, 0] = line.take(rows[i], rules, end)
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
