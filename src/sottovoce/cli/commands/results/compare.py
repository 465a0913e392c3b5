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
            help="Folders that `sottovoce benchmark` wrote; the others are compared with the first.",
            show_default=False,
        ),
    ],
    despite: Annotated[
        str | None,
        typer.Option(
            "--despite",
            metavar="WHAT,...",
            help="Accept differences in: model, host, threads, clips, audio, normalizer.",
            show_default=False,
        ),
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Compare a variant across benchmarks, clip by clip.

    Results that were measured differently are refused (exit code 3).

    Examples:

        sottovoce compare results/monday results/tuesday

        sottovoce compare results/epyc results/raspberry --despite host,threads --json
    """
    import numpy as np

    from sottovoce.benchmark.compare_results import Condition, LoadedResults, compare_results
    from sottovoce.benchmark.schema.results import read_results
    from sottovoce.cli.tables import results_comparison_table
    from sottovoce.errors import SpecError, nearest

    session: Session = context.obj
    accepted = []
    for name in parse_names(despite):
        if name not in list(Condition):
            raise SpecError(
                f"--despite {name} is not one of {', '.join(Condition)}{nearest(name, Condition)}"
            )
        accepted.append(Condition(name))
    loaded = []
    for folder in results:
        read, rows = read_results(folder)
        loaded.append(LoadedResults(name=str(folder), results=read, rows=rows))
    compared = compare_results(loaded, despite=accepted, rng=np.random.default_rng(0))
    show(session, compared.model_dump_json(indent=2) if as_json else results_comparison_table(compared))
    for name, found in compared.differences.items():
        for condition, difference in found.items():
            session.terminal.note(f"{name}: {condition} differs, {difference}")
