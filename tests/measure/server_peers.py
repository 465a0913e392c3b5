"""Other servers under the load of ours: the same clips, as many in flight, in turns."""

import argparse
import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from sottovoce.benchmark.conversion import convert_checkpoint
from sottovoce.benchmark.engines.engine import ConvertingEngine
from sottovoce.benchmark.engines.registry import find_engine
from sottovoce.benchmark.engines.whisper_cpp import GgmlType
from sottovoce.optimize.checkpoint.resolve import find_checkpoint
from sottovoce.runs import read_run
from sottovoce.terms import Ctranslate2Type

SCRIPT = Path(__file__).with_name("peer_server.py")
KINDS = {"faster-whisper": str(Ctranslate2Type.INT8), "whisper.cpp": str(GgmlType.Q8_0)}
"""Engines that are served, and the type of their weights."""

START_S = 120.0
PAUSE_S = 0.5
"""Between two servers: threads of some libraries spin for a while after their work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A server that is compared.

    Attributes:
        name: in what is printed.
        url: to which a file is posted.
    """

    name: str
    url: str


@contextmanager
def running_peer(given: str, run: Path, threads: int) -> Iterator[Peer]:
    """Yield a peer.

    Args:
        given: NAME=URL of a server that runs; or an engine of the benchmark, for which the run's checkpoint is converted, and a
            server started.
        run: folder.
        threads: of inference.
    """
    name, _, url = given.partition("=")
    if url:
        yield Peer(name=name, url=url)
        return
    engine = find_engine(name)
    assert issubclass(engine, ConvertingEngine)
    folder = convert_checkpoint(find_checkpoint(read_run(run), None), engine, KINDS[name])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), name, str(folder), "--threads", str(threads), "--port", str(port)]
    )
    try:
        _wait(port, process)
        yield Peer(name=f"{name} {KINDS[name]}", url=f"http://127.0.0.1:{port}/v1/audio/transcriptions")
    finally:
        process.terminate()
        process.wait()


def check_peer(given: str) -> str:
    """Return the name of a peer if it can be compared.

    Raises:
        ArgumentTypeError: it is neither an engine that is served nor NAME=URL.
    """
    if given not in KINDS and "=http" not in given:
        raise argparse.ArgumentTypeError(f"{given} is none of {', '.join(KINDS)} and not NAME=URL")
    return given


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    end_s = time.monotonic() + START_S
    while time.monotonic() < end_s and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("the peer does not start")


async def compare(
    peers: Sequence[Peer], clips: Sequence[bytes], *, in_flight: int, rounds: int
) -> dict[str, tuple[float, int]]:
    """Return the least seconds in which each server transcribed all clips, and the words that it gave."""
    seconds: dict[str, list[float]] = {peer.name: [] for peer in peers}
    n_words: dict[str, int] = {}
    async with httpx.AsyncClient(timeout=600) as client:
        for number in range(rounds + 1):
            for peer in peers:
                await asyncio.sleep(PAUSE_S)
                started = time.perf_counter()
                texts = await _transcribe(client, peer, clips, in_flight)
                if number:  # the first round warms up
                    seconds[peer.name].append(time.perf_counter() - started)
                n_words[peer.name] = sum(len(text.split()) for text in texts)
    return {name: (min(each), n_words[name]) for name, each in seconds.items()}


async def _transcribe(
    client: httpx.AsyncClient, peer: Peer, clips: Sequence[bytes], in_flight: int
) -> list[str]:
    slots = asyncio.Semaphore(in_flight)

    async def one(clip: bytes) -> str:
        async with slots:
            files = {"file": ("a.wav", clip, "audio/wav")}
            answer = await client.post(peer.url, data={"language": "en"}, files=files)
            return str(answer.raise_for_status().json()["text"])

    return await asyncio.gather(*(one(clip) for clip in clips))
