"""Output drift, against figures computed by hand."""

import pytest

from sottovoce.benchmark.engines.transcription import DetailedTranscript
from sottovoce.benchmark.statistics.output_drift import (
    compare_outputs,
    count_hallucinations,
    count_language_changes,
    length_ratio,
    timestamp_drift,
    token_agreement,
)
from sottovoce.runtime.transcript import Word


def words(*starts: tuple[str, float]) -> tuple[Word, ...]:
    return tuple(
        Word(text=text, start_s=start_s, end_s=start_s + 0.2, probability=1.0) for text, start_s in starts
    )


def test_a_token_of_five_that_changed_leaves_four_fifths() -> None:
    agreement, same = token_agreement([(1, 2, 3), (4, 5)], [(1, 9, 3), (4, 5)])
    assert agreement == pytest.approx(4 / 5)
    assert same == 0.5


def test_a_deleted_token_does_not_count_for_the_tokens_after_it() -> None:
    agreement, _ = token_agreement([(1, 2, 3, 4)], [(2, 3, 4)])
    assert agreement == pytest.approx(3 / 4)


def test_an_empty_transcript_agrees_only_with_an_empty_one() -> None:
    assert token_agreement([()], [()]) == (1.0, 1.0)
    assert token_agreement([()], [(1, 2)]) == (0.0, 0.0)


def test_language_changes_are_against_the_baseline_and_mistakes_against_the_set() -> None:
    found = count_language_changes(
        [("de", "de", "nl"), ("fr", "fr", "fr"), (None, "en", "cy"), ("ja", "zh", "ja")]
    )
    assert found is not None
    assert (found.n_clips, found.n_flips) == (4, 3)
    assert (found.baseline_wrong, found.variant_wrong) == (1, 1)
    assert count_language_changes([]) is None


def test_drift_matches_words_in_both_transcripts_without_case_and_punctuation() -> None:
    before = words((" Hello,", 0.0), (" big", 0.5), (" world.", 1.0))
    after = words((" hello", 0.1), (" world", 0.8))
    found = timestamp_drift([(before, after)])
    assert found is not None
    assert found.n_words == 2
    assert found.mean_s == pytest.approx(-0.05)
    assert found.median_s == pytest.approx(0.15)
    assert timestamp_drift([(before, ())]) is None


def test_a_text_of_double_length_has_ratio_two() -> None:
    found = length_ratio([("abcd", "abcdabcd"), ("ab", "ab"), ("", "invented")])
    assert found is not None
    assert found.total == pytest.approx(10 / 6)
    assert found.p5 == pytest.approx(1.05)
    assert length_ratio([("", "invented")]) is None


def test_words_in_noise_are_counted() -> None:
    (found,) = count_hallucinations({"hum": 10.0}, {"hum": ""}, {"hum": "Thank you."})
    assert (found.baseline_words, found.variant_words, found.variant_text) == (0, 2, "Thank you.")


def test_an_english_only_model_has_no_language_changes() -> None:
    transcript = DetailedTranscript(
        text="one two", tokens=(1, 2), language=None, words=words((" one", 0.0), (" two", 0.4))
    )
    found = compare_outputs("int8", ["en"], [transcript], [transcript], ())
    assert found.language is None
    assert found.token_agreement == found.same_tokens_rate == 1
    assert found.drift is not None
    assert found.drift.p95_s == 0
