"""Seconds from a chosen file to its first words on the page, in Chromium, beside a plain request for the same file.

    PYTHONPATH=. python tests/measure/page_upload.py RUN AUDIO

The two take turns; the difference is the browser's.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from tests.support.browser import chromium
from tests.support.server import running_server

WORDS = ".words"
LONGEST_MS = 120_000


def upload(browser: Any, url: str, audio: Path) -> float:
    """Open the page, choose a file and wait for words; return the seconds between."""
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(url)
        page.wait_for_selector("#file-input", state="attached", timeout=LONGEST_MS)
        started = time.perf_counter()
        page.set_input_files("#file-input", audio)
        page.wait_for_function(
            "(words) => document.querySelector(words)?.innerText.trim()", arg=WORDS, timeout=LONGEST_MS
        )
        return time.perf_counter() - started


def request(url: str, audio: Path) -> float:
    """Send the request that the page sends; return the seconds until the first text."""
    started = time.perf_counter()
    data = {"stream": "true", "response_format": "verbose_json", "timestamp_granularities[]": "word"}
    with httpx.stream(
        "POST",
        f"{url}/v1/audio/transcriptions",
        data=data,
        files={"file": audio.read_bytes()},
        timeout=LONGEST_MS / 1000,
    ) as answer:
        answer.raise_for_status()
        next(line for line in answer.iter_lines() if "transcript.text.delta" in line)
        return time.perf_counter() - started


def main() -> None:
    """Measure, and print a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("audio", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    on_page, plain = [], []
    with (
        tempfile.TemporaryDirectory() as folder,
        running_server(given.run, Path(folder), threads=given.threads) as server,
        chromium() as browser,
    ):
        for number in range(given.rounds + 1):
            seconds = upload(browser, server.url, given.audio), request(server.url, given.audio)
            if number:  # the first round compiles kernels
                on_page.append(seconds[0])
                plain.append(seconds[1])
    print(
        f"first words on the page: {statistics.median(on_page):.2f} s (median of {given.rounds}, {min(on_page):.2f} at least); "
        f"the same request: {statistics.median(plain):.2f} s ({min(plain):.2f} at least)"
    )


if __name__ == "__main__":
    main()
