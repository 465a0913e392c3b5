"""In which order clips are measured: blocks of one clip in every entry, turned round from block to block."""

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

    The order of the entries turns round from clip to clip, and a clip's from pass to pass: A B, B A, A B and so on.
    A drift of the machine's speed then falls on all entries alike, and so does what one leaves in the caches
    for the next.

    Args:
        names: of the entries, in the order of the first block.
        n_clips: all of them are heard in the first pass.
        passes: how many.
        timing: places of the clips that the later passes take; None takes all.
    """
    first = tuple(range(n_clips))
    later = first if timing is None else tuple(timing)
    return tuple(
        Block(number=number, clip=clip, order=_turned(names, clip + number))
        for number in range(passes)
        for clip in (later if number else first)
    )


def _turned(names: Sequence[str], turns: int) -> tuple[str, ...]:
    return tuple(names) if turns % 2 == 0 else tuple(reversed(names))


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
