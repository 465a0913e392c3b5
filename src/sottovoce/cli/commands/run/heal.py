"""`sottovoce heal`."""

from typing import Annotated

import typer

from sottovoce.cli.commands.options import (
    Force,
    Json,
    Restart,
    RunFolder,
    Session,
    Threads,
    TrainingCheckpoint,
    TrainingData,
    TrainingMinutes,
    TrainingSeed,
    TrainingSteps,
    show,
)
from sottovoce.errors import GateError


def heal(
    context: typer.Context,
    run_folder: RunFolder,
    data: TrainingData,
    minutes: TrainingMinutes = 30,
    steps: TrainingSteps = None,
    variant: Annotated[
        str | None,
        typer.Option(
            "--variant",
            help="The variant to train; by default the run's quantized one, or the only one with padding states.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            help="Name of the trained variant; by default the variant's with `-healed`.",
            show_default=False,
        ),
    ] = None,
    padding_states: Annotated[
        int | None,
        typer.Option(
            "--padding-states",
            min=1,
            max=255,
            help="Keys of each head, and states; by default as many as the variant has.",
            show_default=False,
        ),
    ] = None,
    checkpoint: TrainingCheckpoint = None,
    threads: Threads = None,
    seed: TrainingSeed = 0,
    *,
    restart: Restart = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Repair an elastic INT8 variant: train its padding states until it gives the probabilities of fp32.

    RUN gets a variant beside the one that is trained, if it is nearer to fp32 on speakers that did not train. Weights do
    not change, and transcripts are not needed. After an interruption the same command resumes.

    Examples:

        sottovoce heal runs/base --data speech/manifest.jsonl

        sottovoce heal runs/tiny.en --data my-recordings/ --minutes 60 --name int8-own

        sottovoce heal runs/base --data speech/manifest.jsonl --steps 2000 --seed 1 --json
    """
    from dataclasses import replace

    from sottovoce.cli.tables import variant_table
    from sottovoce.runs import read_run
    from sottovoce.speech.sets import read_speech
    from sottovoce.train.heal.heal import HealSpec
    from sottovoce.train.heal.heal import heal as train

    session: Session = context.obj
    spec = HealSpec(
        variant=variant,
        name=name,
        minutes=minutes,
        n_steps=steps,
        n_padding_states=padding_states,
        checkpoint=checkpoint,
        threads=threads,
    )
    report = train(
        read_run(run_folder),
        [read_speech(each) for each in data],
        replace(spec, loop=replace(spec.loop, seed=seed)),
        session.terminal,
        force=force,
        restart=restart,
    )
    show(session, report.model_dump_json(indent=2) if as_json else variant_table(report))
    if not report.kept:
        raise GateError(
            f"training does not bring {report.variant} nearer to fp32 on held-out speakers, so no variant was written; "
            "give it more speech or more --minutes"
        )
    session.terminal.note(f"wrote {run_folder / report.name}")
    session.terminal.note(f"next: sottovoce report {run_folder / report.name} --out training.html")
