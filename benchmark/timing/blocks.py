"""The order of measuring: blocks of one clip in every entry, with a balanced order of the entries."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One clip in every entry, one entry after another.

    Attributes:
        number: of the pass, from 0.
        clip: index of the clip.
        order: names of the entries.
    """

    number: int
    clip: int
    order: tuple[str, ...]


def plan_blocks(
    names: Sequence[str], n_clips: int, *, passes: int, timing: Sequence[int] | None = None
) -> tuple[Block, ...]:
    """Plan passes over the clips.

    Two entries run in the orders A B, B A, B A, A B and so on, and the order of a clip alternates from pass to pass, so
    that a drift of the machine's speed affects all entries equally. With more entries, each pair of clips has an order
    and its reverse, so that each entry follows every other one equally often: caches and CPU temperature that an entry
    leaves behind affect all others equally.

    Source: Williams 1949, "Experimental designs balanced for the estimation of residual effects of treatments",
    Australian Journal of Scientific Research A 2, 149-168.

    Args:
        names: of the entries.
        n_clips: all of them are in the first pass.
        passes: how many.
        timing: indices of the clips in later passes; None takes all.
    """
    first = tuple(range(n_clips))
    later = first if timing is None else tuple(timing)
    return tuple(
        Block(number=number, clip=clip, order=_order(names, clip, number))
        for number in range(passes)
        for clip in (later if number else first)
    )


def _order(names: Sequence[str], clip: int, number: int) -> tuple[str, ...]:
    order = tuple(names[index] for index in _williams_row(len(names), clip // 2))
    return order if (clip + number) % 2 == 0 else order[::-1]


def _williams_row(n_entries: int, row: int) -> tuple[int, ...]:
    """Return a row of Williams' square: 0, 1, n-1, 2, n-2 and so on; each row adds 1 to the numbers of the one before.

    Together with the reversed rows, every number follows every other one equally often, for odd and even n.
    """
    zigzag = ((step + 1) // 2 if step % 2 else -step // 2 for step in range(n_entries))
    return tuple((index + row) % n_entries for index in zigzag)


def choose_timing_clips(lengths_s: Sequence[float], n_wanted: int, *, seed: int) -> tuple[int, ...]:
    """Choose clips with the length distribution of all clips, by stratified sampling: one from each quantile of length.

    Returns:
        Indices of the clips, sorted; all of them if there are no more than `n_wanted`.
    """
    if n_wanted >= len(lengths_s):
        return tuple(range(len(lengths_s)))
    rng = np.random.default_rng(seed)
    parts = np.array_split(np.argsort(lengths_s, kind="stable"), n_wanted)
    return tuple(sorted(int(rng.choice(part)) for part in parts))
