"""Home Assistant's own client against the server."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.event import Event
from wyoming.info import Describe, Info

from sottovoce.serve.wyoming import MAX_CONNECTIONS
from tests.support.server import running_server, speech

RATE_HZ = 16_000


@pytest.fixture(scope="module")
def port(served: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = int(free.getsockname()[1])
    with running_server(served, tmp_path_factory.mktemp("wyoming"), ("--wyoming-port", str(number))):
        yield number


async def talk(port: int, events: list[Event], last: str) -> list[Event]:
    """Send events; return the answers up to one of a type."""
    async with AsyncTcpClient("127.0.0.1", port) as client:
        for event in events:
            await client.write_event(event)
        answers: list[Event] = []
        while not answers or answers[-1].type != last:
            answer = await asyncio.wait_for(client.read_event(), 30)
            assert answer is not None
            answers.append(answer)
        return answers


def test_it_says_what_it_can(port: int) -> None:
    (answer,) = asyncio.run(talk(port, [Describe().event()], "info"))
    (program,) = Info.from_event(answer).asr
    assert program.supports_transcript_streaming
    assert program.models[-1].name == "whisper-1"
    assert "en" in program.models[-1].languages


def test_a_command_is_transcribed_while_it_is_spoken(port: int) -> None:
    content = speech(RATE_HZ)
    audio = {"rate": RATE_HZ, "width": 2, "channels": 1}
    chunks = [
        AudioChunk(audio=content[begin : begin + 2048], **audio) for begin in range(0, len(content), 2048)
    ]
    sent = [
        Transcribe(language="en", transcript_names=["Sottovoce"]).event(),
        AudioStart(**audio).event(),
        *(chunk.event() for chunk in chunks),
        AudioStop().event(),
    ]
    answers = asyncio.run(talk(port, sent, "transcript-stop"))
    types = [answer.type for answer in answers]
    assert types[0] == "transcript-start"
    assert types[-2:] == ["transcript", "transcript-stop"]
    streamed = "".join(answer.data["text"] for answer in answers if answer.type == "transcript-chunk")
    transcript = Transcript.from_event(answers[-2])
    assert (transcript.text, transcript.language) == (streamed.strip(), "en")


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (AudioStart(rate=1_000, width=2, channels=1).event(), "one channel, 16 bits and 8000 to 48000 Hz"),
        (AudioStart(rate=16_000, width=4, channels=1).event(), "one channel, 16 bits and 8000 to 48000 Hz"),
    ],
)
def test_audio_that_cannot_be_taken_is_refused(port: int, event: Event, message: str) -> None:
    (answer,) = asyncio.run(talk(port, [event], "error"))
    assert message in answer.data["text"]


@pytest.mark.parametrize(
    "line",
    [
        b"{\n",
        b"[]\n",
        b'{"type": "x", "payload_length": 99999999999}\n',
        b'{"type": "x", "data_length": -1}\n',
    ],
)
def test_what_is_no_event_ends_the_connection_only(port: int, line: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(line)
        assert b'"error"' in connection.recv(1000)
    (answer,) = asyncio.run(talk(port, [Describe().event()], "info"))
    assert answer.type == "info"


def test_no_more_clients_than_the_server_takes_hold_connections(port: int) -> None:
    """They would use up the descriptors that its HTTP needs."""
    clients = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(MAX_CONNECTIONS + 1)]
    assert clients.pop().recv(1) == b""
    for client in clients:
        client.close()
    (answer,) = asyncio.run(talk(port, [Describe().event()], "info"))
    assert answer.type == "info"
