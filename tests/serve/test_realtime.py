"""OpenAI's realtime client against a live session, and the events without one."""

import base64
import io
import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from openai import OpenAI
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.sync.connection import Connection

from sottovoce.runtime.live.events import Committed, LiveEvent, Partial, SpeechStarted, Utterance
from sottovoce.runtime.transcript import Segment, Word
from sottovoce.serve.openai.errors import ApiError
from sottovoce.serve.openai.realtime.audio import AudioDecoder, AudioFormat
from sottovoce.serve.openai.realtime.items import Items
from sottovoce.serve.openai.realtime.settings import Settings, updated
from tests.support.server import RunningServer, pcm, speech
from tests.support.tones import tone

RATE_HZ = 24_000
DELTA = "conversation.item.input_audio_transcription.delta"
COMPLETED = "conversation.item.input_audio_transcription.completed"


def pieces(content: bytes, n_bytes: int) -> Iterator[str]:
    for begin in range(0, len(content), n_bytes):
        yield base64.b64encode(content[begin : begin + n_bytes]).decode()


@pytest.fixture
def connection(server: RunningServer) -> Iterator[Connection]:
    address = f"{server.url.replace('http', 'ws')}/v1/realtime?intent=transcription"
    with connect(address) as opened:
        assert json.loads(opened.recv())["type"] == "session.created"
        yield opened


def ask(connection: Connection, event: dict[str, Any]) -> dict[str, Any]:
    connection.send(json.dumps(event))
    answer: dict[str, Any] = json.loads(connection.recv(timeout=30))
    return answer


def test_an_utterance_comes_in_the_order_that_clients_expect(client: OpenAI) -> None:
    events: list[Any] = []
    with client.realtime.connect(extra_query={"intent": "transcription"}) as connection:
        assert connection.recv().type == "session.created"
        connection.session.update(
            session={
                "type": "transcription",
                "audio": {"input": {"transcription": {"model": "whisper-1", "language": "en"}}},
            }
        )
        session = connection.recv()
        assert session.type == "session.updated"
        for piece in pieces(speech(RATE_HZ), 5_000):
            connection.input_audio_buffer.append(audio=piece)
        connection.input_audio_buffer.commit()
        while not events or events[-1].type != COMPLETED:
            events.append(connection.recv())
    types = [event.type for event in events]
    assert types[0] == "input_audio_buffer.speech_started"
    assert types[-4:] == [
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        COMPLETED,
    ]
    assert set(types[1:-4]) <= {DELTA}
    deltas = [event.delta or "" for event in events if event.type == DELTA]
    assert "".join(deltas).strip() == events[-1].transcript
    assert len({event.item_id for event in events if hasattr(event, "item_id")}) == 1


@pytest.mark.parametrize(("kind", "rate_hz"), [("g711_ulaw", 8_000), ("pcm16", 24_000)])
def test_the_names_of_the_beta_are_understood(connection: Connection, kind: str, rate_hz: int) -> None:
    session = {
        "input_audio_format": kind,
        "input_audio_transcription": {"model": "whisper-1", "language": "en"},
    }
    answer = ask(connection, {"type": "transcription_session.update", "session": session})
    assert answer["type"] == "transcription_session.updated"
    assert answer["session"]["input_audio_format"] == kind
    content = speech(rate_hz)
    if kind == "g711_ulaw":
        content = telephone(np.frombuffer(content, "<i2").astype(np.float32) / 32_768, "ULAW")
    for piece in pieces(content, 4_001):  # a sample may be cut in two
        connection.send(json.dumps({"type": "input_audio_buffer.append", "audio": piece}))
    connection.send(json.dumps({"type": "input_audio_buffer.commit"}))
    types: list[str] = []
    while COMPLETED not in types:
        types.append(json.loads(connection.recv(timeout=30))["type"])
    assert "conversation.item.created" in types


def test_a_client_that_commits_itself_gets_one_item(connection: Connection) -> None:
    update = {"type": "transcription", "audio": {"input": {"turn_detection": None}}}
    assert ask(connection, {"type": "session.update", "session": update})["type"] == "session.updated"
    connection.send(speech(RATE_HZ) * 2)  # binary messages are audio
    connection.send(json.dumps({"type": "input_audio_buffer.commit"}))
    found: list[dict[str, Any]] = []
    while not found or found[-1]["type"] != COMPLETED:
        found.append(json.loads(connection.recv(timeout=30)))
    assert [event["type"] for event in found].count("input_audio_buffer.committed") == 1


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({"type": "input_audio_buffer.commit"}, "holds 0 ms of audio"),
        ({"type": "input_audio_buffer.append", "audio": "%"}, "audio is no base64"),
        ({"type": "response.create"}, "'response.create' is no event of a transcription"),
        (
            {"type": "session.update", "session": {"type": "realtime"}},
            "only sessions of the type transcription",
        ),
        (
            {"type": "session.update", "session": {"audio": {"input": {"format": {"rate": 96_000}}}}},
            "session.audio.input.format.rate",
        ),
        (
            {"type": "session.update", "session": {"audio": {"input": {"transcription": {"model": "nix"}}}}},
            "the model nix does not exist",
        ),
        (
            {
                "type": "session.update",
                "session": {"audio": {"input": {"transcription": {"language": "x1"}}}},
            },
            "unknown language x1",
        ),
    ],
)
def test_a_wrong_event_is_answered_and_the_session_goes_on(
    connection: Connection, event: dict[str, Any], message: str
) -> None:
    answer = ask(connection, event | {"event_id": "mine"})
    assert answer["type"] == "error"
    assert answer["error"]["event_id"] == "mine"
    assert message in answer["error"]["message"]
    assert ask(connection, {"type": "input_audio_buffer.clear"})["type"] == "input_audio_buffer.cleared"


@pytest.mark.parametrize("text", ["{", "[]", '{"type": 7}'])
def test_what_is_no_event_is_answered(connection: Connection, text: str) -> None:
    connection.send(text)
    assert json.loads(connection.recv())["type"] == "error"


def test_more_sessions_than_the_server_takes_are_sent_away(server: RunningServer) -> None:
    address = f"{server.url.replace('http', 'ws')}/v1/realtime?intent=transcription"
    with ExitStack() as opened:
        for _ in range(4):
            opened.enter_context(connect(address))
        with pytest.raises(InvalidStatus) as caught:
            connect(address)
    assert caught.value.response.status_code == 503
    assert "Retry-After" in caught.value.response.headers


def test_pages_of_others_may_not_listen(server: RunningServer) -> None:
    with pytest.raises(InvalidStatus) as caught:
        connect(
            f"{server.url.replace('http', 'ws')}/v1/realtime?intent=transcription",
            additional_headers={"Origin": "https://evil.example"},
        )
    assert caught.value.response.status_code == 403


def telephone(wave: Any, subtype: str) -> bytes:
    """Return a wave as G.711, by libsndfile."""
    file = io.BytesIO()
    soundfile.write(file, wave, 8_000, format="RAW", subtype=subtype)
    return file.getvalue()


@pytest.mark.parametrize(("kind", "subtype"), [(AudioFormat.PCMU, "ULAW"), (AudioFormat.PCMA, "ALAW")])
def test_telephone_audio_is_decoded_as_libsndfile_does(kind: AudioFormat, subtype: str) -> None:
    every_byte = bytes(range(256))
    expected, _ = soundfile.read(
        io.BytesIO(every_byte), format="RAW", subtype=subtype, samplerate=8_000, channels=1, dtype="float32"
    )
    table = AudioDecoder(kind, 8_000)._samples(every_byte)  # noqa: SLF001 - before it is resampled
    assert table == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 24_000, 44_100, 48_000])
def test_audio_of_any_rate_is_the_same_however_it_is_cut(rate_hz: int) -> None:
    wave = soxr.resample(tone(1.0), 16_000, rate_hz)
    content = pcm(wave)
    whole, cut = AudioDecoder(AudioFormat.PCM, rate_hz), AudioDecoder(AudioFormat.PCM, rate_hz)
    once = np.concatenate([whole.decode(content), whole.decode(b"", is_last=True)])
    parts = [cut.decode(content[begin : begin + 777]) for begin in range(0, len(content), 777)]
    joined = np.concatenate([*parts, cut.decode(b"", is_last=True)])
    assert once.dtype == joined.dtype == np.float32
    assert len(once) == pytest.approx(16_000, abs=2)
    assert np.allclose(once, joined, atol=1e-6)


def words(*texts: str) -> tuple[Word, ...]:
    return tuple(
        Word(text=text, start_s=float(number), end_s=number + 0.5, probability=0.9)
        for number, text in enumerate(texts)
    )


def utterance(end_s: float) -> Utterance:
    segment = Segment(
        start_s=0.0,
        end_s=end_s,
        text="is not read",
        tokens=(),
        mean_log_probability=0.0,
        no_speech_probability=0.0,
        compression_ratio=1.0,
    )
    return Utterance(segment=segment, language="en", language_probability=1.0, audio_s=end_s)


def test_words_behind_a_cut_belong_to_the_next_item() -> None:
    items = Items(Settings())
    live: list[LiveEvent] = [
        SpeechStarted(at_s=0.0, audio_s=0.1),
        Committed(words=words(" one", " two"), audio_s=2.0),
        utterance(2.0),
        Committed(words=words(" three"), audio_s=3.0),
        utterance(3.0),
    ]
    found = [event for each in live for event in items.take(each)]
    completed = [event["transcript"] for event in found if event["type"] == COMPLETED]
    started = [event["item_id"] for event in found if event["type"] == "input_audio_buffer.speech_started"]
    assert completed == ["one two", "three"]
    assert len(set(started)) == 2


def test_words_before_they_are_final_come_where_they_are_requested() -> None:
    partial = Partial(words=words(" perhaps"), audio_s=1.0)
    assert list(Items(Settings()).take(partial)) == []
    (event,) = Items(Settings(include=("x_sottovoce.hypothesis",))).take(partial)
    assert (event["type"], event["text"]) == ("x_sottovoce.hypothesis", " perhaps")


def test_speech_without_words_ends_too() -> None:
    items = Items(Settings())
    live = [SpeechStarted(at_s=0.0, audio_s=0.1), SpeechStarted(at_s=5.0, audio_s=5.1)]
    found = [event for each in live for event in items.take(each)]
    assert [event["type"].rpartition(".")[2] for event in found] == [
        "speech_started",
        "speech_stopped",
        "committed",
        "added",
        "completed",
        "speech_started",
    ]


def test_times_go_on_after_a_commit() -> None:
    items = Items(Settings())
    list(items.take(SpeechStarted(at_s=0.0, audio_s=0.1)))
    list(items.commit())
    items.shift(10.0)
    (started,) = items.take(SpeechStarted(at_s=1.5, audio_s=2.0))
    assert started["audio_start_ms"] == 11_500


def test_settings_that_an_update_does_not_name_stay() -> None:
    first = updated(
        Settings(),
        {
            "type": "session.update",
            "session": {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 48_000}}}},
        },
    )
    second = updated(
        first,
        {"type": "session.update", "session": {"audio": {"input": {"transcription": {"language": "de"}}}}},
    )
    assert second.audio.format.rate == 48_000
    assert second.options().language == "de"
    with pytest.raises(ApiError, match="session is missing"):
        updated(second, {"type": "session.update"})
