"""Time two ways of doing the same work, in turns."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Work = Callable[[], object]

Clock = Callable[[], float]
"""Seconds from any start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """What the second way saves, in seconds for each piece of work.

    Attributes:
        float_s: what the first way takes, median over rounds.
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
"""What one comparison may take: the work of a large model, or on a busy machine, is done in fewer rounds."""


def time_in_turns(
    floats: Sequence[Work], others: Sequence[Work], *, clock: Clock = time.perf_counter
) -> Saving:
    """Do each piece of work in both ways, which way first in turns, and compare round by round.

    What else the machine does then falls on both ways alike. One round before those that count prepares kernels
    for each shape. Nine rounds count, fewer where they take over 15 s, but three at least.

    Args:
        floats: pieces of work, the first way.
        others: the same pieces, the second way.
        clock: seconds from any start.
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
    for place, ways in enumerate(zip(floats, others, strict=True)):
        for way in (0, 1) if (turn + place) % 2 == 0 else (1, 0):
            started = clock()
            ways[way]()
            taken[place, way] = clock() - started
    means: NDArray[np.float64] = taken.mean(axis=0)
    return means
