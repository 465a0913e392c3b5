"""Many uploads of 1 GB at once: how soon each is refused, what a refusal costs, and what memory the server takes.

    PYTHONPATH=. python tests/measure/server_uploads.py RUN

Clients send as fast as the server takes it. Those that state a length are refused by it; those that do not, once what they sent
is more than the server takes. After an answer a client stops, as curl does, or sends on, as many libraries do.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.measure.server_start import cpu_s
from tests.support.server import RunningServer, running_server

UPLOADS = 64
UPLOAD_BYTES = 10**9
PIECE = bytes(64 * 1024)
LONGEST_S = 8.0
"""Until an upload counts as taken in; also so long a client sends on after an answer."""

PAUSE_S = 2.0
"""Between rounds: the server still drops what clients had sent."""

TAKEN, CUT = 0, -1
"""In place of a status: the upload is taken in; the connection was closed without an answer."""

HEAD = (
    "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: localhost\r\n"
    "Content-Type: multipart/form-data; boundary=x\r\n{length}\r\n\r\n"
)
PART = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What clients do.

    Attributes:
        name: in what is printed.
        is_stated: they state the length.
        sends_on: they send on after an answer.
        limit_mb: of a file in the server, and a quarter of what it takes in at once.
    """

    name: str
    is_stated: bool = True
    sends_on: bool = False
    limit_mb: int = 1024


LOADS = (
    Load(name="length stated, too large", limit_mb=512),
    Load(name="length stated"),
    Load(name="length stated, clients send on", sends_on=True),
    Load(name="no length stated", is_stated=False, limit_mb=4),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a client got.

    Attributes:
        status: of HTTP, or `TAKEN` or `CUT`.
        seconds: from the start of the request.
    """

    status: int
    seconds: float


async def upload(server: RunningServer, load: Load, start: asyncio.Barrier) -> Answer:
    """Upload zeros until there is an answer, or the time is over."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
    await start.wait()
    started = time.perf_counter()
    sending = asyncio.create_task(send(writer, load))
    try:
        async with asyncio.timeout(LONGEST_S):
            line = await reader.readline()
        answer = Answer(status=int(line.split()[1]), seconds=time.perf_counter() - started)
        if load.sends_on:
            await asyncio.wait([sending], timeout=LONGEST_S)
    except TimeoutError:
        answer = Answer(status=TAKEN, seconds=0.0)
    except OSError:
        answer = Answer(status=CUT, seconds=0.0)
    finally:
        sending.cancel()
        writer.transport.abort()
    return answer


async def send(writer: asyncio.StreamWriter, load: Load) -> None:
    """Send the head and the body of an upload."""
    length = f"Content-Length: {UPLOAD_BYTES}" if load.is_stated else "Transfer-Encoding: chunked"
    writer.write(HEAD.format(length=length).encode() + framed(PART, load))
    with suppress(OSError):
        for _ in range(UPLOAD_BYTES // len(PIECE)):
            await asyncio.sleep(0)  # else a client fills its socket before the next one sends its head
            writer.write(framed(PIECE, load))
            await writer.drain()


def framed(piece: bytes, load: Load) -> bytes:
    """Return a piece of a body as it is sent."""
    return piece if load.is_stated else f"{len(piece):x}\r\n".encode() + piece + b"\r\n"


async def measure(server: RunningServer, load: Load) -> str:
    """Make all uploads at once; describe the answers, and what the server took for them."""
    start = asyncio.Barrier(UPLOADS)
    before_s, memory_mb = cpu_s(server.process.pid), [peak_mb(server)]
    answers = await asyncio.gather(*(upload(server, load, start) for _ in range(UPLOADS)))
    memory_mb.append(peak_mb(server))
    used_s = cpu_s(server.process.pid) - before_s
    refused = sorted(answer.seconds for answer in answers if answer.status > 0)
    statuses = Counter(answer.status for answer in answers)
    return (
        f"{load.name}: {dict(statuses)} ({TAKEN}: taken in, {CUT}: cut off), refused within {1000 * statistics.median(refused):.0f} ms (p50), "
        f"{1000 * refused[int(0.95 * len(refused))]:.0f} ms (p95), {1000 * refused[-1]:.0f} ms (all), "
        f"{1000 * used_s / len(refused):.1f} ms of a processor for each, peak of memory {memory_mb[0]:.0f} MB before and "
        f"{memory_mb[1]:.0f} MB after"
    )


def peak_mb(server: RunningServer) -> float:
    """Return the most memory that the server has taken so far."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def main() -> None:
    """Measure each load with a server of its own, and print a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    for load in LOADS:
        options = ("--max-upload-mb", str(load.limit_mb))
        with (
            tempfile.TemporaryDirectory() as folder,
            running_server(given.run, Path(folder), options) as server,
        ):
            for _ in range(given.rounds):
                print(asyncio.run(measure(server, load)), flush=True)
                time.sleep(PAUSE_S)


if __name__ == "__main__":
    main()
