"""Beam search over the tokens of a window.

Source: `BeamSearchDecoder` and `MaximumLikelihoodRanker` in `whisper/decoding.py` of openai/whisper,
with its patience of 1; the length penalty is equation 14 of Wu et al., "Google's Neural Machine
Translation System", 2016. Unlike there, a search ends too where its likeliest beam loops, as greedy
decoding does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sottovoce.runtime.decoder import Decoder, Logits
from sottovoce.runtime.decoding import Attempt, Start, repeats_itself
from sottovoce.runtime.rules import Row, Rules, log_sum_exp
from sottovoce.runtime.tokens import Tokens

BLOCK = 256
"""Logits whose maximum is taken together; the vocabulary makes some 200 blocks."""

LEAST = np.finfo(np.float32).min
"""What every logit reaches that is not minus infinity."""


class _Beam(NamedTuple):
    tokens: Tokens
    total: float


class _Candidate(NamedTuple):
    total: float
    source: int
    token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ranking:
    live: list[_Candidate]
    finished: list[_Candidate]


def decode_by_beams(
    decoder: Decoder,
    begin: Start,
    rules: Rules,
    *,
    end: int,
    limit: int,
    n_beams: int,
    length_penalty: float | None = None,
) -> Attempt:
    """Follow the likeliest beams until as many have finished, the likeliest one loops, or the limit.

    The prompt is fed once; its keys and values are spread over the beams at the first step. One beam
    gives what `decode_greedily` gives.

    Args:
        decoder: fed with the prompt, batch 1.
        begin: what the prompt gave.
        rules: what may follow.
        end: the end token.
        limit: tokens at most; a beam that reaches it is a loop.
        n_beams: beams alive, and finished ones to choose from; at least 1.
        length_penalty: alpha of the penalty, 0 to 1; None ranks by the mean log-probability of the
            tokens.

    Returns:
        The best of the finished beams; unfinished ones compete where too few finished, and
        `has_looped` tells that one of them won.
    """
    live = [_Beam((), 0.0)]
    finished: list[_Beam] = []
    rows: Logits = begin.row[None]
    while True:
        ranking = _rank(_candidates(live, rows, rules, n_beams), end, n_beams)
        done = ranking.finished[: n_beams - len(finished)]
        finished += [_Beam(live[source].tokens, total) for total, source, _ in done]
        live = [_Beam((*live[source].tokens, token), total) for total, source, token in ranking.live]
        if len(finished) == n_beams or not live or _has_looped(live[0].tokens, limit):
            break
        decoder.select([candidate.source for candidate in ranking.live])
        rows = decoder.run(np.array([beam.tokens[-1:] for beam in live], dtype=np.int64))[:, -1]
    unfinished = live[: n_beams - len(finished)]
    contenders = finished + unfinished
    scores = [_score(beam, length_penalty) for beam in contenders]
    winner = scores.index(max(scores))
    return Attempt(
        tokens=contenders[winner].tokens,
        sum_log_probability=contenders[winner].total,
        no_speech_probability=begin.no_speech_probability,
        has_looped=winner >= len(finished),
    )


def _has_looped(tokens: Tokens, limit: int) -> bool:
    return len(tokens) >= limit or repeats_itself(tokens)


def _candidates(live: Sequence[_Beam], rows: Logits, rules: Rules, n_beams: int) -> list[_Candidate]:
    """Extend each beam by its likeliest tokens: one more than there are beams, as one may be the end."""
    found = []
    for source, (beam, row) in enumerate(zip(live, rows, strict=True)):
        rules.apply(row, beam.tokens)
        offset = beam.total - log_sum_exp(row)
        tokens = likeliest(row, n_beams + 1)
        found += [_Candidate(offset + float(row[token]), source, token) for token in tokens.tolist()]
    return found


def _rank(candidates: list[_Candidate], end: int, n_beams: int) -> _Ranking:
    """Take the best candidates that go on, and those before them that are finished."""
    ranking = _Ranking(live=[], finished=[])
    for candidate in sorted(candidates, key=lambda each: -each.total):
        if candidate.token == end:
            ranking.finished.append(candidate)
        else:
            ranking.live.append(candidate)
            if len(ranking.live) == n_beams:
                break
    return ranking


def likeliest(row: Row, count: int) -> NDArray[np.int64]:
    """Return the tokens of the highest logits, in order of token, in a tenth of `argpartition`'s time.

    Args:
        row: logits, shape (n_vocabulary,).
        count: tokens wanted; tokens that share the last one's logit all count, impossible ones do not.

    Returns:
        int64, shape (at least the smaller of `count` and the possible tokens,).
    """
    n_blocks = len(row) // BLOCK
    peaks = row[: n_blocks * BLOCK].reshape(n_blocks, BLOCK).max(axis=1)
    # Each of `count` blocks has a logit that reaches the bound, so the highest `count` of all do as well.
    bound = np.partition(peaks, -count)[-count] if n_blocks >= count else LEAST
    tokens = np.flatnonzero(row >= max(bound, LEAST))
    if len(tokens) > count:
        tokens = tokens[row[tokens] >= np.partition(row[tokens], -count)[-count]]
    return tokens


def _score(beam: _Beam, length_penalty: float | None) -> float:
    length = len(beam.tokens)
    return beam.total / (max(1, length) if length_penalty is None else ((5 + length) / 6) ** length_penalty)
