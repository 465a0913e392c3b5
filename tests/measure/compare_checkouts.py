"""Compare two checkouts of sottovoce on one variant: speed, memory and texts, in processes that take turns.

    python tests/measure/compare_checkouts.py runs/base/int8-fast speech/manifest.jsonl --before ../sottovoce-before

Each pair of processes transcribes the same clips, the second pair in the opposite order. The ratio is that of the sums of
each clip's least time; above 1 this checkout is faster. `--language auto` detects the language of each clip,
`--sessions` measures the memory of a second session on one model instead.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypedDict

HERE = Path(__file__).parents[2]


class Run(TypedDict):
    """What one process measured: seconds and text of each clip, peak memory in bytes."""

    seconds: list[float]
    texts: list[str]
    peak_bytes: int


def main() -> None:
    """Measure in this process with `--measure`, else start pairs of processes."""
    arguments = parse()
    if arguments.measure:
        sys.stdout.write(json.dumps(measure(arguments)))
    elif arguments.sessions:
        print(f"a second session takes {second_session_bytes(arguments) / 1e6:.1f} MB")
    else:
        compare(arguments)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("variant", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--before", type=Path, help="another checkout")
    parser.add_argument("--source", default="librispeech-test-clean")
    parser.add_argument("--limit", type=int, default=40)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--language", default="en", help="a code, or auto")
    parser.add_argument("--sessions", action="store_true")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def clips_of(arguments: argparse.Namespace) -> list[Path]:
    rows = map(json.loads, arguments.manifest.read_text(encoding="utf-8").splitlines())
    chosen = (row for row in rows if row["source"] == arguments.source and row["split"] == "eval")
    return [arguments.manifest.parent / row["audio"] for row in chosen][: arguments.limit]


def measure(arguments: argparse.Namespace) -> Run:
    """Transcribe the clips with the API that both checkouts have; the first two also warm up."""
    import resource
    import warnings

    warnings.simplefilter("ignore", DeprecationWarning)
    from sottovoce.runtime import TranscribeOptions, Transcriber

    options = TranscribeOptions(language=None if arguments.language == "auto" else arguments.language)
    transcriber = Transcriber.load(arguments.variant)  # type: ignore[attr-defined]
    clips = clips_of(arguments)
    for clip in clips[:2]:
        transcriber.transcribe(clip, options)
    run = Run(seconds=[], texts=[], peak_bytes=0)
    for clip in clips:
        started = time.perf_counter()
        transcript = transcriber.transcribe(clip, options)
        run["seconds"].append(time.perf_counter() - started)
        run["texts"].append(
            " ".join(f"[{each.start_s:.2f} {each.end_s:.2f}] {each.text}" for each in transcript.segments)
        )
    run["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return run


def runs(arguments: argparse.Namespace) -> Iterator[tuple[Run, Run]]:
    """Yield pairs of runs: before, and now."""
    for number in range(arguments.pairs):
        order = [arguments.before, HERE][:: 1 if number % 2 == 0 else -1]
        found = {checkout: start(checkout) for checkout in order}
        yield found[arguments.before], found[HERE]


def start(checkout: Path) -> Run:
    environment = {**os.environ, "PYTHONPATH": str(checkout.resolve() / "src")}
    command = [sys.executable, __file__, *sys.argv[1:], "--measure"]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    found: Run = json.loads(done.stdout)
    return found


def compare(arguments: argparse.Namespace) -> None:
    before, now = zip(*runs(arguments), strict=True)
    changed = sum(one != other for one, other in zip(before[0]["texts"], now[0]["texts"], strict=True))
    print(f"{fastest(before) / fastest(now):.3f} times as fast as before")
    print(f"peak memory {peak_mb(before):.0f} MB before, {peak_mb(now):.0f} MB now")
    print(f"{changed} of {len(now[0]['texts'])} texts or times differ")


def fastest(found: Sequence[Run]) -> float:
    """Return the sum over clips of the least seconds of any run."""
    by_clip = zip(*(run["seconds"] for run in found), strict=True)
    return float(sum(min(seconds) for seconds in by_clip))


def peak_mb(found: Sequence[Run]) -> float:
    return max(run["peak_bytes"] for run in found) / 1e6


def second_session_bytes(arguments: argparse.Namespace) -> int:
    """Transcribe twice in a first session, so that its buffers are as large as they get, then once in a second one."""
    import psutil

    from sottovoce.runtime import TranscribeOptions, load

    options = TranscribeOptions(language=arguments.language)
    first = load(arguments.variant)
    clips = clips_of(arguments)
    for clip in (*clips, *clips):
        first.transcribe(clip, options)
    alone: int = psutil.Process().memory_info().rss
    second = first.new_session()
    for clip in clips:
        second.transcribe(clip, options)
    return int(psutil.Process().memory_info().rss) - alone


if __name__ == "__main__":
    main()
