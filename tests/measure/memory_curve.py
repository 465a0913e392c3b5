"""Memory of a process that transcribes clips of all lengths, one after another; speed beside it.

    python tests/measure/memory_curve.py VARIANT MANIFEST --before OTHER_CHECKOUT --picture memory.svg

Each line is a fresh process: this checkout with `--memory normal` and `low`, and, with --before, another checkout. Anonymous memory
is what a machine must have; file pages are shared with other processes, and the kernel can drop them. CPU seconds leave out the
first two clips, which start the process.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
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


class Curve(TypedDict):
    """What a process measured."""

    points: list[Point]
    cpu_s: float
    audio_s: float
    texts: list[str]


def main() -> None:
    """Measure in this process with `--measure`, else start processes and compare them."""
    arguments = parse()
    if arguments.measure:
        sys.stdout.write(json.dumps(measure(arguments)))
        return
    curves = {label: start(arguments, *how) for label, how in configurations(arguments).items()}
    print_curves(curves)
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


def start(arguments: argparse.Namespace, checkout: Path, variant: Path, memory: str) -> Curve:
    environment = {**os.environ, "PYTHONPATH": str(checkout.resolve() / "src")}
    chosen = ["--split", arguments.split, "--source", arguments.source, "--limit", str(arguments.limit)]
    command = [
        sys.executable,
        __file__,
        str(variant),
        str(arguments.manifest),
        "--memory",
        memory,
        "--measure",
        *chosen,
    ]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    curve: Curve = json.loads(done.stdout)
    return curve


def measure(arguments: argparse.Namespace) -> Curve:
    from sottovoce.runtime import load

    (variant,) = arguments.variant
    extra: dict[str, Any] = {} if arguments.memory == "normal" else {"memory": arguments.memory}
    transcriber = load(variant, **extra)
    curve = Curve(points=[point(0)], cpu_s=0.0, audio_s=0.0, texts=[])
    for number, row in enumerate(clips_of(arguments, transcriber.languages), start=1):
        started = time.process_time()
        transcript = transcriber.transcribe(
            arguments.manifest.parent / row["audio"], language=row["language"]
        )
        if number > N_WARM:
            curve["cpu_s"] += time.process_time() - started
            curve["audio_s"] += row["duration_s"]
        curve["texts"].append(transcript.text)
        curve["points"].append(point(number))
    return curve


def clips_of(arguments: argparse.Namespace, languages: Sequence[str]) -> list[dict[str, Any]]:
    """Return clips in an order by chance, the same in each process."""
    rows = list(map(json.loads, arguments.manifest.read_text(encoding="utf-8").splitlines()))
    chosen = [
        row
        for row in rows
        if row["split"] == arguments.split
        and arguments.source in {"", row["source"]}
        and row["duration_s"] <= WINDOW_S
        and row["language"] in languages
    ]
    random.Random(0).shuffle(chosen)  # noqa: S311 - no secret
    return chosen[: arguments.limit]


def point(number: int) -> Point:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    kib = {
        name: int(value.split()[0])
        for name, _, value in (line.partition(":") for line in lines)
        if "kB" in value
    }
    anonymous, files, peak = (kib[name] * 1024 / MB for name in ("RssAnon", "RssFile", "VmHWM"))
    return Point(clips=number, anonymous=anonymous, files=files, peak=peak)


def print_curves(curves: Mapping[str, Curve]) -> None:
    first = next(iter(curves.values()))
    for label, curve in curves.items():
        points = curve["points"]
        shown = [points[number] for number in (0, 1, 2, 8, 32, 64) if number < len(points) - 1] + points[-1:]
        each = ", ".join(f"{at['clips']}: {at['anonymous']:.0f} + {at['files']:.0f}" for at in shown)
        rtfx = curve["audio_s"] / curve["cpu_s"]
        changed = sum(one != other for one, other in zip(curve["texts"], first["texts"], strict=True))
        print(
            f"{label}: peak {points[-1]['peak']:.0f} MB, {rtfx:.1f} s of audio a CPU second, {changed} texts changed"
        )
        print(f"  MB anonymous + files after clips: {each}")


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
