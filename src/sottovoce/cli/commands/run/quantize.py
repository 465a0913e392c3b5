"""`sottovoce quantize`."""

from typing import Annotated

import typer

from sottovoce.cli.commands.options import Json, Overrides, RunFolder, Session, show


def quantize(
    context: typer.Context,
    run_folder: RunFolder,
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="Ready recipe or YAML file; the run's own by default.")
    ] = None,
    overrides: Overrides = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            "--checkpoint",
            metavar="MODEL",
            help="Checkpoint of RUN, for a CTranslate2 variant; by default it is looked for in the cache.",
            show_default=False,
        ),
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Quantize a run again from its calibration record, with other settings.

    Examples:

        sottovoce quantize runs/tiny.en-int8 --set quantize.components.encoder.smooth_quant_alpha=0.8

        sottovoce quantize runs/tiny.en-int8 --set quantize.name=int8-a8 --set quantize.components.decoder.scheme=w8a8

        sottovoce quantize runs/tiny.en-int8 --recipe ct2-int8 --checkpoint tiny.en
    """
    from sottovoce.cli.inspection import inspect_run
    from sottovoce.cli.tables import run_table
    from sottovoce.optimize.pipeline import quantize_again
    from sottovoce.recipes.load import load_recipe, override_recipe
    from sottovoce.runs import read_run

    session: Session = context.obj
    run = read_run(run_folder)
    base = run.recipe if recipe is None else load_recipe(recipe)
    recipe_now = override_recipe(base, overrides or ())
    summary = inspect_run(quantize_again(run, recipe_now, session.terminal, checkpoint=checkpoint))
    show(session, summary.model_dump_json(indent=2) if as_json else run_table(summary))
    session.terminal.note(f"wrote {run_folder}")
