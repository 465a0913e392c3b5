"""`sottovoce distil`."""

import re
from pathlib import Path
from typing import Annotated

import typer

from sottovoce.cli.commands.options import (
    Force,
    Json,
    Restart,
    Session,
    Threads,
    TrainingData,
    TrainingMinutes,
    TrainingSeed,
    TrainingSteps,
    show,
)
from sottovoce.errors import SpecError
from sottovoce.train.distil.spec import DistilSpec

DEFAULTS = DistilSpec()


def distil(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="The teacher: a Hugging Face folder, a name (base, tiny.en) or a hub id.",
            show_default=False,
        ),
    ],
    data: TrainingData,
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="FOLDER", help="New folder in Hugging Face's layout.", show_default=False
        ),
    ],
    layers: Annotated[
        str,
        typer.Option(
            "--layers",
            metavar="N",
            help="Of the student's decoder, spaced over the teacher's; or their numbers from 0, such as 0,3,5.",
        ),
    ] = str(DEFAULTS.n_layers),
    general: Annotated[
        str | None,
        typer.Option(
            "--general",
            metavar="SPEECH",
            help="Other speech with transcripts, on which the student is compared too; by default the synthetic speech of "
            "this package.",
            show_default=False,
        ),
    ] = None,
    max_wer: Annotated[
        float,
        typer.Option(
            "--max-wer",
            min=0,
            max=1,
            help="A clip with a transcript teaches only if the teacher has at most this share of its words wrong.",
        ),
    ] = DEFAULTS.max_wer,
    language: Annotated[
        str | None,
        typer.Option("--language", help="Of clips that name none; English by default.", show_default=False),
    ] = None,
    copies: Annotated[
        int,
        typer.Option(
            "--copies",
            min=1,
            max=20,
            help="Of each clip; all but the first get noise, another speed and masks.",
        ),
    ] = DEFAULTS.n_copies,
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", min=0, help="Highest.")
    ] = DEFAULTS.loop.learning_rate,
    minutes: TrainingMinutes = DEFAULTS.minutes,
    steps: TrainingSteps = None,
    threads: Threads = None,
    seed: TrainingSeed = 0,
    *,
    restart: Restart = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Distil a checkpoint: a student with fewer decoder layers that transcribes as its teacher.

    SPEECH needs no transcripts; where it has some, clips on which the teacher has more than --max-wer word errors are left out. The
    encoder is the teacher's and stays. A student with few of many layers needs thousands of hours of speech for general use: with less it is one for a
    narrow domain, at best. After an interruption the same command resumes.

    Examples:

        sottovoce distil base --data recordings/ --layers 3 --out base-3

        sottovoce distil base --data commands.jsonl --layers 0,5 --minutes 60 --out base-commands

        sottovoce report base-commands

        sottovoce optimize base-commands --data commands.jsonl --out runs/base-commands
    """
    from dataclasses import replace

    import torch  # noqa: F401 - where it is missing, that is said before any work

    from sottovoce.cli.tables import distil_table
    from sottovoce.languages import parse_language
    from sottovoce.speech.sets import read_speech
    from sottovoce.speech.synthetic import demo_speech
    from sottovoce.train.distil.distil import distil as train
    from sottovoce.train.distil.spec import DistilSpeech

    session: Session = context.obj
    numbers = _read_layers(layers)
    spec = DistilSpec(
        n_layers=numbers[0],
        layers=numbers if "," in layers else None,
        language=None if language is None else parse_language(language),
        max_wer=max_wer,
        minutes=minutes,
        n_steps=steps,
        n_copies=copies,
        threads=threads,
    )
    report = train(
        model,
        DistilSpeech(
            training=tuple(read_speech(each) for each in data),
            general=read_speech(general or str(demo_speech())),
        ),
        out,
        replace(spec, loop=replace(spec.loop, seed=seed, learning_rate=learning_rate)),
        session.terminal,
        force=force,
        restart=restart,
    )
    show(session, report.model_dump_json(indent=2) if as_json else distil_table(report))
    session.terminal.note(f"wrote {out}")
    session.terminal.note(f"next: sottovoce optimize {out} --data {data[0]} --out runs/{out.name}")


def _read_layers(given: str) -> tuple[int, ...]:
    """Read a number of layers, or numbers of layers with commas.

    Raises:
        SpecError: it is neither.
    """
    if not re.fullmatch(r"\d{1,3}(,\d{1,3})*,?", given):
        raise SpecError(f"--layers {given:.40}: give a number such as 2, or numbers of layers such as 0,3,5")
    return tuple(int(number) for number in given.strip(",").split(","))
