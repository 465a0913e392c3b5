"""`sottovoce plan`."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sottovoce.cli.commands.options import Json, Session, show
from sottovoce.errors import SpecError

if TYPE_CHECKING:
    from rich.table import Table

    from sottovoce.runtime.planning.device import Device
    from sottovoce.runtime.planning.plan import DevicePlan
    from sottovoce.runtime.planning.predict import Prediction

THIS_MACHINE = "THIS"

UNITS = {"mb": 1e6, "gb": 1e9, "mib": 2**20, "gib": 2**30}

N_CLIPS = 12


def plan(
    context: typer.Context,
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL|RUN]",
            help="Name of a model, folder of a checkpoint, or a run, whose variants are also measured here; by default all multilingual sizes.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            "--device",
            metavar="THIS|FILE",
            help="This machine, measured in ten seconds, or what `sottovoce plan --json` printed on another one.",
        ),
    ] = THIS_MACHINE,
    max_memory: Annotated[
        str | None,
        typer.Option(
            "--max-memory",
            metavar="SIZE",
            help="Most memory of the process, such as 500MB; by default what the device has available.",
            show_default=False,
        ),
    ] = None,
    min_rtfx: Annotated[
        float, typer.Option("--min-rtfx", min=0, help="Least seconds of audio transcribed in a second.")
    ] = 1.0,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Inference threads; all cores by default.")
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Predict speed and memory of each model size on a device, and choose one that fits.

    Examples:

        sottovoce plan --max-memory 500MB --min-rtfx 5

        sottovoce plan --json > device.json

        sottovoce plan base --device device.json

        sottovoce plan runs/base
    """
    from sottovoce.runtime.planning.choose import Needs
    from sottovoce.runtime.planning.plan import plan_device

    session: Session = context.obj
    limit = None if max_memory is None else parse_size(max_memory)
    measured = _device(session, device, threads)
    needs = Needs(
        max_memory_bytes=measured.available_memory_bytes if limit is None else limit, min_rtfx=min_rtfx
    )
    made = plan_device(measured, model, needs, _clips() if device == THIS_MACHINE else ())
    if as_json:
        show(session, made.model_dump_json(indent=2))
        return
    show(session, _described(made.device))
    show(session, _table(made))
    show(session, f"assumed: {made.assumed}")
    for line in _compared(made):
        show(session, line)
    show(session, _choice(made))


def parse_size(text: str) -> float:
    """Read a size such as 500MB or 1.5 GiB, in bytes.

    Raises:
        SpecError: it is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]i?b)", text.strip().lower())
    if found is None or found[2] not in UNITS:
        raise SpecError(f"--max-memory is {text}, want a number with MB, GB, MiB or GiB, such as 500MB")
    return float(found[1]) * UNITS[found[2]]


def _device(session: Session, device: str, threads: int | None) -> "Device":
    from sottovoce.machine.resources import usable_cores
    from sottovoce.runtime.planning.device import measure_device, read_device

    if device != THIS_MACHINE:
        if threads is not None:
            raise SpecError("--threads is of this machine; a device's file has its own number")
        return read_device(Path(device))
    with session.terminal.progress("measure this machine", 1) as advance:
        measured = measure_device(threads or usable_cores())
        advance()
    return measured


def _clips() -> list[Path]:
    """Return short English clips of the synthetic speech; none on a device, which lacks it."""
    try:
        from sottovoce.speech.sets import read_speech
        from sottovoce.speech.synthetic import demo_speech
    except ModuleNotFoundError:
        return []
    clips = read_speech(str(demo_speech())).of_split("eval").clips
    return [clip.audio for clip in clips if isinstance(clip.audio, Path) and clip.language == "en"][:N_CLIPS]


def _described(device: "Device") -> str:
    products = ", ".join(f"{kind} {rate / 1e9:.0f}" for kind, rate in device.macs_per_s.items())
    steps = " / ".join(f"{rate.bytes_per_s / 1e9:.0f}" for rate in device.steps)
    sizes = " / ".join(f"{rate.weight_bytes / 1e6:.0f}" for rate in device.steps)
    return (
        f"device: {device.host.cpu}, {device.threads} thread{'s' if device.threads > 1 else ''}: {products} GMAC/s; "
        f"reads {steps} GB/s of {sizes} MB; {device.available_memory_bytes / 1e6:.0f} MB of memory available"
    )


def _table(made: "DevicePlan") -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("model")
    table.add_column("recipe")
    table.add_column("memory")
    for name in ("RTFx", "first transcript, s", "memory, MB", "disk, MB"):
        table.add_column(name, justify="right")
    for each in made.predictions:
        table.add_row(
            each.model,
            each.recipe,
            each.memory_use,
            f"{each.rtfx:.1f}",
            f"{each.first_transcript_s:.1f}",
            f"{each.memory_bytes / 1e6:.0f}",
            f"{each.disk_bytes / 1e6:.0f}",
        )
    return table


def _compared(made: "DevicePlan") -> list[str]:
    lines = []
    for each in made.compared:
        off = ", ".join(f"{what} {error:+.0%}" for what, error in each.errors().items())
        lines.append(
            f"measured here: {each.variant}: RTFx {each.measured_rtfx:.1f}, first transcript {each.measured_first_transcript_s:.1f} s, "
            f"{each.measured_memory_bytes / 1e6:.0f} MB; predictions are off by: {off}"
        )
    return lines


def _choice(made: "DevicePlan") -> str:
    limit = f"{made.max_memory_bytes / 1e6:.0f} MB and RTFx {made.min_rtfx:g}"
    if made.choice is None:
        return f"choice: none fits {limit}, with a reserve of 15 % of memory"
    return f"choice: {_named(made.choice)}; it fits {limit}, with a reserve of 15 % of memory"


def _named(choice: "Prediction") -> str:
    memory = "" if choice.memory_use == "normal" else f" with --memory {choice.memory_use}"
    return f"{choice.model}, recipe {choice.recipe}{memory}"
