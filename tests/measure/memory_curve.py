"""Memory of a process that transcribes clips of all lengths, one after another; speed beside it.

    python tests/measure/memory_curve.py VARIANT MANIFEST --before OTHER_CHECKOUT --picture memory.svg

Each line is a fresh process with one thread: this checkout with `--memory normal` and `low`, and, with --before, another checkout.
They take turns, clip by clip, so that other work on the machine slows all of them. Anonymous memory is what a machine must have; file
pages are shared with other processes, and the kernel can drop them. CPU seconds leave out the first two clips, which start the
process; in later rounds no length is new.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypedDict

HERE = Path(__file__).parents[2]
WINDOW_S = 30
N_WARM = 2
MB = 1e6


class Point(TypedDict):
    """Memory after a number of clips, in MB."""

    clips: int
    anonymous: float
    files: float
    peak: float


class Answer(TypedDict):
    """What a process measured with a clip; the first has no text."""

    text: str
    cpu_s: float
    point: Point


class Curve(TypedDict):
    """What a process measured: CPU seconds of each clip of each round."""

    points: list[Point]
    cpu_s: list[float]
    texts: list[str]


def main() -> None:
    """Measure in this process with `--measure`, else start processes and compare them."""
    arguments = parse()
    if arguments.measure:
        measure(arguments)
        return
    curves, lengths_s = compare(arguments)
    print_curves(curves, lengths_s, arguments.limit)
    if arguments.picture is not None:
        arguments.picture.write_text(draw(curves), encoding="utf-8")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("variant", type=Path, nargs="+")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--before", type=Path, help="another checkout")
    parser.add_argument("--split", default="eval")
    parser.add_argument("--source", default="librispeech-test-clean", help="of the clips; empty: any")
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=1, help="times that all clips are transcribed")
    parser.add_argument("--picture", type=Path, help="an SVG file to write")
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def configurations(arguments: argparse.Namespace) -> dict[str, tuple[Path, Path, str]]:
    """Return checkout, variant and `--memory` of each process by its label."""
    found = {}
    for variant in arguments.variant:
        name = f"{variant.resolve().parent.name} {variant.name}"
        if arguments.before is not None:
            found[f"{name}, before"] = (arguments.before, variant, "normal")
        found |= {f"{name}, {memory}": (HERE, variant, memory) for memory in ("normal", "low")}
    return found


def compare(arguments: argparse.Namespace) -> tuple[dict[str, Curve], list[float]]:
    """Let the processes transcribe the clips in turns; return what each measured, and the lengths of the clips."""
    with ExitStack() as running:
        processes = {
            label: running.enter_context(start(*how)) for label, how in configurations(arguments).items()
        }
        curves = {
            label: Curve(points=[read(process)["point"]], cpu_s=[], texts=[])
            for label, process in processes.items()
        }
        clips = clips_of(arguments) * arguments.rounds
        for clip in clips:
            for label, process in processes.items():
                answer = ask(process, clip)
                curve = curves[label]
                curve["points"].append({**answer["point"], "clips": len(curve["points"])})
                curve["cpu_s"].append(answer["cpu_s"])
                curve["texts"].append(answer["text"])
    return curves, [clip["duration_s"] for clip in clips]


def start(checkout: Path, variant: Path, memory: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": str(checkout.resolve() / "src")}
    command = [sys.executable, __file__, str(variant), "-", "--memory", memory, "--measure"]
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def ask(process: "subprocess.Popen[str]", clip: dict[str, Any]) -> Answer:
    assert process.stdin is not None
    process.stdin.write(json.dumps(clip) + "\n")
    process.stdin.flush()
    return read(process)


def read(process: "subprocess.Popen[str]") -> Answer:
    assert process.stdout is not None
    answer: Answer = json.loads(process.stdout.readline())
    return answer


def measure(arguments: argparse.Namespace) -> None:
    """Transcribe the clips that come in lines."""
    from sottovoce.runtime import load

    (variant,) = arguments.variant
    extra: dict[str, Any] = {} if arguments.memory == "normal" else {"memory": arguments.memory}
    transcriber = load(variant, threads=1, **extra)
    print(json.dumps(Answer(text="", cpu_s=0.0, point=point())), flush=True)
    for line in sys.stdin:
        clip = json.loads(line)
        language = clip["language"] if clip["language"] in transcriber.languages else "en"
        started = time.process_time()
        text = transcriber.transcribe(clip["audio"], language=language).text
        used_s = time.process_time() - started
        print(json.dumps(Answer(text=text, cpu_s=used_s, point=point())), flush=True)


def clips_of(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return clips in an order by chance."""
    rows = list(map(json.loads, arguments.manifest.read_text(encoding="utf-8").splitlines()))
    chosen = [
        {**row, "audio": str(arguments.manifest.parent / row["audio"])}
        for row in rows
        if row["split"] == arguments.split
        and arguments.source in {"", row["source"]}
        and row["duration_s"] <= WINDOW_S
    ]
    random.Random(0).shuffle(chosen)  # noqa: S311 - no secret
    return chosen[: arguments.limit]


def point() -> Point:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    kib = {
        name: int(value.split()[0])
        for name, _, value in (line.partition(":") for line in lines)
        if "kB" in value
    }
    anonymous, files, peak = (kib[name] * 1024 / MB for name in ("RssAnon", "RssFile", "VmHWM"))
    return Point(clips=0, anonymous=anonymous, files=files, peak=peak)


def print_curves(curves: Mapping[str, Curve], lengths_s: Sequence[float], n_clips: int) -> None:
    first = next(iter(curves.values()))
    for label, curve in curves.items():
        points = curve["points"]
        shown = [points[number] for number in (0, 1, 2, 8, 32, 64) if number < len(points) - 1] + points[-1:]
        each = ", ".join(f"{at['clips']}: {at['anonymous']:.0f} + {at['files']:.0f}" for at in shown)
        changed = sum(one != other for one, other in zip(curve["texts"], first["texts"], strict=True))
        speeds = ", then ".join(
            f"{sum(lengths_s[i] for i in clips) / sum(curve['cpu_s'][i] for i in clips):.1f}"
            for clips in rounds(len(lengths_s), n_clips)
        )
        print(
            f"{label}: peak {points[-1]['peak']:.0f} MB, {speeds} s of audio a CPU second, {changed} texts changed"
        )
        print(f"  MB anonymous + files after clips: {each}")


def rounds(n_all: int, n_clips: int) -> list[range]:
    """Return the clips of each round, without the first two of all."""
    starts = range(0, n_all, min(n_clips, n_all))
    return [range(max(start, N_WARM), min(start + n_clips, n_all)) for start in starts]


def draw(curves: Mapping[str, Curve]) -> str:
    """Draw the peaks by the number of clips, as SVG."""
    import io

    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "memory"}):
        figure = Figure(figsize=(7, 3.6), layout="constrained")
        axes = figure.subplots()
        for label, curve in curves.items():
            points = curve["points"]
            axes.plot([at["clips"] for at in points], [at["peak"] for at in points], label=label)
        axes.set(xlabel="clips", ylabel="most memory so far, MB", ylim=(0, None), xlim=(0, None))
        axes.grid(visible=True, alpha=0.3)
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


if __name__ == "__main__":
    main()
