"""Mixed requests, a tenth of them hostile, and many large uploads at once: what the server answers, and what it keeps.

    python tests/measure/server_hostile.py RUN --requests 10000

Hostile requests are files that lie, bodies that break off or stand still, thousands of fields, lengths that are false, and what is
no HTTP. They may get 4xx, or no answer where the client is gone; the others 200, or 503 where the server is full.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import httpx

from tests.support.hostile_audio import HOSTILE_AUDIO
from tests.support.server import RunningServer, running_server, wav

PATH = "/v1/audio/transcriptions"
IN_FLIGHT = 16
HOSTILE_SHARE = 0.1
UPLOADS = 64
UPLOAD_BYTES = 10**9
WARM_UP_SHARE = 0.3

HEAD = (
    "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    "Content-Length: {length}\r\n\r\n"
)
PART = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'

Request = Callable[[httpx.AsyncClient, RunningServer], Awaitable[int]]
"""Makes one request; returns the status, 0 without an answer."""


async def plain(client: httpx.AsyncClient, server: RunningServer) -> int:
    """Send a clip."""
    data = {"language": "en", "temperature": "1", "vad_filter": random.choice(("true", "false"))}  # noqa: S311
    files = {"file": ("a.wav", wav(random.uniform(0.2, 3.0)), "audio/wav")}  # noqa: S311
    return (await client.post(f"{server.url}{PATH}", data=data, files=files)).status_code


def hostile_file(content: bytes) -> Request:
    """Send a hostile file."""

    async def send(client: httpx.AsyncClient, server: RunningServer) -> int:
        files = {"file": ("a.wav", content, "audio/wav")}
        return (await client.post(f"{server.url}{PATH}", files=files)).status_code

    return send


async def many_fields(client: httpx.AsyncClient, server: RunningServer) -> int:
    """Send 10,000 fields."""
    data = {f"field{number}": "x" for number in range(10_000)}
    return (await client.post(f"{server.url}{PATH}", data=data, files={"file": ("a", b"x")})).status_code


def raw(content: bytes, wait_s: float = 0.0) -> Request:
    """Send bytes, and go away after some seconds where no answer comes."""

    async def send(_: httpx.AsyncClient, server: RunningServer) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
        try:
            writer.write(content)
            await writer.drain()
            async with asyncio.timeout(wait_s + 0.05):
                return int((await reader.readline()).split()[1])
        except (TimeoutError, OSError, IndexError):
            return 0
        finally:
            writer.close()

    return send


def hostile_requests(folder: Path) -> list[Request]:
    """Return every kind of hostile request."""
    files = []
    for number, write in enumerate(HOSTILE_AUDIO.values()):
        path = folder / str(number)
        write(path)
        if path.is_file():
            files.append(hostile_file(path.read_bytes()))
    head = HEAD.format(path=PATH, length=100_000).encode()
    others = [
        raw(head + PART + bytes(1000)),
        raw(head + PART, wait_s=1.0),
        raw(HEAD.format(path=PATH, length=-1).encode(), wait_s=1.0),
        raw(HEAD.format(path=PATH, length="9" * 400).encode(), wait_s=1.0),
        raw(HEAD.format(path=PATH, length=len(PART)).encode() + PART + bytes(5000), wait_s=1.0),
        raw(bytes(range(256)) * 40, wait_s=1.0),
    ]
    return [*files, many_fields, *others * 5]


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


async def mixed(server: RunningServer, n: int, hostile: Sequence[Request]) -> Counter[str]:
    """Send requests, several in flight; count the answers."""
    answers = Counter[str]()
    slots = asyncio.Semaphore(IN_FLIGHT)

    async def one(client: httpx.AsyncClient) -> None:
        is_hostile = random.random() < HOSTILE_SHARE  # noqa: S311
        request = random.choice(hostile) if is_hostile else plain  # noqa: S311
        async with slots:
            try:
                status = await request(client, server)
            except httpx.TransportError:
                status = 0
        answers[f"{'hostile' if is_hostile else 'plain'} {status}"] += 1

    async with httpx.AsyncClient(timeout=300) as client:
        await asyncio.gather(*(one(client) for _ in range(n)))
    return answers


async def large(server: RunningServer) -> tuple[Counter[int], float, float]:
    """Begin large uploads at once; return the answers, the seconds of the slowest refusal, and the peak of memory in MB."""
    answers, refused_s, peaks = Counter[int](), [0.0], [0.0]

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
        started = time.perf_counter()
        writer.write(HEAD.format(path=PATH, length=UPLOAD_BYTES).encode() + PART)
        try:
            async with asyncio.timeout(10):
                status = int((await reader.readline()).split()[1])
        except (TimeoutError, OSError, IndexError):
            status = 0
        answers[status] += 1
        if status:
            refused_s.append(time.perf_counter() - started)
        writer.close()

    sending = asyncio.gather(*(one() for _ in range(UPLOADS)))
    while not sending.done():
        peaks.append(memory_mb(server)[0])
        await asyncio.sleep(0.1)
    await sending
    return answers, max(refused_s), max(peaks)


def main() -> None:
    """Send everything, and print the answers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--requests", type=int, default=1_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running_server(given.run, Path(folder)) as server:
        hostile = hostile_requests(Path(folder))
        workers = server.workers
        n_first = round(WARM_UP_SHARE * given.requests)
        answers = asyncio.run(mixed(server, n_first, hostile))
        before_mb, before_files = memory_mb(server), n_files(server)
        answers += asyncio.run(mixed(server, given.requests - n_first, hostile))
        time.sleep(1)
        print(f"answers: {dict(sorted(answers.items()))}")
        print(f"workers that died: {sum(pid not in server.workers for pid in workers)}")
        print(f"open files: {before_files} -> {n_files(server)}")
        grown = zip(before_mb, memory_mb(server), strict=True)
        print("memory, MB: " + ", ".join(f"{before:.0f} -> {after:.0f}" for before, after in grown))
        uploads, slowest_s, peak_mb = asyncio.run(large(server))
        print(
            f"{UPLOADS} uploads of 1 GB at once: {dict(uploads)} (0: taken in), slowest refusal {1000 * slowest_s:.0f} ms, "
            f"peak of the server {peak_mb:.0f} MB"
        )
        print(f"exit code after SIGTERM: {server.stop()}")


if __name__ == "__main__":
    main()
