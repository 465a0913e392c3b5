"""Transcripts as events, and log-probabilities, through OpenAI's client."""

import math
from typing import Any

import pytest
from openai import APIError, BadRequestError, OpenAI

from tests.support.server import silence, wav

FIELDS: Any = {"model": "whisper-1", "language": "en", "temperature": 1, "extra_body": {"vad_filter": False}}
"""A random model repeats itself, unless it draws its tokens."""


def test_deltas_join_to_the_text_of_the_whole(client: OpenAI) -> None:
    file = ("a.wav", wav(70.0), "audio/wav")
    whole = client.audio.transcriptions.create(file=file, **FIELDS)
    *deltas, done = client.audio.transcriptions.create(file=file, stream=True, **FIELDS)
    assert len(deltas) > 1
    assert {event.type for event in deltas} == {"transcript.text.delta"}
    assert done.type == "transcript.text.done"
    assert "".join(event.delta for event in deltas) == done.text == whole.text != ""
    assert done.usage.input_tokens == 70 * 50
    assert done.usage.output_tokens > 0


def test_silence_is_done_without_a_delta(client: OpenAI) -> None:
    file = ("a.wav", silence(), "audio/wav")
    (done,) = client.audio.transcriptions.create(file=file, stream=True, **FIELDS)
    assert (done.type, done.text) == ("transcript.text.done", "")


def test_log_probabilities_are_of_the_tokens_of_the_text(client: OpenAI) -> None:
    file = ("a.wav", wav(2.0), "audio/wav")
    whole = client.audio.transcriptions.create(file=file, include=["logprobs"], **FIELDS)
    assert whole.logprobs
    joined = b"".join(bytes(int(byte) for byte in each.bytes or ()) for each in whole.logprobs)
    assert joined.decode(errors="replace").replace(" ", "") == whole.text.replace(" ", "")
    assert all(each.logprob is not None and -math.inf < each.logprob <= 0 for each in whole.logprobs)
    *deltas, done = client.audio.transcriptions.create(file=file, include=["logprobs"], stream=True, **FIELDS)
    streamed = [each.logprob for event in deltas for each in event.logprobs or ()]
    assert streamed == [each.logprob for each in done.logprobs or ()]
    assert streamed == pytest.approx([each.logprob for each in whole.logprobs], abs=1e-4)


def test_words_of_a_stream_are_refused_like_those_of_json(client: OpenAI) -> None:
    with pytest.raises(BadRequestError, match="needs the response_format verbose_json"):
        client.audio.transcriptions.create(
            file=("a.wav", wav(), "audio/wav"), stream=True, timestamp_granularities=["word"], **FIELDS
        )


def test_a_verbose_stream_gives_each_segment_with_its_words(client: OpenAI) -> None:
    fields = {**FIELDS, "response_format": "verbose_json", "timestamp_granularities": ["word", "segment"]}
    file = ("a.wav", wav(2.0), "audio/wav")
    whole = client.audio.transcriptions.create(file=file, **fields)
    *deltas, done = client.audio.transcriptions.create(file=file, stream=True, **fields)
    segments = [event.model_extra["segment"] for event in deltas if event.model_extra]
    assert [segment["text"] for segment in segments] == [segment.text for segment in whole.segments or ()]
    words = [word for segment in segments for word in segment["words"]]
    assert words == [word.model_dump() for word in whole.words or ()] != []
    assert done.model_extra is not None
    assert (done.model_extra["language"], done.model_extra["duration"]) == (whole.language, whole.duration)


def test_audio_that_is_none_is_refused_before_the_stream_starts(client: OpenAI) -> None:
    with pytest.raises(BadRequestError) as caught:
        client.audio.transcriptions.create(
            file=("a.wav", b"no audio here", "audio/wav"), stream=True, **FIELDS
        )
    assert caught.value.code == "invalid_audio"


def test_audio_that_breaks_off_ends_the_stream_with_an_error(client: OpenAI) -> None:
    file = ("a.wav", wav(100.0)[: 32_000 * 70], "audio/wav")
    with pytest.raises(APIError, match="damaged"):
        list(client.audio.transcriptions.create(file=file, stream=True, **FIELDS))


@pytest.mark.parametrize(
    "strategy", ["auto", {"type": "server_vad", "prefix_padding_ms": 100, "silence_duration_ms": 300}]
)
def test_a_chunking_strategy_looks_for_speech(client: OpenAI, strategy: Any) -> None:
    """A tone is none."""
    given = client.audio.transcriptions.create(
        file=("a.wav", wav(), "audio/wav"), model="whisper-1", chunking_strategy=strategy
    )
    assert given.text == ""


def test_a_translation_is_into_english(client: OpenAI) -> None:
    given = client.audio.translations.create(
        file=("a.wav", wav(), "audio/wav"),
        model="whisper-1",
        response_format="verbose_json",
        extra_body={"vad_filter": False, "language": "de"},
    )
    assert given.language == "english"
    assert given.text
