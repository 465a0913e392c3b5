"""In which order clips are measured: blocks of one clip in every entry, in orders that are balanced."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One clip in every entry, one after another.

    Attributes:
        number: of the pass, from 0.
        clip: place of the clip.
        order: names of the entries.
    """

    number: int
    clip: int
    order: tuple[str, ...]


def plan_blocks(
    names: Sequence[str], n_clips: int, *, passes: int, timing: Sequence[int] | None = None
) -> tuple[Block, ...]:
    """Plan passes over the clips.

    Two entries are heard in the orders A B, B A, B A, A B and so on, and each clip in the other order from pass to
    pass, so that a drift of the machine's speed falls on all entries alike. Of more entries each pair of clips has
    an order of its own, and the same backwards, so that each entry follows each other equally often: what one
    leaves in the caches, and how warm it leaves the CPU, falls on all alike too.

    Source: Williams 1949, "Experimental designs balanced for the estimation of residual effects of treatments",
    Australian Journal of Scientific Research A 2, 149-168.

    Args:
        names: of the entries.
        n_clips: all of them are heard in the first pass.
        passes: how many.
        timing: places of the clips that the later passes take; None takes all.
    """
    first = tuple(range(n_clips))
    later = first if timing is None else tuple(timing)
    return tuple(
        Block(number=number, clip=clip, order=_order(names, clip, number))
        for number in range(passes)
        for clip in (later if number else first)
    )


def _order(names: Sequence[str], clip: int, number: int) -> tuple[str, ...]:
    order = tuple(names[place] for place in _williams_row(len(names), clip // 2))
    return order if (clip + number) % 2 == 0 else order[::-1]


def _williams_row(n_entries: int, row: int) -> tuple[int, ...]:
    """Return a row of Williams' square: 0, 1, n-1, 2, n-2 and so on, and in each row the next numbers.

    With the rows backwards each number stands next to each other twice on either side, whether n is odd or even.
    """
    zigzag = ((step + 1) // 2 if step % 2 else -step // 2 for step in range(n_entries))
    return tuple((place + row) % n_entries for place in zigzag)


def choose_timing_clips(lengths_s: Sequence[float], n_wanted: int, *, seed: int) -> tuple[int, ...]:
    """Choose clips to time, as long and as short as all of them are.

    Clips are put in order of their length and cut into as many parts as clips are wanted; each part gives one by
    chance (stratified sampling).

    Args:
        lengths_s: of all clips.
        n_wanted: clips; all of them where there are no more.
        seed: chooses within the parts.

    Returns:
        Places of the clips, in their order.
    """
    if n_wanted >= len(lengths_s):
        return tuple(range(len(lengths_s)))
    rng = np.random.default_rng(seed)
    parts = np.array_split(np.argsort(lengths_s, kind="stable"), n_wanted)
    return tuple(sorted(int(rng.choice(part)) for part in parts))
