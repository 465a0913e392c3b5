"""Word errors, against jiwer, Whisper's normalizers and an edit distance of our own."""

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.statistics.accuracy import WordErrors, add_errors, normalize, normalize_basic, word_errors

WORDS = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=8).map(" ".join)
LANGUAGES = st.sampled_from(["en", "fr", "zh", "ja", "th", None])


def edit_distance(reference: list[str], hypothesis: list[str]) -> int:
    row = list(range(len(hypothesis) + 1))
    for i, word in enumerate(reference, start=1):
        previous, row[0] = row[0], i
        for j, other in enumerate(hypothesis, start=1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (word != other))
    return row[-1]


@pytest.mark.parametrize(
    ("language", "one", "other"),
    [
        ("en", "Twenty two boats.", "22 boats"),
        ("en", "She's got the colour, Mr. Smith!", "she has got the color mister smith"),
        ("en", "It costs $5.", "it costs five dollars"),
        ("fr", "Où es-tu ?", "où es tu"),
        ("zh", "這個學生說漢語", "这个学生说汉语"),
        ("yue", "學生", "学生"),
        (None, "Hello, World", "hello world"),
        ("en", "It\u2019s the dog\u2019s", "it's the dog's"),
        ("fr", "l\u2019homme d\u02bcici", "l'homme d'ici"),
        ("ar", "كَتَبَ الدَّرْسَ", "كتب الدرس"),
        ("he", "שָׁלוֹם", "שלום"),
    ],
)
def test_spellings_of_the_same_words_are_no_errors(language: str | None, one: str, other: str) -> None:
    assert normalize(one, language) == normalize(other, language)


@pytest.mark.parametrize(
    ("language", "text", "n_words"),
    [
        ("hi", "नमस्ते दुनिया", 2),
        ("ta", "வணக்கம் உலகம்", 2),
        ("ml", "നമസ്കാരം", 1),
        ("ar", "مُحَمَّدٌ", 1),
        ("he", "בְּרֵאשִׁית", 1),
        ("vi", "Tiếng Việt", 2),
    ],
)
def test_signs_within_a_word_do_not_cut_it(language: str, text: str, n_words: int) -> None:
    assert len(normalize(text, language).split()) == n_words


def test_a_wrong_vowel_sign_is_an_error() -> None:
    assert normalize("कि", "hi") != normalize("की", "hi")
    assert normalize_basic("कि") == normalize_basic("की")


def test_without_the_english_normalizer_numbers_stay_as_they_are() -> None:
    assert normalize("twenty two", None) != normalize("22", None)


@pytest.mark.parametrize("language", ["zh", "ja", "th"])
def test_languages_without_spaces_are_counted_by_character(language: str) -> None:
    text = {"zh": "你好世界", "ja": "こんにちは", "th": "สวัสดี"}[language]
    assert word_errors(normalize(text, language), normalize(text[:-2], language)).errors >= 1
    assert len(normalize(text, language).split()) > 1


def test_japanese_is_counted_in_characters_not_words() -> None:
    found = word_errors(normalize("今日は晴れ", "ja"), normalize("今日は雨", "ja"))
    assert (found.errors, found.reference_words) == (2, 5)


def test_japanese_is_not_turned_into_chinese_characters() -> None:
    assert normalize("東京駅", "ja") == "東 京 駅"


@given(WORDS, WORDS)
def test_errors_are_the_edit_distance(reference: str, hypothesis: str) -> None:
    found = word_errors(reference, hypothesis)
    assert found.errors == edit_distance(reference.split(), hypothesis.split())
    assert found.reference_words == len(reference.split())


@given(WORDS.filter(bool), WORDS)
def test_the_rate_is_that_of_jiwer(reference: str, hypothesis: str) -> None:
    assert word_errors(reference, hypothesis).wer == pytest.approx(jiwer.wer(reference, hypothesis))


@given(WORDS, WORDS)
def test_swapping_the_texts_swaps_insertions_and_deletions(reference: str, hypothesis: str) -> None:
    forward, backward = word_errors(reference, hypothesis), word_errors(hypothesis, reference)
    assert forward.errors == backward.errors
    assert forward.insertions - forward.deletions == backward.deletions - backward.insertions


@given(st.text(max_size=30), LANGUAGES)
def test_a_text_has_no_errors_against_itself(text: str, language: str | None) -> None:
    assert word_errors(normalize(text, language), normalize(text, language)).errors == 0


@given(st.text(max_size=30), LANGUAGES)
def test_a_normalized_text_has_single_spaces(text: str, language: str | None) -> None:
    normalized = normalize(text, language)
    assert normalized == " ".join(normalized.split())


def test_words_in_the_transcript_of_silence_are_insertions() -> None:
    found = word_errors("", "thank you")
    assert (found.insertions, found.reference_words, found.wer) == (2, 0, float("inf"))


def test_an_empty_transcript_of_silence_has_no_errors() -> None:
    assert word_errors("", "").wer == 0


@given(st.lists(st.tuples(WORDS, WORDS), max_size=6))
def test_errors_of_clips_add_up_to_the_rate_of_all_clips(pairs: list[tuple[str, str]]) -> None:
    total = add_errors(word_errors(*pair) for pair in pairs)
    assert total.errors == sum(edit_distance(a.split(), b.split()) for a, b in pairs)
    assert total.reference_words == sum(len(a.split()) for a, _ in pairs)


def test_no_clips_have_no_errors() -> None:
    assert add_errors([]) == WordErrors(substitutions=0, deletions=0, insertions=0, reference_words=0)
