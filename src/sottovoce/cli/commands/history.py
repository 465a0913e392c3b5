"""`sottovoce history`."""

from pathlib import Path
from typing import Annotated

import typer

from sottovoce.cli.commands.options import Force, Json, Session, show


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
    import json

    from sottovoce.benchmark.history import HISTORY_VARIABLE, group_lines, history_path, read_past
    from sottovoce.cli.tables import history_table
    from sottovoce.errors import InputError, nearest
    from sottovoce.storage.artifacts import write_text
    from sottovoce.storage.folders import check_output_file

    session: Session = context.obj
    path = history_path()
    if path is None:
        raise InputError(
            f"no history is kept: {HISTORY_VARIABLE} is set to nothing; unset it, or name a file"
        )
    past = read_past(path, model=model, entry=entry, note=session.terminal.note)[-limit:]
    if not past:
        known = dict.fromkeys(one.model for one in read_past(path, note=lambda _: None))
        raise InputError(
            f"{path} has nothing of {model or 'any model'}{'' if entry is None else f', {entry}'}"
            f"{nearest(model or '', known)} (models: {', '.join(known) or 'none; sottovoce benchmark adds what it measures'})"
        )
    if plot is not None:
        from sottovoce.reports.charts.history import draw_history

        check_output_file(plot, force=force)
        write_text(plot, draw_history(past))
    if as_json:
        show(session, json.dumps([one.model_dump(mode="json") for one in past], indent=2))
    else:
        show(session, history_table(past))
    if len({line.conditions for line in group_lines(past)}) > 1:
        session.terminal.note("hosts, threads or clips differ between these: compare what stands together")
    if plot is not None:
        session.terminal.note(f"wrote {plot}")
