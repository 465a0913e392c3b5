"""Languages by the codes, locales and names that users and speech sets give."""

from pathlib import Path

import pytest

from sottovoce.errors import SpecError
from sottovoce.languages import find_language, parse_language, to_whisper_language
from sottovoce.runtime import TranscribeOptions
from sottovoce.speech.clips import Clip, ClipSet, filter_clips
from sottovoce.speech.sets import read_speech


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("en", "en"),
        ("en-US", "en"),
        ("EN_us", "en"),
        ("English", "en"),
        (" german ", "de"),
        ("zh-CN", "zh"),
        ("EN", "en"),
        ("eng", "en"),
        ("de-DE", "de"),
        ("German", "de"),
        ("Deutsch", "de"),
        ("deu", "de"),
        ("ger", "de"),
        ("GER", "de"),
        ("spa-MX", "es"),
        ("haw", "haw"),
        ("cmn_hans_cn", "zh"),
        ("mandarin", "zh"),
        ("yue", "yue"),
        ("iw", "he"),
        ("jv", "jw"),
        ("nb-NO", "no"),
        ("nn-NO", "nn"),
        ("kab", "kab"),
        ("Mandarin Chinese", "zh"),
        ("Cantonese Chinese", "yue"),
        ("cantonese_chinese", "yue"),
        ("Thai", "th"),
        ("Lao", "lo"),
        ("Burmese", "my"),
        ("Filipino", "tl"),
        ("Norwegian", "no"),
        ("Haitian-Creole", "ht"),
        ("Northern-Sotho", None),
        ("Sorani-Kurdish", None),
        ("Odia", None),
        ("3", None),
        ("", None),
    ],
)
def test_languages_become_codes_of_whisper(name: str, code: str | None) -> None:
    assert find_language(name) == code


def test_every_name_of_whisper_is_known() -> None:
    whisper = pytest.importorskip("transformers.models.whisper.tokenization_whisper")
    codes = {name: find_language(name) for name in whisper.TO_LANGUAGE_CODE}
    assert codes == whisper.TO_LANGUAGE_CODE


def test_an_unknown_language_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    assert [to_whisper_language("Klingon of old") for _ in range(3)] == [None] * 3
    assert [record.getMessage() for record in caplog.records] == [
        "Whisper has no language 'Klingon of old'; its clips count as of unknown language"
    ]


def test_every_code_of_whisper_is_kept() -> None:
    whisper = pytest.importorskip("transformers.models.whisper.tokenization_whisper")
    assert {code: find_language(code) for code in whisper.LANGUAGES} == {
        code: code for code in whisper.LANGUAGES
    }


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("Germany", "did you mean German (de)"),
        ("englich", "did you mean English (en)"),
        ("Portugese", "did you mean Portuguese (pt)"),
        ("Klingon of old", "unknown language Klingon of old; give a code or a name, such as de or German"),
    ],
)
def test_an_unknown_language_is_refused_with_the_nearest_names(name: str, near: str) -> None:
    with pytest.raises(SpecError) as refused:
        parse_language(name)
    assert near in str(refused.value)
    assert "\n" not in str(refused.value)


NAMES = ["German", "german", "DE", "de-DE", "de_AT", "deu", "ger", "Deutsch", " de "]


@pytest.mark.parametrize("name", NAMES)
def test_options_manifests_and_filters_understand_the_same_names(name: str, tmp_path: Path) -> None:
    assert TranscribeOptions(language=name).language == "de"
    manifest = tmp_path / "m.jsonl"
    manifest.write_text(f'{{"audio": "a.wav", "text": "a", "language": "{name}"}}\n', encoding="utf-8")
    assert read_speech(str(manifest)).clips[0].language == "de"
    german = Clip(clip_id="a", audio=b"", language="de")
    clips = ClipSet(name="set", clips=(german, Clip(clip_id="b", audio=b"", language="en")))
    assert filter_clips(clips, [f"language={name}"]).clips == (german,)


@pytest.mark.parametrize("name", ["auto", "AUTO"])
def test_a_language_may_be_left_to_detection(name: str) -> None:
    assert TranscribeOptions(language=name).language == "auto"
