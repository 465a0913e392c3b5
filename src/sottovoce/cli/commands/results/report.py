"""`sottovoce report`."""

from pathlib import Path
from typing import Annotated

import typer

from sottovoce.cli.commands.options import Force, Session
from sottovoce.reports.formats import ReportFormat

STANDARD_OUTPUT = Path("-")


def report(
    context: typer.Context,
    results: Annotated[
        Path,
        typer.Argument(
            metavar="RESULTS",
            help="Folder that `sottovoce benchmark`, `heal`, `finetune` or `distil` wrote.",
            show_default=False,
        ),
    ],
    kind: Annotated[
        ReportFormat,
        typer.Option(
            "--format",
            help="A page with everything, a comment for a pull request, or a card for the Hugging Face hub.",
        ),
    ] = ReportFormat.HTML,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="File to write; - prints it. By default report.html, report.md or model-card.md.",
            show_default=False,
        ),
    ] = None,
    *,
    audio: Annotated[
        bool,
        typer.Option(
            "--audio/--no-audio", help="Put recordings into the page, as far as RESULTS holds them."
        ),
    ] = True,
    force: Force = False,
) -> None:
    """Write the comparison as one HTML file that needs no network, as a comment or as a model card.

    A variant of `heal` and a checkpoint of `finetune` or `distil` have a page about their training.

    Examples:

        sottovoce report results/tiny.en --out report.html

        sottovoce report results/tiny.en --format markdown --out -

        sottovoce report results/tiny.en --format model-card --out README.md

        sottovoce report runs/base/int8-fast-healed --out training.html
    """
    from sottovoce.reports.report import make_report, write_report

    session: Session = context.obj
    if out == STANDARD_OUTPUT:
        typer.echo(make_report(results, kind, has_audio=audio), nl=False)
        return
    target = out or Path(kind.file_name)
    written = write_report(results, target, force=force, kind=kind, has_audio=audio)
    session.terminal.note(f"wrote {written}")
