"""Measure a variant on this machine, in a process of its own: what predictions are compared with."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sottovoce.errors import SottovoceError, StageError
from sottovoce.machine.resources import peak_rss_bytes
from sottovoce.runtime.planning.predict import Clip
from sottovoce.runtime.transcript import Transcript
from sottovoce.terms import MemoryUse

COMMAND = (sys.executable, "-P", "-c", "from sottovoce.runtime.planning.trial import main; main()")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a process of a variant did.

    Attributes:
        clips: its work.
        rtfx: seconds of audio a second, in a second pass over the clips, when their lengths have been met.
        first_transcript_s: from starting the process.
        peak_bytes: largest resident set.
    """

    clips: tuple[Clip, ...]
    rtfx: float
    first_transcript_s: float
    peak_bytes: int


def run_trial(folder: Path, clips: Sequence[Path], threads: int, memory: MemoryUse) -> Trial:
    """Transcribe clips with a variant in a fresh process.

    Args:
        folder: of the variant.
        clips: English speech of at most 30 s each.

    Raises:
        StageError: the process failed.
    """
    request = {"folder": str(folder), "clips": [*map(str, clips)], "threads": threads, "memory": memory}
    started = time.perf_counter()
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdin is None or process.stdout is None:
            raise StageError("the process of the measurement has no pipes")
        process.stdin.write(json.dumps(request))
        process.stdin.close()
        first = process.stdout.readline()
        first_s = time.perf_counter() - started
        answer = process.stdout.read() or first
    if process.returncode != 0 or not answer:
        raise StageError(
            f"{folder} cannot be measured: its process ended with exit code {process.returncode}"
        )
    found = json.loads(answer)
    if "error" in found:
        raise StageError(f"{folder} cannot be measured: {found['error']}")
    return Trial(
        clips=tuple(Clip(**clip) for clip in found["clips"]),
        rtfx=found["rtfx"],
        first_transcript_s=first_s,
        peak_bytes=found["peak_bytes"],
    )


def main() -> None:
    """Answer the request on standard input: an empty object after the first transcript, then the figures or the error."""
    request = json.loads(sys.stdin.read())
    try:
        answer = _measure(request)
    except SottovoceError as error:
        answer = {"error": str(error)}
    sys.stdout.write(json.dumps(answer))


def _measure(request: dict[str, Any]) -> dict[str, Any]:
    from sottovoce.runtime.loading import load

    transcriber = load(request["folder"], threads=request["threads"], memory=request["memory"])

    def transcribe(clip: str) -> Transcript:
        return transcriber.transcribe(clip, language="en", without_timestamps=True)

    first, *others = request["clips"]
    transcribe(first)
    sys.stdout.write("{}\n")
    sys.stdout.flush()
    for clip in others:
        transcribe(clip)
    started = time.perf_counter()
    transcripts = [*map(transcribe, request["clips"])]
    seconds = time.perf_counter() - started
    audio_s = sum(transcript.duration_s for transcript in transcripts)
    return {
        "clips": [{"audio_s": each.duration_s, "n_tokens": each.n_tokens} for each in transcripts],
        "rtfx": audio_s / seconds,
        "peak_bytes": peak_rss_bytes(),
    }
