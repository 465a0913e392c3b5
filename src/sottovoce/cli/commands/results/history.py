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
    limit: Annotated[int, typer.Option("--limit", min=1, help="Number of entries to show, the latest.")] = 40,
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
    """Show earlier results of `sottovoce benchmark` on this machine.

    Examples:

        sottovoce history

        sottovoce history whisper-base --entry int8-fast --plot base.svg
    """
    import json

    from sottovoce.benchmark.history import HISTORY_VARIABLE, group_series, history_path, read_history
    from sottovoce.cli.tables import history_table
    from sottovoce.errors import InputError, nearest
    from sottovoce.storage.documents import write_text
    from sottovoce.storage.folders import check_output_file

    session: Session = context.obj
    path = history_path()
    if path is None:
        raise InputError(f"the history is off: {HISTORY_VARIABLE} is empty; unset it, or set it to a file")
    entries = read_history(path, model=model, entry=entry, note=session.terminal.note)[-limit:]
    if not entries:
        known = dict.fromkeys(each.model for each in read_history(path, note=lambda _: None))
        raise InputError(
            f"{path} has no result of {model or 'any model'}{'' if entry is None else f', {entry}'}"
            f"{nearest(model or '', known)} (models: {', '.join(known) or 'none; sottovoce benchmark adds its results'})"
        )
    if plot is not None:
        from sottovoce.reports.charts.history import draw_history

        check_output_file(plot, force=force)
        write_text(plot, draw_history(entries))
    if as_json:
        show(session, json.dumps([each.model_dump(mode="json") for each in entries], indent=2))
    else:
        show(session, history_table(entries))
    if len({series.conditions for series in group_series(entries)}) > 1:
        session.terminal.note(
            "hosts, threads or clips differ between sections: compare only entries of one section"
        )
    if plot is not None:
        session.terminal.note(f"wrote {plot}")
