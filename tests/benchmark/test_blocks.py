"""The order of blocks, and the choice of clips that are timed."""

from collections import Counter
from itertools import pairwise, permutations

from hypothesis import given
from hypothesis import strategies as st

from sottovoce.benchmark.timing.blocks import choose_timing_clips, plan_blocks

LENGTHS = st.lists(st.floats(0.1, 30), min_size=1, max_size=40)


def test_two_entries_take_turns_from_clip_to_clip_and_from_pass_to_pass() -> None:
    blocks = plan_blocks(("a", "b"), 2, passes=2)
    assert [block.order for block in blocks] == [("a", "b"), ("b", "a"), ("b", "a"), ("a", "b")]
    assert [(block.number, block.clip) for block in blocks] == [(0, 0), (0, 1), (1, 0), (1, 1)]


@given(st.integers(2, 13))
def test_every_entry_follows_every_other_equally_often(n_entries: int) -> None:
    names = [str(index) for index in range(n_entries)]
    orders = [block.order for block in plan_blocks(names, 2 * n_entries, passes=1)]
    followed = Counter(pair for order in orders for pair in pairwise(order))
    assert followed == dict.fromkeys(permutations(names, 2), 2)
    assert Counter(order[0] for order in orders) == Counter(names * 2)


@given(st.integers(2, 13), st.integers(0, 40))
def test_a_clip_is_measured_in_both_orders(n_entries: int, clip: int) -> None:
    names = [str(index) for index in range(n_entries)]
    forth, back = (block.order for block in plan_blocks(names, clip + 1, passes=2) if block.clip == clip)
    assert forth == back[::-1]


@given(
    st.lists(st.text(min_size=1, max_size=3), unique=True, max_size=5), st.integers(0, 5), st.integers(1, 4)
)
def test_every_entry_transcribes_every_clip_once_in_every_pass(
    names: list[str], n_clips: int, passes: int
) -> None:
    measured = Counter(
        (block.number, block.clip, name)
        for block in plan_blocks(names, n_clips, passes=passes)
        for name in block.order
    )
    assert measured == Counter(
        (number, clip, name) for number in range(passes) for clip in range(n_clips) for name in names
    )


def test_only_timed_clips_are_in_later_passes() -> None:
    blocks = plan_blocks(("a", "b"), 4, passes=3, timing=(1, 3))
    assert [(block.number, block.clip) for block in blocks] == [
        (0, 0), (0, 1), (0, 2), (0, 3), (1, 1), (1, 3), (2, 1), (2, 3),
    ]  # fmt: skip
    orders = {clip: [block.order for block in blocks if block.clip == clip] for clip in (1, 3)}
    assert all({("a", "b"), ("b", "a")} == set(found) for found in orders.values())


@given(LENGTHS, st.integers(1, 40), st.integers(0, 9))
def test_timed_clips_have_the_lengths_of_all_clips(lengths: list[float], wanted: int, seed: int) -> None:
    chosen = choose_timing_clips(lengths, wanted, seed=seed)
    assert chosen == tuple(sorted(set(chosen)))
    assert len(chosen) == min(wanted, len(lengths))
    ranks = sorted(
        sorted(range(len(lengths)), key=lambda index: lengths[index]).index(index) for index in chosen
    )
    largest_part = -(-len(lengths) // len(chosen))
    assert all(after - before < 2 * largest_part for before, after in pairwise(ranks))


def test_the_same_seed_chooses_the_same_clips() -> None:
    lengths = [float(index % 7) for index in range(50)]
    assert choose_timing_clips(lengths, 10, seed=3) == choose_timing_clips(lengths, 10, seed=3)
