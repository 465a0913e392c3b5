"""`sottovoce compare`."""

from pathlib import Path
from typing import Annotated

import typer

from sottovoce.cli.commands.options import Json, Session, parse_names, show


def compare(
    context: typer.Context,
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULTS...",
            help="Folders that `sottovoce benchmark` wrote; the first is what the others are compared with.",
            show_default=False,
        ),
    ],
    despite: Annotated[
        str | None,
        typer.Option(
            "--despite",
            metavar="WHAT,...",
            help="Compare all the same where these differ: model, host, threads, clips, audio, normalizer.",
            show_default=False,
        ),
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Compare a variant across benchmarks, clip by clip; refuses (exit code 3) what was measured differently.

    Examples:

        sottovoce compare results/monday results/tuesday

        sottovoce compare results/epyc results/raspberry --despite host,threads --json
    """
    import numpy as np

    from sottovoce.benchmark.compare_results import Condition, Measured, compare_results
    from sottovoce.benchmark.schema.results import read_results
    from sottovoce.cli.tables import results_comparison_table
    from sottovoce.errors import SpecError, nearest

    session: Session = context.obj
    accepted = []
    for name in parse_names(despite):
        if name not in list(Condition):
            raise SpecError(f"--despite {name}: not one of {', '.join(Condition)}{nearest(name, Condition)}")
        accepted.append(Condition(name))
    measured = [
        Measured(name=str(folder), results=told, rows=rows)
        for folder, (told, rows) in ((folder, read_results(folder)) for folder in results)
    ]
    across = compare_results(measured, despite=accepted, rng=np.random.default_rng(0))
    show(session, across.model_dump_json(indent=2) if as_json else results_comparison_table(across))
    for name, found in across.differences.items():
        for condition, told in found.items():
            session.terminal.note(f"{name}: {condition} differs, {told}")
