"""`sottovoce qat`."""

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
from sottovoce.train.variant.report import Trained


def qat(
    context: typer.Context,
    run_folder: RunFolder,
    data: TrainingData,
    minutes: TrainingMinutes = 30,
    steps: TrainingSteps = None,
    variant: Annotated[
        str | None,
        typer.Option(
            "--variant",
            help="The variant to train; by default the run's quantized one, or the only one with INT8 weights.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            help="Name of the trained variant; by default the variant's with `-qat`.",
            show_default=False,
        ),
    ] = None,
    trained: Annotated[
        Trained,
        typer.Option(
            "--train",
            help="`all`: weights, ranges, biases, LayerNorms and padding states; `ranges`: the same without weights.",
        ),
    ] = Trained.ALL,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            "--learning-rate",
            min=0,
            help="The highest, in steps of a weight's quantizer; 0.001 by default.",
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
    """Train an INT8 variant with its rounding in place (quantization-aware training), until it gives what fp32 gives.

    RUN gets a variant beside the one that is trained, if it is nearer to fp32 on speakers that did not train. It has the
    same graphs, size and speed. Transcripts are not needed. After an interruption the same command resumes.

    Examples:

        sottovoce qat runs/base --data speech/manifest.jsonl

        sottovoce qat runs/tiny.en --data my-recordings/ --variant int8 --minutes 60

        sottovoce qat runs/base --data speech/manifest.jsonl --train ranges --steps 500 --json
    """
    from dataclasses import replace

    from sottovoce.cli.tables import variant_table
    from sottovoce.runs import read_run
    from sottovoce.speech.sets import read_speech
    from sottovoce.train.qat.qat import QatSpec
    from sottovoce.train.qat.qat import qat as train

    session: Session = context.obj
    spec = QatSpec(
        variant=variant,
        name=name,
        minutes=minutes,
        n_steps=steps,
        trained=trained,
        checkpoint=checkpoint,
        threads=threads,
    )
    rate = spec.loop.learning_rate if learning_rate is None else learning_rate
    report = train(
        read_run(run_folder),
        [read_speech(each) for each in data],
        replace(spec, loop=replace(spec.loop, seed=seed, learning_rate=rate)),
        session.terminal,
        force=force,
        restart=restart,
    )
    show(session, report.model_dump_json(indent=2) if as_json else variant_table(report))
    if not report.kept:
        raise GateError(
            f"training does not bring {report.variant} nearer to fp32 on held-out speakers, so no variant was written; "
            "give it more speech, more --minutes or a lower --learning-rate"
        )
    session.terminal.note(f"wrote {run_folder / report.name}")
    session.terminal.note(f"next: sottovoce report {run_folder / report.name} --out training.html")
