"""The rule: which blocks cost more than they save."""

from collections.abc import Sequence
from dataclasses import dataclass

from sottovoce.optimize.sensitivity.report import Implication

MIN_DIVERGENCE_SHARE = 0.05
"""What causes less of the divergence of all blocks changes little, whatever is done with it."""

MIN_COST_RATIO = 3.0
"""Divergence for each second saved, by that of all blocks together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a block costs and saves when it alone is quantized.

    Attributes:
        divergence: nats a token, finite, not below 0.
        saved_s: seconds a clip; below 0 where it takes longer.
    """

    divergence: float
    saved_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """A block's part in what all blocks cost and save, and what that implies.

    Attributes:
        divergence_share: of the sum of the divergences.
        saving_share: of the sum of what is saved, where a block that saves nothing counts as 0.
        implies: what to do with it.
    """

    divergence_share: float
    saving_share: float
    implies: Implication


def imply(costs: Sequence[Cost]) -> tuple[Assessment, ...]:
    """Say of each block what it implies.

    A block is to stay float where it causes at least 5 % of the divergence of all blocks together and at
    least three times as large a share of it as of the time saved. So all blocks that stay float together give
    up at most a third of the time that single blocks save. A block with as much divergence and a larger share
    of the time is worth it. One with less divergence is harmless, or, where it saves no time, no gain.
    """
    divergence = sum(cost.divergence for cost in costs)
    saved = sum(max(0.0, cost.saved_s) for cost in costs)
    return tuple(
        _judge(cost, _share(cost.divergence, divergence), _share(max(0.0, cost.saved_s), saved))
        for cost in costs
    )


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0


def _judge(cost: Cost, divergence_share: float, saving_share: float) -> Assessment:
    return Assessment(
        divergence_share=divergence_share,
        saving_share=saving_share,
        implies=_implication(cost, divergence_share, saving_share),
    )


def _implication(cost: Cost, divergence_share: float, saving_share: float) -> Implication:
    if divergence_share >= MIN_DIVERGENCE_SHARE:
        costs_too_much = divergence_share >= MIN_COST_RATIO * saving_share
        return Implication.KEEP_FLOAT if costs_too_much else Implication.WORTH_IT
    return Implication.HARMLESS if cost.saved_s > 0 else Implication.NO_GAIN
