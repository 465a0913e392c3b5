"""`sottovoce inspect`."""

import typer

from sottovoce.cli.commands.options import Json, RunFolder, Session, show


def inspect(
    context: typer.Context,
    run_folder: RunFolder,
    *,
    as_json: Json = False,
) -> None:
    """Show what is in a run: variants, sizes, INT8 nodes, precision, recipe and lineage.

    Examples:

        sottovoce inspect runs/tiny.en

        sottovoce inspect runs/tiny.en --json
    """
    from sottovoce.cli.inspection import inspect_run
    from sottovoce.cli.tables import doctor_table, run_lines, run_table
    from sottovoce.runs import read_run

    session: Session = context.obj
    summary = inspect_run(read_run(run_folder))
    if as_json:
        typer.echo(summary.model_dump_json(indent=2))
        return
    show(session, run_table(summary))
    for line in run_lines(summary):
        typer.echo(line)
    if summary.doctor is not None:
        show(session, doctor_table(summary.doctor))
