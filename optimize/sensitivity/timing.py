"""Time two models on the same work, in turns."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sottovoce.optimize.checks.teacher_forcing import TeacherSequence
from sottovoce.optimize.sensitivity.model_files import window_of
from sottovoce.runtime.audio.features import Features
from sottovoce.runtime.model.base import Decoder, Encoded
from sottovoce.runtime.model.elastic import ElasticPlan
from sottovoce.runtime.model.encoder import Encoder

Work = Callable[[], object]

Clock = Callable[[], float]
"""Returns seconds from any start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """Time that the second way saves, in seconds for each piece of work.

    Attributes:
        float_s: time of the first way, median over rounds.
        saved_s: difference, median over rounds; below 0 where the second way takes longer.
        low_s, high_s: its quartiles over rounds.
    """

    float_s: float
    saved_s: float
    low_s: float
    high_s: float


MIN_ROUNDS = 3

MAX_ROUNDS = 9

BUDGET_S = 15.0
"""Limit of one comparison: the work of a large model, or on a busy machine, is done in fewer rounds."""


def time_in_turns(
    floats: Sequence[Work], others: Sequence[Work], *, clock: Clock = time.perf_counter
) -> Saving:
    """Do each piece of work in both ways, either way first in turns, and compare round by round.

    So other load on the machine slows both ways alike. A first round that does not count compiles the kernels for each
    shape. Nine rounds count, fewer where they take over 15 s, but at least three.
    """
    _do_round(floats, others, 0, clock)
    began = clock()
    taken: list[NDArray[np.float64]] = []
    while len(taken) < MIN_ROUNDS or (len(taken) < MAX_ROUNDS and clock() - began < BUDGET_S):
        taken.append(_do_round(floats, others, len(taken) + 1, clock))
    rounds = np.stack(taken)
    low, saved, high = np.quantile(rounds[:, 0] - rounds[:, 1], (0.25, 0.5, 0.75))
    return Saving(
        float_s=float(np.median(rounds[:, 0])), saved_s=float(saved), low_s=float(low), high_s=float(high)
    )


def _do_round(floats: Sequence[Work], others: Sequence[Work], turn: int, clock: Clock) -> NDArray[np.float64]:
    """Return mean seconds of a piece of work in the first way and in the second."""
    taken = np.empty((len(floats), 2))
    for i, ways in enumerate(zip(floats, others, strict=True)):
        for way in (0, 1) if (turn + i) % 2 == 0 else (1, 0):
            started = clock()
            ways[way]()
            taken[i, way] = clock() - started
    means: NDArray[np.float64] = taken.mean(axis=0)
    return means


def encoding(encoder: Encoder, clips: Sequence[TeacherSequence]) -> list[Work]:
    """Return the work of encoding each clip."""
    return [_encode_one(encoder, *window_of(encoder, clip)) for clip in clips]


def decoding(decoder: Decoder, encoder: Encoder, clips: Sequence[TeacherSequence]) -> list[Work]:
    """Return the work of feeding each clip's tokens one by one, as decoding does."""
    return [_decode_one(decoder, encoder.encode(*window_of(encoder, clip)), clip) for clip in clips]


def both(first: Sequence[Work], second: Sequence[Work]) -> list[Work]:
    """Join two lists of work pair by pair."""
    return [_one_after_another(*pair) for pair in zip(first, second, strict=True)]


def _one_after_another(first: Work, second: Work) -> Work:
    def work() -> None:
        first()
        second()

    return work


def _encode_one(encoder: Encoder, features: Features, plan: ElasticPlan) -> Work:
    return lambda: encoder.encode(features, plan)


def _decode_one(decoder: Decoder, encoded: Encoded, clip: TeacherSequence) -> Work:
    steps = [np.array([clip.prompt], dtype=np.int64)]
    steps += [np.array([[token]], dtype=np.int64) for token in clip.tokens[:-1]]

    def work() -> None:
        decoder.start(encoded)
        for tokens in steps:
            decoder.run(tokens)

    return work
