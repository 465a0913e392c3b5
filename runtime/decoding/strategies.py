"""Ways to choose tokens from a decoder's logits: greedy decoding, sampling and beam search.

Source of all: `GreedyDecoder` and `BeamSearchDecoder` in `whisper/decoding.py` of openai/whisper. The end of a beam
search follows `_beam_search` in `generation/utils.py` of transformers: the best finished beams are kept, and the search
goes on while a live one has a better score than the worst of them. Whisper keeps the first that finish: on 70 clips of
LibriSpeech that took the same time, made 3.87 % word errors, not 3.79 %, and gave a lower probability. A search also
ends where its likeliest beam loops, as greedy decoding does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from sottovoce.runtime.decoding.attempt import Attempt, PrefillResult, repeats_itself
from sottovoce.runtime.decoding.logit_filters import LogitFilters, Row, log_sum_exp
from sottovoce.runtime.decoding.tokenizer import Tokens
from sottovoce.runtime.model.base import Decoder, Logits
from sottovoce.runtime.options import TranscribeOptions

BLOCK = 256
"""Logits whose maximum is taken together; the vocabulary makes some 200 blocks."""

LEAST = np.finfo(np.float32).min
"""The lowest finite logit."""

SAMPLING_SEED = 0
"""The same audio gives the same transcript."""


class DecodingStrategy(Protocol):
    """A way to choose the tokens of windows."""

    @property
    def decodes_batches(self) -> bool:
        """Whether one call takes several windows; else each takes a call."""

    def decode(
        self,
        decoder: Decoder,
        prefilled: Sequence[PrefillResult],
        filters: LogitFilters,
        limits: Sequence[int],
    ) -> tuple[Attempt, ...]:
        """Choose tokens until each window has ended, looped or reached its limit.

        Args:
            decoder: fed with the prompt.
            prefilled: what the prompt gave for each window; one, where the strategy takes no batches.
            filters: applied to logits before a token is chosen.
            limits: tokens at most for each window; reaching it is a loop.
        """


def strategies(options: TranscribeOptions) -> tuple[DecodingStrategy, ...]:
    """Return what a window is decoded with: the first, then what follows where the text is doubtful."""
    return tuple(_strategy(options, temperature) for temperature in options.temperatures_tried)


def _strategy(options: TranscribeOptions, temperature: float) -> DecodingStrategy:
    if temperature > 0:
        return Sampling(temperature=temperature, best_of=options.best_of or 1)
    if options.beam_size > 1:
        return BeamSearch(
            beam_size=options.beam_size, length_penalty=options.length_penalty, patience=options.patience
        )
    return Greedy()


@dataclass(frozen=True, slots=True)
class Greedy:
    """Takes the likeliest token at each step.

    Each step reads the weights once for all windows. A window that has ended is fed end tokens: its row costs its share
    of the attention, a smaller batch would need its keys and values moved.
    """

    decodes_batches = True

    def decode(
        self,
        decoder: Decoder,
        prefilled: Sequence[PrefillResult],
        filters: LogitFilters,
        limits: Sequence[int],
    ) -> tuple[Attempt, ...]:
        """Choose tokens; see `DecodingStrategy`."""
        return _decode_steps(decoder, prefilled, filters, limits, likeliest_token)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Draws tokens: tried after greedy decoding looped or was unlikely.

    Attributes:
        temperature: above 0; logits are divided by it before a token is drawn. Log-probabilities are those without it.
        best_of: texts drawn together; the likeliest that does not loop is taken.
        seed: of the random numbers of each call.
    """

    temperature: float
    best_of: int = 1
    seed: int = SAMPLING_SEED
    decodes_batches = False

    def decode(
        self,
        decoder: Decoder,
        prefilled: Sequence[PrefillResult],
        filters: LogitFilters,
        limits: Sequence[int],
    ) -> tuple[Attempt, ...]:
        """Choose tokens; see `DecodingStrategy`."""
        generator = np.random.default_rng(self.seed)

        def pick(row: Row) -> int:
            return draw(row, self.temperature, generator)

        (begin,), (limit,) = prefilled, limits
        begins = [replace(begin, row=begin.row.copy()) for _ in range(self.best_of)]
        if self.best_of > 1:
            decoder.select([0] * self.best_of)
        samples = _decode_steps(
            decoder, begins, filters, [limit] * self.best_of, pick, temperature=self.temperature
        )
        return (max(samples, key=lambda sample: (not sample.has_looped, sample.mean_log_probability)),)


@dataclass(frozen=True, slots=True, kw_only=True)
class BeamSearch:
    """Follows the likeliest beams until none can better the finished ones, the likeliest loops, or the limit.

    The prompt is fed once; its keys and values are spread over the beams at the first step. One beam gives what
    `Greedy` gives.

    Attributes:
        beam_size: beams kept, live and finished.
        length_penalty: exponent of equation 14 of Wu et al., "Google's Neural Machine Translation System", 2016; None
            divides a beam's log-probability by its number of tokens.
        patience: finished beams that the search looks for, as a multiple of `beam_size`. Source: Kasai et al., "A call for
            clarity in beam search", 2022.
    """

    beam_size: int
    length_penalty: float | None = None
    patience: float = 1.0
    decodes_batches = False

    def decode(
        self,
        decoder: Decoder,
        prefilled: Sequence[PrefillResult],
        filters: LogitFilters,
        limits: Sequence[int],
    ) -> tuple[Attempt, ...]:
        """Choose tokens; see `DecodingStrategy`."""
        (begin,), (limit,) = prefilled, limits
        n_wanted = max(1, round(self.beam_size * self.patience))
        live = [_Beam((), (), 0.0)]
        finished: list[_Beam] = []
        rows: Logits = begin.row[None]
        while True:
            ranking = _rank(_candidates(live, rows, filters, self.beam_size), filters.end, self.beam_size)
            ended = [_ended(live[candidate.source], candidate) for candidate in ranking.finished]
            finished = sorted([*finished, *ended], key=self._score, reverse=True)[:n_wanted]
            live = [_extended(live[candidate.source], candidate) for candidate in ranking.live]
            if not live or _has_looped(live[0].tokens, limit):
                break
            if len(finished) == n_wanted and self._score(live[0]) <= self._score(finished[-1]):
                break
            decoder.select([candidate.source for candidate in ranking.live])
            rows = decoder.run(np.array([beam.tokens[-1:] for beam in live], dtype=np.int64))[:, -1]
        return (self._best(live, finished, begin, limit),)

    def _score(self, beam: "_Beam") -> float:
        length = len(beam.logs)
        penalty = self.length_penalty
        return beam.total / (length if penalty is None else ((5 + length) / 6) ** penalty)

    def _best(
        self, live: Sequence["_Beam"], finished: Sequence["_Beam"], begin: PrefillResult, limit: int
    ) -> Attempt:
        winner = (finished or live)[0]
        likelier_looped = bool(live) and _has_looped(live[0].tokens, limit)
        return Attempt(
            tokens=winner.tokens,
            sum_log_probability=sum(winner.logs),
            no_speech_probability=begin.no_speech_probability,
            has_looped=not finished or (likelier_looped and self._score(live[0]) > self._score(winner)),
            log_probabilities=winner.logs[: len(winner.tokens)],
        )


Pick = Callable[[Row], int]
"""Chooses a token from logits."""


@dataclass(slots=True)
class _Sequence:
    """The tokens of one window so far."""

    limit: int
    tokens: list[int] = field(default_factory=list)
    logs: list[float] = field(default_factory=list)
    has_ended: bool = False
    has_looped: bool = False

    def take(self, row: Row, filters: LogitFilters, pick: Pick) -> int:
        """Append a token; return what to feed next."""
        if self.has_ended:
            return filters.end
        filters.apply(row, self.tokens)
        token = pick(row)
        self.logs.append(float(row[token]) - log_sum_exp(row))
        if token == filters.end:
            self.has_ended = True
            return token
        self.tokens.append(token)
        self.has_looped = _has_looped(self.tokens, self.limit)
        self.has_ended = self.has_looped
        return token


def _decode_steps(
    decoder: Decoder,
    prefilled: Sequence[PrefillResult],
    filters: LogitFilters,
    limits: Sequence[int],
    pick: Pick,
    *,
    temperature: float = 0.0,
) -> tuple[Attempt, ...]:
    """Take a token for each window at each step."""
    sequences = [_Sequence(limit=limit) for limit in limits]
    rows: Sequence[Row] = [begin.row for begin in prefilled]
    step = np.empty((len(sequences), 1), dtype=np.int64)
    while True:
        for i, sequence in enumerate(sequences):
            step[i, 0] = sequence.take(rows[i], filters, pick)
        if all(sequence.has_ended for sequence in sequences):
            break
        rows = list(decoder.run(step)[:, -1])
    return tuple(
        Attempt(
            tokens=tuple(sequence.tokens),
            sum_log_probability=sum(sequence.logs),
            no_speech_probability=begin.no_speech_probability,
            has_looped=sequence.has_looped,
            temperature=temperature,
            log_probabilities=tuple(sequence.logs[: len(sequence.tokens)]),
        )
        for sequence, begin in zip(sequences, prefilled, strict=True)
    )


def likeliest_token(row: Row) -> int:
    """Return the token with the largest logit."""
    return int(row.argmax())


def draw(row: Row, temperature: float, generator: np.random.Generator) -> int:
    """Draw a token from softmax(logits / temperature).

    Args:
        row: logits, shape (n_vocabulary,); minus infinity is never drawn.
        temperature: above 0.
        generator: one number is taken from it.
    """
    weights = np.exp((row - row.max()) / temperature)
    reached = np.cumsum(weights, dtype=np.float64)
    # 1 - random() is above 0 and at most 1: neither a token without weight nor one too far is found.
    return int(np.searchsorted(reached, (1.0 - generator.random()) * reached[-1]))


class _Beam(NamedTuple):
    """Tokens without the end, and the log-probability of each of them and of the end."""

    tokens: Tokens
    logs: tuple[float, ...]
    total: float


class _Candidate(NamedTuple):
    total: float
    source: int
    token: int
    log: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ranking:
    live: list[_Candidate]
    finished: list[_Candidate]


def _ended(beam: _Beam, candidate: _Candidate) -> _Beam:
    return _Beam(beam.tokens, (*beam.logs, candidate.log), candidate.total)


def _extended(beam: _Beam, candidate: _Candidate) -> _Beam:
    return _Beam((*beam.tokens, candidate.token), (*beam.logs, candidate.log), candidate.total)


def _has_looped(tokens: Sequence[int], limit: int) -> bool:
    return len(tokens) >= limit or repeats_itself(tokens)


def _candidates(
    live: Sequence[_Beam], rows: Logits, filters: LogitFilters, beam_size: int
) -> list[_Candidate]:
    """Extend each beam by its likeliest tokens: one more than there are beams, as one may be the end."""
    found = []
    for source, (beam, row) in enumerate(zip(live, rows, strict=True)):
        filters.apply(row, beam.tokens)
        tokens = likeliest(row, beam_size + 1)
        logs = row[tokens].astype(np.float64) - log_sum_exp(row)
        found += [
            _Candidate(beam.total + log, source, token, log)
            for token, log in zip(tokens.tolist(), logs.tolist(), strict=True)
        ]
    return found


def _rank(candidates: list[_Candidate], end: int, beam_size: int) -> _Ranking:
    """Take the best candidates that go on, and those before them that are finished."""
    ranking = _Ranking(live=[], finished=[])
    for candidate in sorted(candidates, key=lambda each: -each.total):
        if candidate.token == end:
            ranking.finished.append(candidate)
        else:
            ranking.live.append(candidate)
            if len(ranking.live) == beam_size:
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
