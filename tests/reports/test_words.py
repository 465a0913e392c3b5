from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.results import Results
from sottovoce.reports.transcripts.changes import describe_harm, find_changes
from sottovoce.reports.transcripts.words import (
    Mark,
    MarkedWord,
    WordKind,
    align_words,
    compare_words,
)

TEXTS = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=12).map(" ".join)


@dataclass(frozen=True, slots=True)
class Lines:
    """The words of each line, without the slots where it has none."""

    reference: tuple[MarkedWord, ...]
    baseline: tuple[MarkedWord, ...]
    variant: tuple[MarkedWord, ...]


def compare(reference: str, baseline: str, variant: str) -> Lines:
    slots = compare_words(align_words(reference, baseline), align_words(reference, variant))
    lines = zip(*((slot.reference, slot.baseline, slot.variant) for slot in slots), strict=True)
    words = [tuple(word for word in line if word is not None) for line in lines] or [()] * 3
    return Lines(*words)


def marked(words: tuple[MarkedWord, ...]) -> list[tuple[str, str]]:
    return [(word.text, word.mark.value) for word in words if word.mark is not Mark.RIGHT]


def errors(words: tuple[MarkedWord, ...]) -> int:
    return sum(word.kind is not WordKind.SAME for word in words)


def test_words_are_marked_fixed_broken_and_wrong_in_both() -> None:
    diff = compare(
        reference="the harbor lights went out",
        baseline="the harper lights wend out",
        variant="the harbor lies wend",
    )
    assert marked(diff.reference) == [
        ("harbor", "fixed"),
        ("lights", "broken"),
        ("went", "wrong in both"),
        ("out", "broken"),
    ]
    assert marked(diff.variant) == [
        ("harbor", "fixed"),
        ("lies", "broken"),
        ("wend", "wrong in both"),
        ("out", "broken"),
    ]
    assert marked(diff.baseline)[0] == ("harper", "fixed")


def test_a_missing_word_is_shown_where_it_belongs() -> None:
    diff = compare("a small blue book", "a small blue book", "a small book")
    assert [(word.text, word.kind.value) for word in diff.variant][2] == ("blue", "missing")
    assert marked(diff.variant) == [("blue", "broken")]


def test_an_inserted_word_is_broken_unless_the_baseline_inserted_one_there() -> None:
    assert marked(compare("one two", "one two", "one and two").variant) == [("and", "broken")]
    assert marked(compare("one two", "one or two", "one and two").variant) == [("and", "wrong in both")]
    assert marked(compare("one two", "one or two", "one two").baseline) == [("or", "fixed")]


def test_japanese_is_marked_by_character() -> None:
    diff = compare("今 日 は", "今 日 は", "今 目 は")
    assert marked(diff.variant) == [("目", "broken")]


@given(reference=TEXTS, baseline=TEXTS, variant=TEXTS)
def test_every_word_is_marked_exactly_once(reference: str, baseline: str, variant: str) -> None:
    diff = compare(reference, baseline, variant)
    assert [word.text for word in diff.reference] == reference.split()
    for line, text in ((diff.baseline, baseline), (diff.variant, variant)):
        assert [word.text for word in line if word.kind is not WordKind.MISSING] == text.split()


@given(reference=TEXTS, baseline=TEXTS, variant=TEXTS)
def test_broken_minus_fixed_is_the_difference_in_errors(reference: str, baseline: str, variant: str) -> None:
    diff = compare(reference, baseline, variant)
    broken = Counter(word.mark for word in diff.variant)[Mark.BROKEN]
    gone = sum(word.mark is Mark.FIXED and word.kind is not WordKind.SAME for word in diff.baseline)
    assert broken - gone == errors(diff.variant) - errors(diff.baseline)


@given(text=TEXTS, reference=TEXTS)
def test_equal_transcripts_have_nothing_fixed_and_nothing_broken(text: str, reference: str) -> None:
    marks = {word.mark for word in compare(reference, text, text).variant}
    assert marks <= {Mark.RIGHT, Mark.WRONG_IN_BOTH}


def test_the_most_harmful_changes_come_first(results: Results, rows: tuple[ClipRow, ...]) -> None:
    changes = find_changes(results, rows)
    assert [change.harm for change in changes] == sorted((change.harm for change in changes), reverse=True)
    assert describe_harm(changes[0].harm) == "1 error more"
    assert len(changes) == sum(comparison.n_changed for comparison in results.comparisons)


def test_a_failed_clip_is_no_change(results: Results, rows: tuple[ClipRow, ...]) -> None:
    failed = tuple(row.model_copy(update={"error": "out of memory"}) for row in rows)
    assert find_changes(results, failed) == ()
