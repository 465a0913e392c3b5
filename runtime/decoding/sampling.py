"""Sampled decoding: what a window is tried with after greedy decoding looped or was unlikely.

Source: `GreedyDecoder` in `whisper/decoding.py` of openai/whisper, with one sample.
"""

from dataclasses import replace

import numpy as np

from sottovoce.runtime.decoding.greedy import Attempt, PrefillResult, decode_batch
from sottovoce.runtime.decoding.logit_filters import LogitFilters, Row
from sottovoce.runtime.model.decoder import Decoder


def decode_sampled(
    decoder: Decoder,
    begin: PrefillResult,
    rules: LogitFilters,
    *,
    end: int,
    limit: int,
    temperature: float,
    generator: np.random.Generator,
) -> Attempt:
    """Draw tokens until the end token, a loop or the limit.

    Args:
        decoder: fed with the prompt.
        begin: what the prompt gave.
        rules: what may follow.
        end: the end token.
        limit: tokens at most; reaching it is a loop.
        temperature: above 0; logits are divided by it before one is drawn. Log-probabilities are
            told without it.
        generator: the chance; one seed for each window makes transcripts repeatable.
    """
    (attempt,) = decode_batch(
        decoder,
        [begin],
        rules,
        end=end,
        limits=[limit],
        pick=lambda row: draw(row, temperature, generator),
    )
    return replace(attempt, temperature=temperature)


def draw(row: Row, temperature: float, generator: np.random.Generator) -> int:
    """Draw a token from softmax(logits / temperature).

    Args:
        row: logits, shape (n_vocabulary,); minus infinity is never drawn.
        temperature: above 0.
        generator: the chance; one number is taken from it.
    """
    weights = np.exp((row - row.max()) / temperature)
    reached = np.cumsum(weights, dtype=np.float64)
    # 1 - random() is above 0 and at most 1: neither a token without weight nor one too far is found.
    return int(np.searchsorted(reached, (1.0 - generator.random()) * reached[-1]))
