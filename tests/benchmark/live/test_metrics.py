"""Delays, erasure and word times, on examples whose figures follow by hand."""

import pytest

from sottovoce.benchmark.live.clock import Display
from sottovoce.benchmark.live.metrics import laal, summarize_delays, word_delays
from sottovoce.benchmark.live.replay import FinalWord, replay
from sottovoce.benchmark.live.words import ReferenceWord, reference_words
from sottovoce.runtime.live.events import Committed, Partial, Utterance
from sottovoce.runtime.transcript import Segment, Word
from sottovoce.statistics.word_alignment import match


def words(text: str) -> tuple[Word, ...]:
    return tuple(Word(text=f" {each}", start_s=0.0, end_s=0.0, probability=0.9) for each in text.split())


def partial(at_s: float, text: str) -> Display:
    return Display(shown_s=at_s, events=(Partial(words=words(text), audio_s=at_s),))


def committed(at_s: float, text: str, tail: str = "") -> Display:
    events = (Committed(words=words(text), audio_s=at_s), Partial(words=words(tail), audio_s=at_s))
    return Display(shown_s=at_s, events=events)


def test_a_word_is_shown_when_it_first_stands_at_its_place() -> None:
    seen = replay([
        partial(1.0, "the cat"),
        partial(1.5, "the bat sat"),
        committed(2.0, "the", "cat sat on"),
        committed(2.5, "cat sat on"),
    ])  # fmt: skip
    assert [(word.text, word.shown_s(0.0), word.committed_s) for word in seen.words] == [
        (" the", 1.0, 2.0),
        (" cat", 1.0, 2.5),
        (" sat", 1.5, 2.5),
        (" on", 2.0, 2.5),
    ]
    assert seen.text == "the cat sat on"


def test_a_word_that_is_inserted_later_does_not_hide_the_words_behind_it() -> None:
    seen = replay([partial(1.0, "we left early"), committed(2.0, "so we left early")])
    assert [word.shown_s(0.0) for word in seen.words] == [2.0, 1.0, 1.0, 1.0]


def test_case_and_punctuation_do_not_make_another_word_but_count_as_erased() -> None:
    seen = replay([partial(1.0, "yes, Indeed"), committed(2.0, "Yes indeed.")])
    assert [word.shown_s(0.0) for word in seen.words] == [1.0, 1.0]
    assert seen.n_erased == 2


def test_erasure_counts_the_words_behind_the_first_change() -> None:
    # "the bat sat" loses "bat sat", "cat sat on" loses "on": 3 of 4 final words.
    seen = replay([
        partial(1.0, "the bat sat"),
        committed(2.0, "the", "cat sat on"),
        committed(3.0, "cat sat", "off"),
        committed(4.0, "off"),
    ])  # fmt: skip
    assert (seen.n_erased, seen.erasure) == (3, 3 / 4)


def test_words_that_only_follow_erase_nothing() -> None:
    seen = replay([partial(1.0, "a"), partial(2.0, "a b"), committed(3.0, "a", "b c"), committed(4.0, "b c")])
    assert seen.erasure == 0.0


def test_a_committed_word_that_its_utterance_lacks_is_retracted() -> None:
    def utterance(text: str) -> Display:
        segment = Segment(
            start_s=0.0,
            end_s=1.0,
            text=text,
            tokens=(),
            mean_log_probability=0.0,
            no_speech_probability=0.0,
            compression_ratio=1.0,
            words=words(text),
        )
        event = Utterance(segment=segment, language="en", language_probability=1.0, audio_s=3.0)
        return Display(shown_s=3.0, events=(event,))

    assert replay([committed(1.0, "good morning"), utterance("good morning")]).n_retracted == 0
    assert replay([committed(1.0, "good morning"), utterance("good evening")]).n_retracted == 1


def test_reference_words_have_the_times_of_the_baseline_where_it_is_right() -> None:
    spoken = [
        Word(text=" Mr.", start_s=0.0, end_s=0.4, probability=0.9),
        Word(text=" Bird's", start_s=0.5, end_s=0.9, probability=0.9),
        Word(text=" late,", start_s=1.0, end_s=1.4, probability=0.9),
    ]
    found = reference_words("MISTER BYRD'S LATE", spoken, "en")
    assert [(word.text, word.start_s, word.end_s) for word in found] == [
        ("mister", 0.0, 0.4),
        ("byrd", None, None),
        ("is", 0.5, 0.9),
        ("late", 1.0, 1.4),
    ]


def test_words_match_as_word_errors_are_counted() -> None:
    assert match(["a", "b", "c"], ["x", "a", "c"]) == {0: 1, 2: 2}
    assert match([], ["a"]) == {}
    assert match(["a"], []) == {}


def reference(*times: tuple[str, float, float]) -> list[ReferenceWord]:
    return [ReferenceWord(text=text, start_s=start_s, end_s=end_s) for text, start_s, end_s in times]


def test_delays_start_at_the_ends_of_words_and_skip_wrong_ones() -> None:
    spoken = reference(("good", 1.0, 1.3), ("day", 1.4, 1.8), ("sir", 4.0, 4.5))
    final = [
        FinalWord(text=" Good", seen_s=(0.4, 1.5), committed_s=2.0),
        FinalWord(text=" bay.", seen_s=(), committed_s=2.5),
        FinalWord(text=" Sir.", seen_s=(4.7,), committed_s=5.2),
    ]
    found = word_delays(spoken, final, "en")
    assert found.committed == pytest.approx((0.7, 0.7))
    assert found.shown == pytest.approx((0.2, 0.2))
    assert found.first_word == pytest.approx((0.5, 0.7))
    assert found.finalization == pytest.approx((0.7,))  # the last word before the first pause is wrong
    # At 0.4 s another word like the first was shown: it had not been spoken yet.
    assert [(place, shown_s) for place, _, shown_s in found.right] == [(0, 1.5), (2, 4.7)]


def test_a_word_without_times_has_no_delay() -> None:
    spoken = [*reference(("good", 1.0, 1.3)), ReferenceWord(text="day", start_s=None, end_s=None)]
    final = [FinalWord(text=f" {text}", seen_s=(), committed_s=2.0) for text in ("good", "day")]
    assert word_delays(spoken, final, "en").committed == pytest.approx((0.7,))


@pytest.mark.parametrize(
    ("delays_s", "audio_s", "n_reference", "expected"),
    [
        ((1.0, 2.0, 3.0), 3.0, 3, 1.0),
        ((1.0, 2.0, 3.0, 3.5), 3.0, 2, 1.25),
        ((1.0, 1.5), 4.0, 8, 1.0),
        ((5.0,), 3.0, 1, 5.0),
    ],
)  # as `StreamLaal` of simulstream 1.0.0 computes them
def test_laal(delays_s: tuple[float, ...], audio_s: float, n_reference: int, expected: float) -> None:
    assert laal(delays_s, audio_s, n_reference) == pytest.approx(expected)


def test_delays_are_summarized_by_quantiles() -> None:
    found = summarize_delays([float(number) for number in range(101)])
    assert found is not None
    assert (found.n, found.p50, found.p90, found.p95, found.p99) == (101, 50.0, 90.0, 95.0, 99.0)
    assert found.quantiles == pytest.approx(tuple(range(0, 101, 5)))
    assert summarize_delays([]) is None
