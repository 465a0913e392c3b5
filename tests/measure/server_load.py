"""What a server adds to the library, gains by batches, and keeps for short clips beside a long file.

    python tests/measure/server_load.py RUN AUDIO --threads 2

AUDIO is a recording of speech of a minute or more; clips are cut out of it. Rounds of what is compared are interleaved. Each
line is a figure with the goal beside it. With --peer, only the throughput is measured, and those of other servers under the same load:

    python tests/measure/server_load.py RUN AUDIO --peer faster-whisper --peer whisper.cpp --peer NAME=http://127.0.0.1:8080/inference

The checkpoint of the run is converted for the engines once; a URL is of a server that runs already.
"""

import argparse
import asyncio
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
import soundfile

from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave, decode_audio
from sottovoce.runtime.loading import load
from tests.measure.server_peers import Peer, check_peer, compare, running_peer
from tests.support.server import RunningServer, running_server

CLIP_S = 5
IN_FLIGHT = 8
IN_A_ROW = 6
PATH = "/v1/audio/transcriptions"
FIELDS = {"language": "en"}


def to_wav(wave: Wave) -> bytes:
    """Return a wave as a WAV file of 16 bits."""
    file = io.BytesIO()
    soundfile.write(file, wave, SAMPLE_RATE_HZ, format="WAV", subtype="PCM_16")
    return file.getvalue()


def clips_of(wave: Wave, n_clips: int) -> list[bytes]:
    """Cut clips out of a recording, all over it."""
    n_samples = CLIP_S * SAMPLE_RATE_HZ
    starts = np.linspace(0, len(wave) - n_samples, n_clips).astype(int)
    return [to_wav(wave[start : start + n_samples]) for start in starts]


def percentile(values: Sequence[float], share: float) -> float:
    """Return a percentile by the nearest rank."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


async def post(client: httpx.AsyncClient, url: str, content: bytes) -> float:
    """Transcribe a file; return the seconds that it took."""
    started = time.perf_counter()
    answer = await client.post(f"{url}{PATH}", data=FIELDS, files={"file": ("a.wav", content, "audio/wav")})
    answer.raise_for_status()
    return time.perf_counter() - started


async def measure_batches(server: RunningServer, clips: Sequence[bytes], rounds: int) -> tuple[float, float]:
    """Return the least seconds for all clips one after another, and several in flight."""
    alone, together = [], []
    async with httpx.AsyncClient(timeout=600) as client:
        for _ in range(rounds):
            started = time.perf_counter()
            for clip in clips:
                await post(client, server.url, clip)
            alone.append(time.perf_counter() - started)
            slots = asyncio.Semaphore(IN_FLIGHT)

            async def one(clip: bytes, slots: asyncio.Semaphore = slots) -> None:
                async with slots:
                    await post(client, server.url, clip)

            started = time.perf_counter()
            await asyncio.gather(*(one(clip) for clip in clips))
            together.append(time.perf_counter() - started)
    return min(alone), min(together)


async def measure_beside(server: RunningServer, clips: Sequence[bytes], long: bytes) -> list[float]:
    """Return the seconds that clips take while a long file is transcribed."""
    async with httpx.AsyncClient(timeout=3600) as client:
        beside = asyncio.create_task(post(client, server.url, long))
        await asyncio.sleep(3)
        found = []
        for clip in clips:
            if beside.done():
                break
            found.append(await post(client, server.url, clip))
            await asyncio.sleep(0.5)
        beside.cancel()
    return found


def measure_overhead(server: RunningServer, run: Path, clip: bytes, threads: int, rounds: int) -> list[float]:
    """Return what the server adds to the library, in seconds, round by round.

    Each has several turns in a row, of which the first does not count: threads of the other one may still be awake.
    """
    transcriber = load(run, threads=threads)
    with httpx.Client(timeout=60) as client:

        def request() -> object:
            return client.post(
                f"{server.url}{PATH}", data=FIELDS, files={"file": ("a.wav", clip, "audio/wav")}
            )

        def call() -> object:
            return transcriber.transcribe(clip, language="en")

        return [_time_in_a_row(request) - _time_in_a_row(call) for _ in range(rounds)]


def _time_in_a_row(work: Callable[[], object]) -> float:
    """Return the median seconds of some calls, without the first."""
    found = []
    for _ in range(IN_A_ROW):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return statistics.median(found[1:])


def measure_start(run: Path, threads: int, rounds: int) -> list[float]:
    """Return the seconds from the start of a server to its readiness."""
    found = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            with running_server(run, Path(folder), threads=threads) as server:
                httpx.get(f"{server.url}/readyz").raise_for_status()
                found.append(time.perf_counter() - started)
    return found


def measure_peers(given: argparse.Namespace, clips: Sequence[bytes]) -> None:
    """Measure the throughput of this server and of others, in turns, and print it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(running_server(given.run, folder, threads=given.threads))
        own = Peer(name="sottovoce", url=f"{server.url}{PATH}")
        others = [stack.enter_context(running_peer(each, given.run, given.threads)) for each in given.peer]
        found = asyncio.run(compare([own, *others], clips, in_flight=IN_FLIGHT, rounds=given.rounds))
    least_s, _ = found[own.name]
    for name, (seconds, n_words) in found.items():
        print(
            f"{name}: {len(clips)} clips of {CLIP_S} s in {seconds:.2f} s with {IN_FLIGHT} in flight, {n_words} words, "
            f"{seconds / least_s:.2f} times the seconds of {own.name}"
        )


def main() -> None:
    """Measure, and print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("audio", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--long-s", type=float, default=3600.0)
    parser.add_argument("--peer", action="append", type=check_peer, metavar="ENGINE|NAME=URL")
    given = parser.parse_args()
    wave = decode_audio(given.audio)
    clips = clips_of(wave, 24)
    if given.peer:
        measure_peers(given, clips)
        return
    long = to_wav(np.resize(wave, round(given.long_s * SAMPLE_RATE_HZ)))
    starts = measure_start(given.run, given.threads, given.rounds)
    print(
        f"start to readyz: {min(starts):.2f} s at least, {statistics.median(starts):.2f} s (p50); goal 1.5 s"
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        running_server(given.run, Path(folder), threads=given.threads) as server,
    ):
        asyncio.run(measure_batches(server, clips, 1))  # kernels of all lengths are compiled
        added = measure_overhead(server, given.run, clips[0], given.threads, 2 * given.rounds)
        print(
            f"overhead over the library, {CLIP_S} s WAV: {1000 * statistics.median(added):.1f} ms (p50); goal 15 ms"
        )
        alone_s, together_s = asyncio.run(measure_batches(server, clips, given.rounds))
        print(
            f"{len(clips)} clips: {alone_s:.2f} s one after another, {together_s:.2f} s with {IN_FLIGHT} in flight: "
            f"{alone_s / together_s:.2f} times; goal 1.7"
        )
        beside_s = asyncio.run(measure_beside(server, clips * 4, long))
        print(
            f"{len(beside_s)} clips beside a file of {given.long_s:.0f} s: {statistics.median(beside_s):.2f} s (p50), "
            f"{percentile(beside_s, 0.95):.2f} s (p95); goal 2.0 s"
        )


if __name__ == "__main__":
    main()
