"""`sottovoce demo`."""

from pathlib import Path
from typing import Annotated

import typer

from sottovoce.cli.commands.options import Force, Session, show


def demo(
    context: typer.Context,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for run, results and report.")
    ] = Path("sottovoce-demo"),
    *,
    force: Force = False,
) -> None:
    """Optimize, benchmark and report whisper-tiny.en on synthetic speech.

    Examples:

        sottovoce demo

        sottovoce demo --out my-demo --force
    """
    from sottovoce.benchmark.schema.results import read_results
    from sottovoce.cli.demo import run_demo
    from sottovoce.cli.tables import results_table

    session: Session = context.obj
    paths = run_demo(out, force=force, reporter=session.terminal)
    show(session, results_table(*read_results(paths.results)))
    typer.echo(
        f"report: {paths.report}; to measure real speech: sottovoce benchmark {paths.run} --data SPEECH"
    )
