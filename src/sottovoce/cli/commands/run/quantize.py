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
    as_own: Annotated[
        bool,
        typer.Option("--as-own", help="RUN stands for this variant from now on, if it has another name."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Quantize a run again from its calibration record, with other settings.

    A variant with another name is added to RUN; where a command takes RUN, it still uses the variant that optimize made.

    Examples:

        sottovoce quantize runs/tiny.en --set quantize.components.encoder.smooth_quant_alpha=0.8

        sottovoce quantize runs/tiny.en --set quantize.name=int8-a8 --set quantize.components.decoder.scheme=w8a8

        sottovoce quantize runs/tiny.en --recipe ct2-int8 --checkpoint tiny.en
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
    made = quantize_again(run, recipe_now, session.terminal, checkpoint=checkpoint, as_own=as_own)
    summary = inspect_run(made)
    show(session, summary.model_dump_json(indent=2) if as_json else run_table(summary))
    name, own = recipe_now.quantize.name, made.recipe.quantize.name
    session.terminal.note(f"wrote {run_folder / name}")
    if name != own:
        session.terminal.note(
            f"{run_folder} still stands for {own}: use {run_folder / name} or --variant {name}, or quantize with --as-own"
        )
