"""`sottovoce sensitivity`."""

from typing import Annotated

import typer

from sottovoce.cli.commands.options import Data, Json, RunFolder, Session, show


def sensitivity(
    context: typer.Context,
    run_folder: RunFolder,
    data: Data,
    variant: Annotated[
        str | None,
        typer.Option(
            "--variant", help="Whose recipe; by default the run's quantized variant.", show_default=False
        ),
    ] = None,
    clips: Annotated[
        int, typer.Option("--clips", min=1, help="Calibration clips on which each block is compared.")
    ] = 24,
    calibration_clips: Annotated[
        int | None,
        typer.Option(
            "--calibration-clips",
            min=1,
            help="Recorded clips to estimate the ranges of single blocks; all by default. Fewer are quicker and can mislead.",
            show_default=False,
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Inference threads; all cores by default.")
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Measure what each block of a model costs when it alone is quantized, and advise what to keep float.

    Examples:

        sottovoce sensitivity runs/tiny.en --data speech/manifest.jsonl

        sottovoce sensitivity runs/tiny.en --data speech/manifest.jsonl --variant int8 --clips 12 --json
    """
    from sottovoce.cli.tables import sensitivity_lines, sensitivity_table
    from sottovoce.optimize.sensitivity.sensitivity import SensitivitySpec, measure_sensitivity
    from sottovoce.runs import read_run
    from sottovoce.speech.sets import read_speech

    session: Session = context.obj
    spec = SensitivitySpec(
        variant=variant, n_clips=clips, n_calibration_clips=calibration_clips, threads=threads
    )
    report = measure_sensitivity(read_run(run_folder), read_speech(data), spec, session.terminal)
    if as_json:
        typer.echo(report.model_dump_json(indent=2))
        return
    show(session, sensitivity_table(report))
    for line in sensitivity_lines(report):
        typer.echo(line)
    session.terminal.note(f"wrote {run_folder / 'sensitivity'}")
