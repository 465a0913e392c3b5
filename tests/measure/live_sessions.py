"""Word latency of several live sessions of one model at once, in real time.

    python tests/measure/live_sessions.py VARIANT AUDIO --sessions 1,6,10

Each session has a thread that feeds it the recording in blocks of 0.1 s as time passes; they start at different places of
it. Latency is from the end of a word, as the alignment has it, to the moment when `feed` returns the committed word.
"""

import argparse
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave, decode_audio
from sottovoce.runtime.live.events import Committed
from sottovoce.runtime.live.session import LiveSession
from sottovoce.runtime.loading import load

BLOCK = SAMPLE_RATE_HZ // 10
WARM_UP_S = 30


def run_session(session: LiveSession, wave: Wave, started_s: float, latencies_s: list[float]) -> None:
    """Feed a session in real time; collect the latency of each committed word."""
    for i in range(0, len(wave), BLOCK):
        due_s = started_s + min(i + BLOCK, len(wave)) / SAMPLE_RATE_HZ
        time.sleep(max(0.0, due_s - time.perf_counter()))
        events = session.feed(wave[i : i + BLOCK])
        now_s = time.perf_counter() - started_s
        latencies_s += [
            now_s - word.end_s for event in events if isinstance(event, Committed) for word in event.words
        ]


def measure(variant: Path, wave: Wave, n_sessions: int, seconds: float) -> str:
    """Run sessions side by side; return one line of figures."""
    transcriber = load(variant)
    warm_up = transcriber.live(language="en")
    warm_up.feed(wave[: WARM_UP_S * SAMPLE_RATE_HZ])
    latencies_s: list[list[float]] = [[] for _ in range(n_sessions)]
    n_samples = round(seconds * SAMPLE_RATE_HZ)
    cpu_s, started_s = time.process_time(), time.perf_counter()
    threads = [
        threading.Thread(
            target=run_session,
            args=(
                transcriber.live(language="en"),
                np.roll(wave, -number * len(wave) // n_sessions)[:n_samples],
                started_s,
                latencies_s[number],
            ),
        )
        for number in range(n_sessions)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cpu_s = (time.process_time() - cpu_s) / seconds
    found = np.percentile(np.concatenate(latencies_s), [50, 95, 99])
    words = sum(map(len, latencies_s))
    return (
        f"{n_sessions:3} sessions: p50 {found[0]:.2f} s, p95 {found[1]:.2f} s, p99 {found[2]:.2f} s, "
        f"{words} words, {100 * cpu_s:.0f} % of a core"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print one line for each number of sessions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("variant", type=Path)
    parser.add_argument("audio", type=Path)
    parser.add_argument("--sessions", default="1,6,10")
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args(arguments)
    wave = decode_audio(given.audio)
    for number in given.sessions.split(","):
        print(measure(given.variant, wave, int(number), given.seconds), flush=True)


if __name__ == "__main__":
    main()
