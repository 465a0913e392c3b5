"""Words from tokens: how they are split, timed and merged with their punctuation."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sottovoce.runtime.decoding.tokenizer import WhisperTokenizer
from sottovoce.runtime.timestamps.words import WordTokens, find_word_timings, split_to_word_tokens, to_word


@pytest.fixture(scope="module")
def tokenizer(baseline: Path) -> WhisperTokenizer:
    return WhisperTokenizer.load(baseline)


@given(
    text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd"), min_size=1)
    | st.text(" aé.,!?'-日本ไ🎈", min_size=1),
    language=st.sampled_from(["en", "fr", "ko", "zh", "ja", "th"]),
)
def test_words_are_split_as_by_faster_whisper(
    tokenizer: WhisperTokenizer, baseline: Path, text: str, language: str
) -> None:
    peer: Any = pytest.importorskip("faster_whisper.tokenizer", reason="comes with the extra peers")
    from tokenizers import Tokenizer

    theirs_base = Tokenizer.from_file(str(baseline / "tokenizer.json"))
    theirs = peer.Tokenizer(theirs_base, multilingual=True, task="transcribe", language=language)
    tokens = tokenizer.encode(text)
    assume(tokenizer.text(tokens) == text)
    assume(not re.search(r"[^\W_][.,':/][^\W_]", text))  # there we keep the word whole
    words, groups = theirs.split_to_word_tokens(list(tokens))
    ours = split_to_word_tokens(tokenizer, tokens, language)
    assert [(word.text, word.n_tokens) for word in ours] == list(zip(words, map(len, groups), strict=True))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (" It's 3.5 of 10,000.", [" It's", " 3.5", " of", " 10,000", "."]),
        (" l'homme d'ici, aujourd'hui", [" l'homme", " d'ici", ",", " aujourd'hui"]),
        (" at 12:30, dogs' names", [" at", " 12:30", ",", " dogs", "'", " names"]),
        (" twenty-five", [" twenty", "-five"]),
    ],
)
def test_numbers_and_contractions_are_whole_words(
    tokenizer: WhisperTokenizer, text: str, words: list[str]
) -> None:
    split = split_to_word_tokens(tokenizer, tokenizer.encode(text), "fr")
    assert [word.text for word in split] == words


def test_an_incomplete_character_at_the_end_is_kept(tokenizer: WhisperTokenizer) -> None:
    tokens = tokenizer.encode(" one 🎈")[:-1]
    words = split_to_word_tokens(tokenizer, tokens, "en")
    assert sum(word.n_tokens for word in words) == len(tokens)
    assert "".join(word.text for word in words) == tokenizer.text(tokens)


def timings(*segments: str, starts_s: Sequence[float]) -> list[list[tuple[str, float, float]]]:
    """Return text, start and end of words of one token each, which | separates."""
    tokens = [[WordTokens(text=text, n_tokens=1) for text in segment.split("|")] for segment in segments]
    return [
        [(word.text, round(word.start_s, 2), round(word.end_s, 2)) for word in words]
        for words in find_word_timings(tokens, starts_s)
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(" one|,| two|.", [" one,", " two."], id="closing"),
        pytest.param(" “|one|”", [" “one”"], id="quoted"),
        pytest.param(" (| -|one|)", [" ( -one)"], id="opening twice"),
        pytest.param(' one|!"| two|…| ?', [' one!"', " two", "… ?"], id="runs"),
        pytest.param(" Ça| va| ?", [" Ça", " va ?"], id="French"),
        pytest.param("。|一|、|二", ["。", "一、", "二"], id="Chinese"),
        pytest.param(" 50|%| off", [" 50%", " off"], id="percent"),
        pytest.param(" twenty|-five", [" twenty", "-five"], id="hyphen"),
        pytest.param(' one| "', [' one "'], id="opening at the end"),
    ],
)  # fmt: skip
def test_punctuation_is_merged_with_its_word(text: str, expected: list[str]) -> None:
    n_tokens = text.count("|") + 1
    words = timings(text, starts_s=[0.2 * i for i in range(n_tokens + 1)])[0]
    assert [word for word, _, _ in words] == expected


def test_punctuation_takes_no_time() -> None:
    words = timings(" (|one|)| two|.", starts_s=[0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert words == [[(" (one)", 0.2, 0.4), (" two.", 0.6, 0.8)]]


def test_a_word_after_a_pause_and_a_sentence_is_truncated() -> None:
    words = timings(" one| two|.| three| four", starts_s=[0.0, 0.3, 0.6, 0.7, 3.0, 3.3])
    assert words == [[(" one", 0.0, 0.3), (" two.", 0.3, 0.6), (" three", 2.4, 3.0), (" four", 3.0, 3.3)]]


def test_the_first_word_does_not_include_the_silence_before_it() -> None:
    words = timings(" one| two| three", starts_s=[0.0, 5.0, 5.3, 5.6])
    assert words == [[(" one", 4.4, 5.0), (" two", 5.0, 5.3), (" three", 5.3, 5.6)]]


def test_the_second_segment_does_not_include_the_silence_before_it() -> None:
    words = timings(" one| two", " three| four", starts_s=[0.0, 0.3, 0.6, 4.0, 4.3])
    assert words == [[(" one", 0.0, 0.3), (" two", 0.3, 0.6)], [(" three", 3.4, 4.0), (" four", 4.0, 4.3)]]


def test_a_long_second_word_leaves_room_for_the_first() -> None:
    words = timings(" one| two| 3| 4| 5| 6", starts_s=[0.0, 1.5, 5.0, 5.3, 5.6, 5.9, 6.2])
    assert words[0][:2] == [(" one", 3.8, 4.4), (" two", 4.4, 5.0)]


def test_slow_speech_is_not_truncated() -> None:
    words = timings(" one| two| three", starts_s=[0.0, 0.9, 1.8, 2.7])
    assert words == [[(" one", 0.0, 0.9), (" two", 0.9, 1.8), (" three", 1.8, 2.7)]]


def test_words_of_zero_duration_are_not_moved() -> None:
    assert timings(" one| two", starts_s=[0.0, 0.0, 0.0]) == [[(" one", 0.0, 0.0), (" two", 0.0, 0.0)]]


def test_the_probability_of_a_word_is_the_geometric_mean_of_its_tokens() -> None:
    tokens = [WordTokens(text=" one", n_tokens=2), WordTokens(text=" two", n_tokens=1)]
    (found,) = find_word_timings([tokens], [0.0, 0.1, 0.2, 0.3])
    words = [to_word(timing, [0.9, 0.4, 0.0]) for timing in found]
    assert words[0].probability == pytest.approx(0.6)
    assert 0 < words[1].probability < 1e-6
