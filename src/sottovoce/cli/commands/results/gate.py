"""`sottovoce gate`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sottovoce.cli.commands.options import Json, Session, parse_names, show
from sottovoce.errors import GateError


def gate(
    context: typer.Context,
    results: Annotated[
        Path,
        typer.Argument(
            metavar="RESULTS", help="Folder that `sottovoce benchmark` wrote.", show_default=False
        ),
    ],
    fail_if: Annotated[
        list[str],
        typer.Option(
            "--fail-if",
            metavar="CONDITION",
            help="METRIC <, <=, >, >=, == or != NUMBER; may be repeated. WER in points and percent, sizes in MB.",
            show_default=False,
        ),
    ],
    variants: Annotated[
        str | None,
        typer.Option(
            "--variants", help="Names, separated by commas; by default all in the baseline's engine."
        ),
    ] = None,
    junit: Annotated[
        Path | None,
        typer.Option(
            "--junit", metavar="FILE", help="Also write the outcome as JUnit XML.", show_default=False
        ),
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Fail (exit code 3) if results violate a condition: for CI.

    Failed clips fail the gate too, unless a condition on n_failed limits them.

    Examples:

        sottovoce gate results --fail-if "wer_delta.high > 0.5" --fail-if "speedup.low < 1.5"

        sottovoce gate results --variants int8-fast --fail-if "peak_rss_mb > 600" --junit gate.xml
    """
    import json

    from sottovoce.benchmark import gates
    from sottovoce.benchmark.schema.results import read_results
    from sottovoce.storage.documents import write_text
    from sottovoce.storage.folders import check_output_file

    session: Session = context.obj
    conditions = gates.with_failures([gates.parse_condition(text) for text in fail_if])
    measured, _ = read_results(results)
    if junit is not None:
        check_output_file(junit, force=True)
    outcomes = gates.check_results(measured, conditions, parse_names(variants))
    if junit is not None:
        write_text(junit, gates.junit(outcomes, f"sottovoce {measured.model}"))
    if as_json:
        show(session, json.dumps([asdict(outcome) for outcome in outcomes], indent=2))
    else:
        for outcome in outcomes:
            show(session, f"{'FAIL' if outcome.has_failed else 'pass'}  {outcome.reason}")
    failed = [outcome for outcome in outcomes if outcome.has_failed]
    if failed:
        raise GateError(f"{len(failed)} of {len(outcomes)} conditions fail; first {failed[0].reason}")
