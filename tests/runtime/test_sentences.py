"""Words are split into sentences: complete, in order, not too long to be shown."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.runtime.timestamps.sentences import MAX_SENTENCE_S, MIN_SENTENCE_S, split_into_sentences
from sottovoce.runtime.timestamps.words import WordTiming


def words_of(text: str, *, word_s: float = 0.4, pauses: dict[int, float] | None = None) -> list[WordTiming]:
    """Return words that follow each other, with pauses before some of them."""
    timings, time_s = [], 0.0
    for index, word in enumerate(text.split()):
        time_s += (pauses or {}).get(index, 0.0)
        timings.append(
            WordTiming(
                text=f" {word}", first_token=index, end_token=index + 1, start_s=time_s, end_s=time_s + word_s
            )
        )
        time_s += word_s
    return timings


def texts(timings: list[WordTiming]) -> list[str]:
    return ["".join(timing.text for timing in sentence).strip() for sentence in split_into_sentences(timings)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Where was he born? She never said so.", ["Where was he born?", "She never said so."]),
        ('"Come at once!" She said no more.', ['"Come at once!"', "She said no more."]),
        ("They met Mr. Hill and J. Smith there.", ["They met Mr. Hill and J. Smith there."]),
        ("Some things, i.e. boats and ... well boats.", ["Some things, i.e. boats and ... well boats."]),
        ("So did you and I. Then we all left.", ["So did you and I.", "Then we all left."]),
        ("什么 时候 来 的？ 他 昨天 来 的。", ["什么 时候 来 的？", "他 昨天 来 的。"]),  # noqa: RUF001
    ],
)
def test_sentences_end_at_punctuation(text: str, expected: list[str]) -> None:
    assert texts(words_of(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No. I do not know him.", ["No. I do not know him."]),
        ("I do not know him. No.", ["I do not know him. No."]),
    ],
)
def test_a_short_sentence_is_merged_with_its_neighbour(text: str, expected: list[str]) -> None:
    assert texts(words_of(text)) == expected


def test_a_long_sentence_is_split_after_a_comma() -> None:
    first, second = (
        "one two three four five six seven eight nine,",
        "ten eleven twelve thirteen fourteen, fifteen",
    )
    assert texts(words_of(f"{first} {second}", word_s=0.6)) == [first, second]


def test_a_long_sentence_without_commas_is_split_at_its_longest_pause() -> None:
    words = "one two three four five six seven eight nine ten"
    assert texts(words_of(words, word_s=0.7, pauses={4: 0.9, 6: 0.4})) == [
        "one two three four",
        "five six seven eight nine ten",
    ]


def test_a_long_sentence_without_commas_or_pauses_is_split_in_its_middle() -> None:
    assert texts(words_of("one two three four five six seven eight", word_s=1.0)) == [
        "one two three four",
        "five six seven eight",
    ]


def test_no_words_give_no_sentences() -> None:
    assert split_into_sentences([]) == ()


WORDS = st.lists(
    st.tuples(
        st.sampled_from(["so", "So", "well,", "no.", "No!", "Mr.", '"hm?"', "。", "a", "..."]),
        st.floats(0, 3),
        st.floats(0, 12),
    ),
    max_size=40,
)


@given(WORDS)
def test_no_word_is_lost_and_only_a_single_word_is_longer_than_the_limit(
    words: list[tuple[str, float, float]],
) -> None:
    timings, time_s = [], 0.0
    for index, (text, pause_s, word_s) in enumerate(words):
        start_s, time_s = time_s + pause_s, time_s + pause_s + word_s
        timings.append(
            WordTiming(text=f" {text}", first_token=index, end_token=index + 1, start_s=start_s, end_s=time_s)
        )
    sentences = split_into_sentences(timings)
    assert [timing for sentence in sentences for timing in sentence] == timings
    for sentence in sentences:
        assert len(sentence) == 1 or sentence[-1].end_s - sentence[0].start_s <= MAX_SENTENCE_S


@given(WORDS)
def test_a_short_sentence_is_not_merged_only_if_the_result_is_too_long(
    words: list[tuple[str, float, float]],
) -> None:
    timings = words_of(" ".join(text for text, _, _ in words), word_s=0.3)
    sentences = split_into_sentences(timings)
    lengths = [sentence[-1].end_s - sentence[0].start_s for sentence in sentences]
    both = [after[-1].end_s - before[0].start_s for before, after in pairwise(sentences)]
    for index, length_s in enumerate(lengths[:-1]):
        assert length_s >= MIN_SENTENCE_S or both[index] > MAX_SENTENCE_S
