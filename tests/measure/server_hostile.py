"""Mixed requests, a tenth of them hostile: what the server answers, and what it keeps.

    python tests/measure/server_hostile.py RUN --requests 10000

Hostile requests are files that lie, heads and bodies that break off or stand still, thousands of fields, lengths that are false,
and what is no HTTP. Each kind has its right answer: 4xx, 200 for a file that the library decodes although its header lies, none where the
client is gone. Clips get 200, or 503 where the server is full. Every other answer is printed as wrong.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from sottovoce.errors import InputError
from sottovoce.runtime.audio.decode import decode_audio
from tests.support.hostile_audio import HOSTILE_AUDIO
from tests.support.server import RunningServer, running_server, wav

PATH = "/v1/audio/transcriptions"
IN_FLIGHT = 16
HOSTILE_SHARE = 0.1
SLOW_S = 60.0
"""Longer than the server waits for a client that stands still."""

HEAD = (
    "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    "Content-Length: {length}\r\n\r\n"
)
PART = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'

LEFT = "left"
"""The client went away before an answer, as it meant to."""

CLOSED = "closed"
"""The server closed the connection without an answer."""

Request = Callable[[httpx.AsyncClient, RunningServer], Awaitable[str]]
"""Makes one request; returns the status, or what took its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of request.

    Attributes:
        name: of the kind.
        send: makes a request.
        expected: answers that are right.
    """

    name: str
    send: Request
    expected: frozenset[str]


async def plain(client: httpx.AsyncClient, server: RunningServer) -> str:
    """Send a clip."""
    data = {"language": "en", "temperature": "1", "vad_filter": random.choice(("true", "false"))}  # noqa: S311
    files = {"file": ("a.wav", wav(random.uniform(0.2, 3.0)), "audio/wav")}  # noqa: S311
    return str((await client.post(f"{server.url}{PATH}", data=data, files=files)).status_code)


def hostile_file(content: bytes) -> Request:
    """Send a hostile file."""

    async def send(client: httpx.AsyncClient, server: RunningServer) -> str:
        files = {"file": ("a.wav", content, "audio/wav")}
        return str((await client.post(f"{server.url}{PATH}", files=files)).status_code)

    return send


def answer_to(content: bytes) -> str:
    """Return the right answer to a file: 200 where the library decodes it, since some lies in headers do no harm."""
    try:
        decode_audio(content)
    except InputError:
        return "400"
    return "200"


async def many_fields(client: httpx.AsyncClient, server: RunningServer) -> str:
    """Send 10,000 fields in one piece."""
    field = b'--x\r\nContent-Disposition: form-data; name="field"\r\n\r\nx\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    content = field * 10_000 + b"--x--\r\n"
    return str((await client.post(f"{server.url}{PATH}", content=content, headers=headers)).status_code)


def raw(content: bytes, wait_s: float = SLOW_S) -> Request:
    """Send bytes, and go away after some seconds where no answer comes."""

    async def send(_: httpx.AsyncClient, server: RunningServer) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
        try:
            writer.write(content)
            await writer.drain()
            async with asyncio.timeout(wait_s):
                return (await reader.readline()).split()[1].decode()
        except TimeoutError:
            return LEFT
        except (OSError, IndexError):
            return CLOSED
        finally:
            writer.close()

    return send


PLAIN = Kind(name="clip", send=plain, expected=frozenset({"200", "503"}))


def hostile_kinds(folder: Path) -> list[Kind]:
    """Return every kind of hostile request."""
    kinds = []
    for name, write in HOSTILE_AUDIO.items():
        path = folder / name
        write(path)
        if path.is_file():
            content = path.read_bytes()
            right = answer_to(content)
            full = {"503"} if right == "200" else set()
            kinds.append(Kind(name=name, send=hostile_file(content), expected=frozenset({right} | full)))
    head = HEAD.format(path=PATH, length=100_000).encode()
    others: dict[str, tuple[Request, str]] = {
        "10,000 fields": (many_fields, "400"),
        "body cut": (raw(head + PART + bytes(1000), wait_s=0.05), LEFT),
        "body stands still": (raw(head + PART), "408"),
        "negative length": (raw(HEAD.format(path=PATH, length=-1).encode()), "400"),
        "length of 400 digits": (raw(HEAD.format(path=PATH, length="9" * 400).encode()), "400"),
        "length too short": (
            raw(HEAD.format(path=PATH, length=len(PART)).encode() + PART + bytes(5000)),
            "400",
        ),
        "head that does not end": (raw(head[:-2]), "408"),
        "head of 1 MB": (raw(head[:-2] + b"X-A: " + b"x" * 10**6), "400"),
        "no HTTP": (raw(bytes(range(256)) * 40), "400"),
    }
    made = [Kind(name=name, send=send, expected=frozenset({right})) for name, (send, right) in others.items()]
    return [*kinds, *made * 4]


def memory_mb(server: RunningServer) -> list[float]:
    """Return the memory of the server and of its workers, each in MB."""
    found = []
    for pid in (server.process.pid, *server.workers):
        status = Path(f"/proc/{pid}/status").read_text()
        found.append(int(status.partition("VmRSS:")[2].split()[0]) / 1024)
    return found


def n_files(server: RunningServer) -> int:
    """Count the files that the server has open."""
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def describe_server(server: RunningServer) -> str:
    """Return what the server holds now."""
    memory = ", ".join(f"{each:.0f}" for each in memory_mb(server))
    return f"memory of the server and its workers {memory} MB, {n_files(server)} open files"


async def mixed(server: RunningServer, n: int, hostile: Sequence[Kind]) -> Counter[tuple[str, str, bool]]:
    """Send requests, several in flight; count kinds, answers, and whether these are right."""
    answers = Counter[tuple[str, str, bool]]()
    slots = asyncio.Semaphore(IN_FLIGHT)

    async def one(client: httpx.AsyncClient) -> None:
        kind = random.choice(hostile) if random.random() < HOSTILE_SHARE else PLAIN  # noqa: S311
        async with slots:
            try:
                answer = await kind.send(client, server)
            except httpx.TransportError:
                answer = CLOSED
        answers[kind.name, answer, answer in kind.expected] += 1
        if answers.total() % max(1, n // 10) == 0:
            print(f"{answers.total()} requests: {describe_server(server)}", flush=True)

    async with httpx.AsyncClient(timeout=300) as client:
        await asyncio.gather(*(one(client) for _ in range(n)))
    return answers


def describe(answers: Counter[tuple[str, str, bool]]) -> str:
    """Count the answers to clips and to hostile requests, and name the wrong ones."""
    totals, wrong = Counter[str](), Counter[str]()
    for (kind, answer, is_right), n in answers.items():
        totals[f"{PLAIN.name if kind == PLAIN.name else 'hostile'}: {answer}"] += n
        wrong[f"{kind}: {answer}"] += 0 if is_right else n
    return f"answers: {dict(sorted(totals.items()))}\nwrong answers: {dict(+wrong) or 'none'}"


def main() -> None:
    """Send everything, and print the answers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--requests", type=int, default=1_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running_server(given.run, Path(folder)) as server:
        hostile = hostile_kinds(Path(folder))
        workers = server.workers
        print(f"0 requests: {describe_server(server)}")
        answers = asyncio.run(mixed(server, given.requests, hostile))
        time.sleep(1)
        print(f"at the end: {describe_server(server)}")
        print(describe(answers))
        print(f"workers that died: {sum(pid not in server.workers for pid in workers)}")
        print(f"exit code after SIGTERM: {server.stop()}")


if __name__ == "__main__":
    main()
