"""`sottovoce optimize`."""

from pathlib import Path
from typing import Annotated

import typer

from sottovoce.cli.commands.options import (
    CalibrationData,
    Force,
    Json,
    Model,
    Overrides,
    RecipeName,
    Restart,
    Session,
    read_calibration_speech,
    show,
)
from sottovoce.terms import RECOMMENDED_RECIPE


def optimize(
    context: typer.Context,
    model: Model,
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Folder to write.", show_default=False)],
    data: CalibrationData = None,
    recipe: RecipeName = RECOMMENDED_RECIPE,
    overrides: Overrides = None,
    *,
    restart: Restart = False,
    tune_live: Annotated[
        bool,
        typer.Option(
            "--tune-live",
            help="Choose by calibration speech when live words are final, as `sottovoce tune-live` does; takes minutes.",
        ),
    ] = False,
    force: Force = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything and show the plan; write nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Export a checkpoint, record calibration, quantize: MODEL and SPEECH in, RUN out.

    After an interruption the same command resumes.

    Examples:

        sottovoce optimize base --out runs/base

        sottovoce optimize base --data speech/manifest.jsonl --out runs/base --dry-run

        sottovoce optimize ./my-finetuned-whisper --data LibriSpeech/dev-clean --out runs/mine --set calibration.n_clips=32
    """
    import json

    from sottovoce.cli.inspection import inspect_run
    from sottovoce.cli.tables import run_table
    from sottovoce.optimize import pipeline
    from sottovoce.optimize.live import tune as live
    from sottovoce.optimize.plan import check_resources, describe, plan, summarize
    from sottovoce.recipes.load import load_recipe

    session: Session = context.obj
    chosen = load_recipe(recipe, overrides or ())
    speech = read_calibration_speech(session, data)
    planned = plan(model, chosen, speech, out, force=force)
    if dry_run:
        show(session, json.dumps(summarize(planned), indent=2) if as_json else "\n".join(describe(planned)))
        check_resources(planned)
        return
    run = pipeline.optimize(planned, force=force, reporter=session.terminal, restart=restart)
    if tune_live:
        live.tune_live(run, speech, session.terminal)
    summary = inspect_run(run)
    show(session, summary.model_dump_json(indent=2) if as_json else run_table(summary))
    session.terminal.note(f"wrote {out}")
    session.terminal.note(f"next: sottovoce benchmark {out} --data {data or 'SPEECH'} --out {out}-results")
