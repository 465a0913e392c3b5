"""OpenAI's own client, unmodified, against a server of a tiny model."""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import srt
import webvtt
from openai import AsyncOpenAI, BadRequestError, NotFoundError, OpenAI

from sottovoce.runtime import TranscribeOptions, load
from sottovoce.runtime.audio.decode import decode_audio
from tests.support.server import RunningServer, silence, wav

SPOKEN: Any = {"extra_body": {"vad_filter": False}}
"""A tone is no speech, which voice activity would find out."""

SPEECH = ("speech.wav", wav(), "audio/wav")


def test_a_transcript_is_that_of_the_library(client: OpenAI, served: Path) -> None:
    given = client.audio.transcriptions.create(
        file=SPEECH, model="whisper-1", language="en", **SPOKEN, response_format="verbose_json"
    )
    expected = load(served, threads=1).transcribe(
        decode_audio(wav()), TranscribeOptions(language="en", vad_filter=False)
    )
    assert given.text == expected.text != ""
    assert given.segments is not None
    assert [segment.tokens for segment in given.segments] == [list(each.tokens) for each in expected.segments]
    assert [segment.text for segment in given.segments] == [f" {each.text}" for each in expected.segments]
    assert (given.language, given.duration) == ("english", 2.0)


def test_json_has_the_text_and_the_seconds(client: OpenAI) -> None:
    given = client.audio.transcriptions.create(file=SPEECH, model="whisper-1", language="en", **SPOKEN)
    assert given.text
    assert given.usage is not None
    assert (given.usage.type, given.usage.seconds) == ("duration", 2.0)


def test_words_have_times_within_the_audio(client: OpenAI) -> None:
    given = client.audio.transcriptions.create(
        file=SPEECH,
        model="whisper-1",
        language="en",
        **SPOKEN,
        response_format="verbose_json",
        timestamp_granularities=["word"],
    )
    assert given.segments is None
    assert given.words
    assert all(0 <= word.start <= word.end <= 2.1 for word in given.words)
    assert all(0 <= word.probability <= 1 for word in given.words)


def test_subtitles_parse(client: OpenAI) -> None:
    as_srt, as_vtt, as_text = (
        client.audio.transcriptions.create(
            file=SPEECH, model="whisper-1", language="en", **SPOKEN, response_format=kind
        )
        for kind in ("srt", "vtt", "text")
    )
    assert list(srt.parse(str(as_srt)))
    assert list(webvtt.from_buffer(io.StringIO(str(as_vtt))))
    assert str(as_text).strip()


async def _many(url: str) -> list[str]:
    import asyncio

    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        answers = await asyncio.gather(
            *(
                client.audio.transcriptions.create(
                    file=("a.wav", wav(1.0 + number / 2), "audio/wav"),
                    model="whisper-1",
                    language="en",
                    **SPOKEN,
                )
                for number in range(4)
            )
        )
    return [each.text for each in answers]


def test_requests_in_flight_together_give_what_each_gives_alone(
    server: RunningServer, client: OpenAI
) -> None:
    import asyncio

    alone = [
        client.audio.transcriptions.create(
            file=("a.wav", wav(1.0 + number / 2), "audio/wav"), model="whisper-1", language="en", **SPOKEN
        ).text
        for number in range(4)
    ]
    assert asyncio.run(_many(server.url)) == alone


def test_a_long_file_and_a_clip_beside_it_are_both_done(client: OpenAI) -> None:
    def transcribe(duration_s: float) -> float:
        given = client.audio.transcriptions.create(
            file=("a.wav", wav(duration_s), "audio/wav"),
            model="whisper-1",
            language="en",
            **SPOKEN,
            response_format="verbose_json",
        )
        return float(given.duration)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(transcribe, (70.0, 1.0))) == pytest.approx([70.0, 1.0], abs=0.01)


def test_silence_has_an_empty_text(client: OpenAI) -> None:
    given = client.audio.transcriptions.create(
        file=("a.wav", silence(), "audio/wav"), model="whisper-1", response_format="verbose_json"
    )
    assert (given.text, given.segments, given.duration) == ("", [], 1.0)


def test_models_are_listed(client: OpenAI, served: Path) -> None:
    names = [model.id for model in client.models.list()]
    assert names == [f"{served.parent.name}-{served.name}", "whisper-1"]
    assert client.models.retrieve("whisper-1").owned_by == "sottovoce"


def test_a_model_that_is_not_served_is_not_found(client: OpenAI) -> None:
    with pytest.raises(NotFoundError, match=r"gpt-5 does not exist.*whisper-1") as caught:
        client.audio.transcriptions.create(file=SPEECH, model="gpt-5")
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"temperature": "7"}, "temperature", "temperature is '7'"),
        ({"language": "klingon"}, "language", "unknown language klingon"),
        ({"response_format": "diarized_json"}, "response_format", "do not distinguish speakers"),
        ({"response_format": "docx"}, "response_format", "'json', 'text', 'srt', 'verbose_json' or 'vtt'"),
        ({"timestamp_granularities[]": "word"}, "timestamp_granularities", "needs the response_format"),
        ({"chunking_strategy": "{"}, "chunking_strategy", "is no JSON"),
    ],
)
def test_a_wrong_field_is_named(
    server: RunningServer, fields: dict[str, str], param: str, message: str
) -> None:
    answer = httpx.post(f"{server.url}/v1/audio/transcriptions", data=fields, files={"file": SPEECH})
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["param"]) == (400, "invalid_request_error", param)
    assert message in error["message"]


def test_a_file_that_is_no_audio_is_refused_without_its_name(client: OpenAI) -> None:
    with pytest.raises(BadRequestError, match="the file is not audio that FFmpeg can read") as caught:
        client.audio.transcriptions.create(
            file=("secret.txt", b"words, words", "audio/wav"), model="whisper-1"
        )
    assert (caught.value.param, caught.value.code) == ("file", "invalid_audio")


def test_a_request_without_a_file_is_refused(server: RunningServer) -> None:
    answer = httpx.post(
        f"{server.url}/v1/audio/transcriptions", data={"model": "whisper-1"}, files={"other": ("", b"")}
    )
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "file")


def test_the_log_has_ids_and_neither_text_nor_names(server: RunningServer) -> None:
    answer = httpx.post(
        f"{server.url}/v1/audio/transcriptions",
        data={"prompt": "hush", "vad_filter": "false"},
        files={"file": ("private.wav", wav(), "audio/wav")},
        headers={"X-Request-ID": "mine-1"},
    )
    assert answer.headers["X-Request-ID"] == "mine-1"
    log = server.wait_for_log('"mine-1"')
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    (own,) = [line for line in lines if line.get("request_id") == "mine-1"]
    assert (own["path"], own["status"]) == ("/v1/audio/transcriptions", 200)
    assert "hush" not in log
    assert "private" not in log
    assert answer.json()["text"] not in log


def test_requests_with_other_options_do_not_change_each_other(client: OpenAI) -> None:
    """They arrive together; only those whose prompt and options are the same are decoded together."""

    def transcribe(options: tuple[str, float]) -> str:
        language, temperature = options
        given = client.audio.transcriptions.create(
            file=SPEECH, model="whisper-1", language=language, temperature=temperature, **SPOKEN
        )
        return str(given.text)

    options_of = [("en", 1.0), ("de", 1.0), ("en", 0.6), ("de", 0.6)]
    alone = [transcribe(options) for options in options_of]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(transcribe, options_of)) == alone
