"""Greedy decoding against transformers, and the signs of a decoding gone wrong."""

import math
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sottovoce.reference_pipeline import OptimumPipeline, quiet_libraries
from sottovoce.runtime.audio.features import log_mel
from sottovoce.runtime.decoding.attempt import (
    MAX_NGRAM,
    NGRAM_REPEATS,
    REPEATED_TOKENS,
    Attempt,
    compression_ratio,
    prefill,
    repeats_itself,
    token_limit,
)
from sottovoce.runtime.decoding.logit_filters import LogitFilters
from sottovoce.runtime.decoding.strategies import Greedy
from sottovoce.runtime.decoding.tokenizer import MAX_TOKENS, WhisperTokenizer
from sottovoce.runtime.decoding.window_decoder import is_no_speech
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.encoder import Encoder
from sottovoce.runtime.model.load import load_decoder
from sottovoce.runtime.options import TranscribeOptions
from sottovoce.runtime.transcript import Task
from sottovoce.terms import InferencePrecision
from tests.support.tones import tone

COMPUTE = ComputeSpec(precision=InferencePrecision.F32)
PITCHES_HZ = (150.0, 340.0, 530.0)
LANGUAGE = "fr"
PROMPT = (1, 2, 3)
MIN_SPOKEN = 8


@pytest.fixture(scope="module", params=["fp32", "fp32-stateful"])
def variant(tiny_run: Path, request: pytest.FixtureRequest) -> Path:
    return tiny_run / str(request.param)


def test_greedy_decoding_gives_what_transformers_generates(variant: Path) -> None:
    encoder = Encoder.load(variant, COMPUTE)
    decoder = load_decoder(variant, COMPUTE)
    tokenizer = WhisperTokenizer.load(variant)
    special = tokenizer.special
    reference = OptimumPipeline.load(variant, COMPUTE)
    prompt = tokenizer.prompt(language=LANGUAGE, task=Task.TRANSCRIBE, with_timestamps=False)
    for pitch_hz in PITCHES_HZ:
        wave = tone(2.0, pitch_hz=pitch_hz)
        expected = reference.transcribe(wave, LANGUAGE).tokens
        decoder.start(encoder.encode(log_mel(wave, n_mels=encoder.n_mels), encoder.plan(len(wave))))
        prefilled = prefill(decoder, prompt, special)
        spoken = tuple(token for token in expected if token not in prompt)
        filters = LogitFilters(special, with_timestamps=False)
        (attempt,) = Greedy().decode(decoder, prefilled, filters, [len(spoken)])
        # A random model loops; transformers lets it.
        assert len(attempt.tokens) > MIN_SPOKEN
        assert attempt.tokens == spoken[: len(attempt.tokens)]
        assert attempt.has_looped == (len(attempt.tokens) == len(spoken) or repeats_itself(attempt.tokens))


def test_probabilities_are_those_of_transformers(tiny: Path, variant: Path) -> None:
    import torch
    from transformers import WhisperForConditionalGeneration

    tokenizer = WhisperTokenizer.load(variant)
    special = tokenizer.special
    encoder, decoder = Encoder.load(variant, COMPUTE), load_decoder(variant, COMPUTE)
    prompt = tokenizer.prompt(language=LANGUAGE, task=Task.TRANSCRIBE, with_timestamps=False)
    features = log_mel(tone(2.0), n_mels=encoder.n_mels)
    decoder.start(encoder.encode(features, encoder.plan(32000)))
    prefilled = prefill(decoder, prompt, special)
    filters = LogitFilters(special, with_timestamps=False)
    (attempt,) = Greedy().decode(decoder, prefilled, filters, [9])
    with quiet_libraries():
        model = WhisperForConditionalGeneration.from_pretrained(tiny).eval()
    fed = torch.tensor([[*prompt, *attempt.tokens]])
    with torch.no_grad():
        logits = model(input_features=torch.from_numpy(features), decoder_input_ids=fed).logits[0]
    no_speech = logits[0].softmax(0)[special.no_speech].item()
    assert attempt.no_speech_probability == pytest.approx(no_speech, rel=1e-3)
    total = 0.0
    for i, token in enumerate(attempt.tokens):
        row = logits[len(prompt) - 1 + i].numpy()
        filters.apply(row, attempt.tokens[:i])
        total += float(torch.from_numpy(row).log_softmax(0)[token])
    assert attempt.sum_log_probability == pytest.approx(total, abs=1e-3)
    assert attempt.mean_log_probability == pytest.approx(total / (len(attempt.tokens) + 1), abs=1e-3)
    assert attempt.has_looped
    assert attempt.temperature == 0.0


def is_one_ngram_over_and_over(tokens: list[int]) -> bool:
    """Say by the definition, without shortcuts, what `repeats_itself` finds."""
    return any(
        tokens[-size * times :] == tokens[-size:] * times
        for size in range(1, MAX_NGRAM + 1)
        for times in [times_of_a_loop(size)]
        if len(tokens) >= size * times
    )


def times_of_a_loop(size: int) -> int:
    return max(NGRAM_REPEATS, math.ceil(REPEATED_TOKENS / size))


@given(tokens=st.lists(st.integers(0, 1), max_size=40))
@example(tokens=[])
@example(tokens=[1] * 23)
@example(tokens=[1] * 24)
@example(tokens=[1, 2] * 12)
@example(tokens=[1, 0, 0, 0, 0, 0, 0] * 4)
def test_repetition_is_found_by_its_definition(tokens: list[int]) -> None:
    assert repeats_itself(tokens) == is_one_ngram_over_and_over(tokens)


@given(
    before=st.lists(st.integers(0, 50), max_size=30),
    ngram=st.lists(st.integers(0, 50), min_size=1, max_size=MAX_NGRAM),
    more=st.integers(0, 3),
)
def test_an_ngram_repeated_is_found_wherever_it_starts(
    before: list[int], ngram: list[int], more: int
) -> None:
    assert repeats_itself(before + ngram * (times_of_a_loop(len(ngram)) + more))


@pytest.mark.parametrize("said", [[5], [7, 5], [7, 5, 6]])
def test_what_people_repeat_is_no_loop(said: list[int]) -> None:
    assert not repeats_itself([1, 2, 3] + said * 6)


@given(tokens=st.lists(st.integers(0, 50_000), max_size=60, unique=True))
def test_different_tokens_are_no_repetition(tokens: list[int]) -> None:
    assert not repeats_itself(tokens)


@given(audio_s=st.floats(0, 30), n_prompt=st.integers(1, 230))
def test_the_token_limit_grows_with_the_audio_and_leaves_room_for_the_prompt(
    audio_s: float, n_prompt: int
) -> None:
    prompt = tuple(range(n_prompt))
    limit = token_limit(audio_s, prompt)
    assert 12 <= limit <= MAX_TOKENS - n_prompt
    assert token_limit(audio_s + 1, prompt) - limit in range(13)


@pytest.mark.parametrize(("audio_s", "expected"), [(0.0, 12), (1.0, 24), (10.0, 132), (30.0, 372)])
def test_the_token_limit_is_12_a_second_and_12_more(audio_s: float, expected: int) -> None:
    assert token_limit(audio_s, PROMPT) == expected
    assert token_limit(audio_s, PROMPT, least=224) == max(expected, 224)


@given(text=st.text(min_size=1, max_size=200))
def test_the_compression_ratio_is_that_of_zlib(text: str) -> None:
    raw = text.encode()
    assert compression_ratio(text) == len(raw) / len(zlib.compress(raw))


def test_the_compression_ratio_shows_repetition() -> None:
    assert compression_ratio("and then he said " * 20) > 2.4
    assert compression_ratio("The harbor lights went out one by one before the storm.") < 2.4
    assert np.isclose(compression_ratio(""), 0.0)


@pytest.mark.parametrize(
    ("no_speech", "log_probability", "n_tokens", "expected"),
    [
        (0.87, -0.7, 1, True),
        (0.62, -0.9, 1, False),
        (0.87, -0.7, 7, False),
        (0.61, -1.1, 7, True),
        (0.59, -1.1, 7, False),
    ],
    ids=[
        "a likely word of noise",
        "a word of speech",
        "a likely sentence",
        "an unlikely sentence of noise",
        "an unlikely sentence of speech",
    ],
)
def test_silence_shows_in_the_no_speech_token_with_an_unlikely_or_a_short_text(
    no_speech: float, log_probability: float, n_tokens: int, *, expected: bool
) -> None:
    attempt = Attempt(
        tokens=(5,) * n_tokens,
        sum_log_probability=log_probability * (n_tokens + 1),
        no_speech_probability=no_speech,
        has_looped=False,
    )
    assert is_no_speech(attempt, n_tokens, TranscribeOptions()) is expected
    assert not is_no_speech(attempt, n_tokens, TranscribeOptions(no_speech_threshold=1.0))
