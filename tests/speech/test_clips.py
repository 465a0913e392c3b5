import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.errors import InputError, SpecError
from sottovoce.speech.clips import Clip, ClipSet, count_by, filter_clips, select_clips, spread_over_languages

CLIPS = st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=30).map(
    lambda ids: [Clip(clip_id=clip_id, audio=b"") for clip_id in ids]
)
SEEDS = st.integers(min_value=0, max_value=2**32)


def ids_of(clips: tuple[Clip, ...]) -> list[str]:
    return [clip.clip_id for clip in clips]


@given(clips=CLIPS, n=st.integers(min_value=0, max_value=40), seed=SEEDS)
def test_a_choice_is_the_same_again(clips: list[Clip], n: int, seed: int) -> None:
    assert select_clips(clips, n, seed=seed) == select_clips(clips, n, seed=seed)


@given(clips=CLIPS, n=st.integers(min_value=0, max_value=40), seed=SEEDS, order=st.randoms())
def test_the_order_of_the_set_does_not_matter(
    clips: list[Clip], n: int, seed: int, order: random.Random
) -> None:
    shuffled = list(clips)
    order.shuffle(shuffled)
    assert select_clips(shuffled, n, seed=seed) == select_clips(clips, n, seed=seed)


@given(clips=CLIPS, n=st.integers(min_value=0, max_value=40), seed=SEEDS)
def test_a_smaller_choice_begins_a_larger_one(clips: list[Clip], n: int, seed: int) -> None:
    larger = select_clips(clips, n + 1, seed=seed)
    assert select_clips(clips, n, seed=seed) == larger[:n]


@given(clips=CLIPS, seed=SEEDS)
def test_choosing_all_is_a_permutation(clips: list[Clip], seed: int) -> None:
    chosen = select_clips(clips, None, seed=seed)
    assert sorted(ids_of(chosen)) == sorted(clip.clip_id for clip in clips)


@given(clips=CLIPS, seed=SEEDS, data=st.data())
def test_the_rest_of_the_set_does_not_change_who_comes_first(
    clips: list[Clip], seed: int, data: st.DataObject
) -> None:
    kept = [clip for clip in clips if data.draw(st.booleans())]
    order = ids_of(select_clips(clips, None, seed=seed))
    among_kept = ids_of(select_clips(kept, None, seed=seed))
    assert among_kept == [clip_id for clip_id in order if clip_id in set(among_kept)]


def test_another_seed_chooses_others() -> None:
    clips = [Clip(clip_id=str(number), audio=b"") for number in range(100)]
    assert set(select_clips(clips, 10, seed=1)) != set(select_clips(clips, 10, seed=2))


def test_every_clip_is_chosen_about_equally_often() -> None:
    clips = [Clip(clip_id=str(number), audio=b"") for number in range(10)]
    counts = count_by(clip.clip_id for seed in range(400) for clip in select_clips(clips, 5, seed=seed))
    assert all(140 < count < 260 for count in counts.values())


def test_a_split_is_part_of_a_set_that_has_splits() -> None:
    clips = tuple(Clip(clip_id=split, audio=b"", split=split) for split in ("calib", "eval"))
    speech = ClipSet(name="speech", clips=clips)
    assert speech.splits() == {"calib", "eval"}
    assert speech.of_split("eval") == ClipSet(name="speech", clips=clips[1:])


def test_without_splits_each_split_is_the_whole_set() -> None:
    speech = ClipSet(name="speech", clips=(Clip(clip_id="a", audio=b""),))
    assert speech.of_split("eval") is speech


def test_counts_name_the_most_frequent_first_and_the_unknown() -> None:
    assert list(count_by(["de", "en", None, "en", "fr"]).items()) == [
        ("en", 2),
        ("de", 1),
        ("fr", 1),
        ("unknown", 1),
    ]


MIXED = ClipSet(
    name="mixed",
    clips=(
        Clip(clip_id="a", audio=b"", language="en", split="calib"),
        Clip(clip_id="b", audio=b"", language="en", split="eval"),
        Clip(clip_id="c", audio=b"", language="de", split="eval"),
    ),
)


def test_clips_that_meet_every_condition_are_kept() -> None:
    assert ids_of(filter_clips(MIXED, ["language=en", "split=eval"]).clips) == ["b"]
    assert filter_clips(MIXED, []) == MIXED


def test_a_condition_that_no_clip_meets_names_what_there_is() -> None:
    with pytest.raises(InputError, match=r"mixed has no clip with language=fr.*\(it has en, de\)"):
        filter_clips(MIXED, ["language=fr"])


@pytest.mark.parametrize("condition", ["language", "lang=en", "duration_s=3"])
def test_a_condition_on_nothing_known_is_refused(condition: str) -> None:
    with pytest.raises(SpecError, match=f"--where {condition}: want KEY=VALUE"):
        filter_clips(MIXED, [condition])


@given(st.lists(st.sampled_from(["en", "de", "ja", None]), max_size=40))
def test_each_beginning_is_spread_evenly_over_languages(languages: list[str | None]) -> None:
    clips = [Clip(clip_id=str(i), audio=b"", language=language) for i, language in enumerate(languages)]
    spread = spread_over_languages(clips)
    assert sorted(spread, key=lambda clip: int(clip.clip_id)) == clips
    left = Counter(languages)
    taken: Counter[str | None] = Counter()
    for clip in spread:
        taken[clip.language] += 1
        unfinished = [language for language in left if taken[language] < left[language]]
        assert all(taken[language] >= taken[clip.language] - 1 for language in unfinished)
    for language in left:
        numbers = [int(clip.clip_id) for clip in spread if clip.language == language]
        assert numbers == sorted(numbers)
