"""`sottovoce history`."""

from pathlib import Path
from typing import Annotated

import typer

from sottovoce.commands.options import Force, Json, Session, show


def history(
    context: typer.Context,
    model: Annotated[
        str | None,
        typer.Argument(metavar="[MODEL]", help="Such as whisper-base; all by default.", show_default=False),
    ] = None,
    entry: Annotated[
        str | None,
        typer.Option("--entry", help="A variant, or ENGINE:VARIANT; all by default.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="The latest so many.")] = 40,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot", metavar="FILE", help="Draw speed and WER over time as SVG.", show_default=False
        ),
    ] = None,
    *,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Show what `sottovoce benchmark` measured on this machine before.

    Examples:

        sottovoce history

        sottovoce history whisper-base --entry int8-fast --plot base.svg
    """
    from sottovoce.artifacts import check_output, write_text
    from sottovoce.benchmark.history import history_path, read_past, same_conditions
    from sottovoce.errors import InputError
    from sottovoce.result_tables import history_table

    session: Session = context.obj
    path = history_path()
    past = () if path is None else read_past(path, model=model, entry=entry)[-limit:]
    if not past:
        raise InputError(
            f"{path or 'no history'} holds no such result; `sottovoce benchmark` adds one each time that it ends"
        )
    if plot is not None:
        from sottovoce.reports.history import draw_history

        check_output(plot, force=force)
        write_text(plot, draw_history(past))
    if as_json:
        show(session, "[" + ",\n ".join(one.model_dump_json() for one in past) + "]")
    else:
        show(session, history_table(past))
    if not same_conditions(past):
        session.terminal.note("hosts, threads or clips differ between these: compare what is alike")
    if plot is not None:
        session.terminal.note(f"wrote {plot}")
