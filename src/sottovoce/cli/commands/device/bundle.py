"""`sottovoce bundle`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sottovoce.cli.commands.options import Force, Json, RunFolder, Session, show

if TYPE_CHECKING:
    from sottovoce.bundle.build import Built


def bundle(
    context: typer.Context,
    run_folder: RunFolder,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Path of the bundle, X.tar.gz.", show_default=False)
    ],
    variant: Annotated[
        str | None, typer.Option("--variant", help="Variant of the run; by default the quantized one.")
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            "--results",
            metavar="RESULTS",
            help="Folder of `sottovoce benchmark` on this run: adds its WER, speed and memory to the bundle.",
            show_default=False,
        ),
    ] = None,
    wheels: Annotated[
        str | None,
        typer.Option(
            "--wheels",
            metavar="PLATFORM",
            help="Include the wheels of the device: manylinux2014_x86_64, manylinux2014_aarch64, ...",
            show_default=False,
        ),
    ] = None,
    python: Annotated[
        str | None,
        typer.Option(
            "--python", metavar="VERSION", help="CPython of the device for --wheels; by default this one."
        ),
    ] = None,
    model_licence: Annotated[
        Path | None,
        typer.Option(
            "--model-licence",
            metavar="FILE",
            help="Text of the checkpoint's licence; not needed for OpenAI's checkpoints.",
            show_default=False,
        ),
    ] = None,
    min_rtfx: Annotated[
        float,
        typer.Option(
            "--min-rtfx", min=0.0, help="Least speed in the self-test: seconds of audio per second of work."
        ),
    ] = 1.0,
    max_memory_mb: Annotated[
        float | None,
        typer.Option(
            "--max-memory-mb",
            min=1.0,
            help="Most memory in the self-test; by default 1.5 times the memory in --results.",
            show_default=False,
        ),
    ] = None,
    sign: Annotated[
        Path | None,
        typer.Option(
            "--sign",
            metavar="KEY",
            help="Private key (PEM, elliptic curve): writes FILE.sig beside the bundle. Extra `signing`.",
            show_default=False,
        ),
    ] = None,
    *,
    docker: Annotated[
        bool,
        typer.Option("--docker", help="Add a Dockerfile that builds from the bundle alone; needs --wheels."),
    ] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Pack a variant into one file that a device can check, install and run without network.

    Examples:

        sottovoce bundle runs/base --variant int8-fast --out base.tar.gz

        sottovoce bundle runs/base --out base.tar.gz --results results/base --wheels manylinux2014_aarch64 --python 3.12

        sottovoce bundle runs/base --out base.tar.gz --wheels manylinux2014_x86_64 --docker --sign key.pem
    """
    from sottovoce.bundle.build import build, check_bundle_output, check_spec
    from sottovoce.bundle.contents import BundleSpec
    from sottovoce.bundle.wheels import read_target
    from sottovoce.cli.measured import read_measured
    from sottovoce.runs import read_run
    from sottovoce.speech.synthetic import demo_speech

    session: Session = context.obj
    target = read_target(wheels, python)
    check_bundle_output(out, is_signed=sign is not None, force=force)
    run = read_run(run_folder)
    name = variant or run.recipe.quantize.name
    spec = BundleSpec(
        variant=run.variant(name).name,
        speech=demo_speech(),
        target=target,
        has_dockerfile=docker,
        measured=None if results is None else read_measured(results, run, name),
        model_licence=model_licence,
        least_rtfx=min_rtfx,
        most_memory_mb=max_memory_mb,
        key=sign,
    )
    check_spec(spec)
    built = build(run, spec, out, session.terminal, force=force)
    if as_json:
        show(session, _json(built))
        return
    for line in _lines(built):
        show(session, line)


def _lines(built: "Built") -> list[str]:
    manifest = built.manifest
    unpacked = sum(entry.size_bytes for entry in manifest.files)
    lines = [
        f"{built.path}: {built.size_bytes / 1e6:.1f} MB, sha256 {built.sha256}",
        f"unpacked: {unpacked / 1e6:.1f} MB in {len(manifest.files)} files, model {manifest.model.size_bytes / 1e6:.1f} MB",
    ]
    if manifest.wheels is not None:
        glibc = "" if manifest.wheels.glibc is None else f", glibc {manifest.wheels.glibc} or newer"
        lines.append(f"wheels: {manifest.wheels.platform}, CPython {manifest.wheels.python}{glibc}")
    if built.signature is not None:
        lines.append(f"signature: {built.signature}")
    return [*lines, "on the device: unpack it, then `python3 verify.py`; README.md there says the rest"]


def _json(built: "Built") -> str:
    import json

    content = {
        "path": str(built.path),
        "size_bytes": built.size_bytes,
        "sha256": built.sha256,
        "signature": None if built.signature is None else str(built.signature),
        "bundle": built.manifest.model_dump(mode="json"),
    }
    return json.dumps(content, indent=2)
