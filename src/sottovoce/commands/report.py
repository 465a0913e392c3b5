"""`sottovoce report`."""

from pathlib import Path
from typing import Annotated

import typer

from sottovoce.commands.options import Force, Session


def report(
    context: typer.Context,
    results: Annotated[
        Path,
        typer.Argument(
            metavar="RESULTS", help="Folder that `sottovoce benchmark` wrote.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="HTML file to write.")] = Path(
        "report.html"
    ),
    *,
    force: Force = False,
) -> None:
    """Write the comparison as one HTML file that needs no network and no scripts.

    Examples:

        sottovoce report results/tiny.en-int8 --out report.html

        sottovoce report results/tiny.en-int8 --out report.html --force
    """
    from sottovoce.reports.report import write_report

    session: Session = context.obj
    session.terminal.note(f"wrote {write_report(results, out, force=force)}")
