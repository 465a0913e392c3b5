"""Transcripts become tokens; those that cannot teach are refused in one line."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sottovoce.errors import InputError
from sottovoce.runtime.decoding.tokenizer import MAX_TOKENS, WhisperTokenizer
from sottovoce.speech.clips import Clip, ClipSet
from sottovoce.speech.loading import LoadedClip
from sottovoce.train.decoder.labels import as_sentence, label_clips, without_capitals


@pytest.fixture(scope="module")
def tokenizer(tiny: Path) -> WhisperTokenizer:
    return WhisperTokenizer.load(tiny)


def clip(text: str | None, language: str | None = None, name: str = "a") -> LoadedClip:
    return LoadedClip(
        clip=Clip(clip_id=name, audio=b"", text=text, language=language), wave=np.zeros(16_000, np.float32)
    )


def test_a_transcript_follows_the_prompt_of_its_language_and_ends(tokenizer: WhisperTokenizer) -> None:
    (labelled,) = label_clips([clip("a tone", "de")], tokenizer, language="en").clips
    assert tokenizer.text(labelled.labels) == " a tone"
    assert labelled.labels[-1] == tokenizer.special.end
    special = tokenizer.special
    assert labelled.prompt[:2] == (special.start, special.languages["de"])
    assert labelled.prompt[-1] == special.no_timestamps


def test_clips_without_a_language_take_the_one_given(tokenizer: WhisperTokenizer) -> None:
    (labelled,) = label_clips([clip("ein Ton")], tokenizer, language="de").clips
    assert labelled.language == "de"


def set_of(*texts: str | None) -> ClipSet:
    return ClipSet(name="mine", clips=tuple(clip(text).clip for text in texts))


@pytest.mark.parametrize(
    ("texts", "lowered"),
    [
        (["A TONE", "NO TONE"], ["A tone", "No tone"]),
        (["A TONE IN", "1984", None, "O.K."], ["A tone in", "1984", None, "O.k."]),
        (["1º DE MAYO"], ["1º de mayo"]),
    ],
)
def test_transcripts_that_are_all_capitals_are_trained_in_lower_case(
    texts: list[str | None], lowered: list[str | None]
) -> None:
    assert [each.text for each in without_capitals(set_of(*texts)).clips] == lowered


@pytest.mark.parametrize("texts", [["A TONE", "No tone"], ["1984"], ["我在看TV", "我用AI工作"], [None]])
def test_other_transcripts_are_trained_as_they_are(texts: list[str | None]) -> None:
    speech = set_of(*texts)
    assert without_capitals(speech) is speech


def test_the_english_pronoun_stays_a_capital() -> None:
    assert as_sentence("AND I SAID I'M IN") == "And I said I'm in"


def test_clips_without_transcripts_are_refused(tokenizer: WhisperTokenizer) -> None:
    with pytest.raises(
        InputError, match=r"^1 of 2 clips have no transcript, the first is b; .*heal needs none"
    ):
        label_clips([clip("a tone"), clip(" ", name="b")], tokenizer, language=None)


@pytest.mark.parametrize(
    ("text", "language", "found"),
    [("Guten Morgen", "zh", "Latin"), ("早上好", "en", "Chinese"), ("доброе", "fr", "Cyrillic")],
)
def test_transcripts_in_another_script_are_refused(
    tokenizer: WhisperTokenizer, text: str, language: str, found: str
) -> None:
    with pytest.raises(
        InputError, match=f"100 % of the letters of the transcripts in {language} .* mostly {found}"
    ):
        label_clips([clip(text, language)], tokenizer, language=None)


def test_the_scripts_of_a_language_are_listed_in_words(tokenizer: WhisperTokenizer) -> None:
    with pytest.raises(
        InputError, match="in ja are not Chinese, Hiragana or Katakana but mostly Latin; check the language"
    ):
        label_clips([clip("Guten Morgen", "ja")], tokenizer, language=None)


def test_transcripts_that_do_not_fit_the_decoder_are_left_out(tokenizer: WhisperTokenizer) -> None:
    long = "tone " * MAX_TOKENS
    found = label_clips([clip("a tone"), clip(long, name="b")], tokenizer, language=None)
    assert found.too_long == ("b",)
    assert len(found.clips) == 1
    with pytest.raises(InputError, match=f"every transcript has more than {MAX_TOKENS} tokens, such as b"):
        label_clips([replace(clip(long, name="b"))], tokenizer, language=None)
