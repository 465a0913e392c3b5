"""Words to sentences: whole, in order, not too long to be shown."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.runtime.timestamps.sentences import LONGEST_S, SHORTEST_S, cut_into_sentences
from sottovoce.runtime.timestamps.words import Span


def spoken(text: str, *, word_s: float = 0.4, pauses: dict[int, float] | None = None) -> list[Span]:
    """Place words one behind the other, with pauses before some of them."""
    spans, time_s = [], 0.0
    for place, word in enumerate(text.split()):
        time_s += (pauses or {}).get(place, 0.0)
        spans.append(
            Span(text=f" {word}", first=place, behind=place + 1, start_s=time_s, end_s=time_s + word_s)
        )
        time_s += word_s
    return spans


def texts(spans: list[Span]) -> list[str]:
    return ["".join(span.text for span in sentence).strip() for sentence in cut_into_sentences(spans)]


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
def test_sentences_end_at_their_marks(text: str, expected: list[str]) -> None:
    assert texts(spoken(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No. I do not know him.", ["No. I do not know him."]),
        ("I do not know him. No.", ["I do not know him. No."]),
    ],
)
def test_a_word_or_two_are_shown_with_their_neighbours(text: str, expected: list[str]) -> None:
    assert texts(spoken(text)) == expected


def test_a_long_sentence_is_cut_behind_a_comma() -> None:
    first, second = (
        "one two three four five six seven eight nine,",
        "ten eleven twelve thirteen fourteen, fifteen",
    )
    assert texts(spoken(f"{first} {second}", word_s=0.6)) == [first, second]


def test_a_long_sentence_without_commas_is_cut_at_its_longest_pause() -> None:
    words = "one two three four five six seven eight nine ten"
    assert texts(spoken(words, word_s=0.7, pauses={4: 0.9, 6: 0.4})) == [
        "one two three four",
        "five six seven eight nine ten",
    ]


def test_a_long_sentence_without_either_is_cut_in_its_middle() -> None:
    assert texts(spoken("one two three four five six seven eight", word_s=1.0)) == [
        "one two three four",
        "five six seven eight",
    ]


def test_nothing_has_no_sentences() -> None:
    assert cut_into_sentences([]) == ()


WORDS = st.lists(
    st.tuples(
        st.sampled_from(["so", "So", "well,", "no.", "No!", "Mr.", '"hm?"', "。", "a", "..."]),
        st.floats(0, 3),
        st.floats(0, 12),
    ),
    max_size=40,
)


@given(WORDS)
def test_no_word_is_lost_and_none_but_a_single_one_is_too_long(words: list[tuple[str, float, float]]) -> None:
    spans, time_s = [], 0.0
    for place, (text, pause_s, word_s) in enumerate(words):
        start_s, time_s = time_s + pause_s, time_s + pause_s + word_s
        spans.append(Span(text=f" {text}", first=place, behind=place + 1, start_s=start_s, end_s=time_s))
    sentences = cut_into_sentences(spans)
    assert [span for sentence in sentences for span in sentence] == spans
    for sentence in sentences:
        assert len(sentence) == 1 or sentence[-1].end_s - sentence[0].start_s <= LONGEST_S


@given(WORDS)
def test_short_ones_stand_alone_only_where_no_neighbour_has_room(
    words: list[tuple[str, float, float]],
) -> None:
    spans = spoken(" ".join(text for text, _, _ in words), word_s=0.3)
    sentences = cut_into_sentences(spans)
    lengths = [sentence[-1].end_s - sentence[0].start_s for sentence in sentences]
    both = [after[-1].end_s - before[0].start_s for before, after in pairwise(sentences)]
    for place, length_s in enumerate(lengths[:-1]):
        assert length_s >= SHORTEST_S or both[place] > LONGEST_S
