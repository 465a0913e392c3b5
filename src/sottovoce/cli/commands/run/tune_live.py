"""`sottovoce tune-live`."""

from typing import Annotated

import typer

from sottovoce.cli.commands.options import (
    CalibrationData,
    Json,
    RunFolder,
    Session,
    read_calibration_speech,
    show,
)


def tune_live(
    context: typer.Context,
    run_folder: RunFolder,
    data: CalibrationData = None,
    variant: Annotated[
        str | None,
        typer.Option("--variant", help="By default the run's quantized variant.", show_default=False),
    ] = None,
    clips: Annotated[
        int, typer.Option("--clips", min=1, help="Calibration clips that are fed under each rule.")
    ] = 24,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Inference threads; all cores by default.")
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Measure when words of a live transcription can count as final with a variant, and store the best rule with it.

    Clips of the calibration split are fed to a live session under each rule, computation not counted; no transcripts
    are needed. `sottovoce live`, `serve` and bundles of the variant use the rule from then on.

    Examples:

        sottovoce tune-live runs/base

        sottovoce tune-live runs/base --data speech/manifest.jsonl

        sottovoce tune-live runs/tiny.en --data speech/manifest.jsonl --clips 40 --json
    """
    from sottovoce.cli.tables import live_rules_table
    from sottovoce.optimize.live.tune import tune_live as tune
    from sottovoce.runs import read_run

    session: Session = context.obj
    tuning = tune(
        read_run(run_folder),
        read_calibration_speech(session, data),
        session.terminal,
        variant=variant,
        n_clips=clips,
        threads=threads,
    )
    show(session, tuning.model_dump_json(indent=2) if as_json else live_rules_table(tuning))
