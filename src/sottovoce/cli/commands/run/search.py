"""`sottovoce search`."""

from pathlib import Path
from typing import Annotated

import typer

from sottovoce.cli.commands.options import Data, Force, Json, Model, Overrides, RecipeName, Session, show
from sottovoce.errors import GateError


def search(
    context: typer.Context,
    model: Model,
    data: Data,
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Folder to write.", show_default=False)],
    max_wer_increase: Annotated[
        float,
        typer.Option(
            "--max-wer-increase",
            min=0,
            help="Budget of word errors: largest increase of WER over fp32's, in points.",
        ),
    ] = 0.2,
    minutes: Annotated[
        float, typer.Option("--minutes", min=0, help="Budget of time, over all invocations.")
    ] = 30,
    trials: Annotated[
        int | None,
        typer.Option(
            "--trials", min=1, help="Largest number of trials; by default as many as the time allows."
        ),
    ] = None,
    recipe: RecipeName = "search",
    overrides: Overrides = None,
    workers: Annotated[
        str,
        typer.Option(
            "--workers", help="local, or ray (ray:N) for the workers of a Ray cluster on one file system."
        ),
    ] = "local",
    threads: Annotated[
        int | None,
        typer.Option("--threads", min=1, help="Inference threads of a worker; all cores by default."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the choice of clips and settings.")] = 0,
    *,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Find the fastest variant within a budget of word errors: MODEL and SPEECH in, RUN out.

    After an interruption, or with more minutes, the same command resumes.

    Examples:

        sottovoce search tiny.en --data speech/manifest.jsonl --max-wer-increase 0.2 --out runs/tiny.en-best

        sottovoce search base --data speech/manifest.jsonl --minutes 60 --out runs/base-best

        sottovoce search base --data speech/manifest.jsonl --workers ray:4 --threads 4 --out runs/base-best
    """
    from sottovoce.cli.tables import search_table
    from sottovoce.optimize.search.search import Budget, SearchSpec
    from sottovoce.optimize.search.search import search as find
    from sottovoce.optimize.search.workers import parse_workers
    from sottovoce.recipes.load import load_recipe
    from sottovoce.speech.sets import read_speech

    session: Session = context.obj
    kind, n_workers = parse_workers(workers)
    spec = SearchSpec(
        budget=Budget(max_wer_increase=max_wer_increase / 100, minutes=minutes, max_trials=trials),
        workers=kind,
        n_workers=n_workers,
        threads=threads,
        seed=seed,
    )
    chosen = load_recipe(recipe, overrides or ())
    report = find(model, chosen, read_speech(data), out, spec, force=force, reporter=session.terminal)
    show(session, report.model_dump_json(indent=2) if as_json else search_table(report))
    session.terminal.note(f"wrote {out}")
    session.terminal.note(f"next: sottovoce benchmark {out} --data {data} --out {out}-results")
    if not report.is_within_budget:
        raise GateError(
            f"no trial is within {max_wer_increase:g} points of WER; {out} holds the one that diverges least from fp32. "
            "Give the search more --minutes, or a recipe with more careful choices"
        )
