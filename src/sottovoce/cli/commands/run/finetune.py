"""`sottovoce finetune`."""

from importlib import import_module
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
from sottovoce.errors import GateError, InputError
from sottovoce.train.decoder.model import LEARNING_RATES, Method
from sottovoce.train.finetune.spec import FinetuneSpec

DEFAULTS = FinetuneSpec()


def finetune(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A Hugging Face folder, a name (base, tiny.en) or a hub id.",
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
    general: Annotated[
        str | None,
        typer.Option(
            "--general",
            metavar="SPEECH",
            help="Other speech with transcripts, on which what the model forgets is measured; by default the "
            "synthetic speech of this package.",
            show_default=False,
        ),
    ] = None,
    rehearse: Annotated[
        list[str] | None,
        typer.Option(
            "--rehearse",
            metavar="SPEECH",
            help="Other speech, without transcripts: half of each batch is of it, with the model's own transcript, so that "
            "it forgets less. May be repeated.",
            show_default=False,
        ),
    ] = None,
    max_forgetting: Annotated[
        float,
        typer.Option(
            "--max-forgetting",
            min=0,
            help="With --rehearse: most that the loss on it may rise, nats a token. The trained weights are averaged with "
            "the checkpoint's until it does not.",
        ),
    ] = DEFAULTS.max_forgetting,
    terms: Annotated[
        Path | None,
        typer.Option(
            "--terms",
            metavar="FILE",
            help="Words and phrases of the domain, one a line: how many are missed is reported.",
            show_default=False,
        ),
    ] = None,
    language: Annotated[
        str | None,
        typer.Option("--language", help="Of clips that name none; English by default.", show_default=False),
    ] = None,
    rank: Annotated[
        int, typer.Option("--rank", min=1, max=512, help="Of the adapters of --lora.")
    ] = DEFAULTS.rank,
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
        float | None,
        typer.Option(
            "--learning-rate",
            min=0,
            help=f"Highest; {LEARNING_RATES[Method.LORA]:g} with --lora, {LEARNING_RATES[Method.FULL]:g} with --full.",
            show_default=False,
        ),
    ] = None,
    minutes: TrainingMinutes = DEFAULTS.minutes,
    steps: TrainingSteps = None,
    threads: Threads = None,
    seed: TrainingSeed = 0,
    *,
    lora: Annotated[
        bool, typer.Option("--lora/--full", help="Train low-rank adapters of the decoder, or all its layers.")
    ] = True,
    restart: Restart = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Fine-tune a checkpoint on your own speech: a folder that `sottovoce optimize` takes as it is.

    SPEECH needs transcripts. The decoder learns the words of a domain, the encoder stays. Word errors before and after are measured on speakers that
    did not train, and on other speech: what the model forgets. A model is written only if held-out speakers gain. After an
    interruption the same command resumes.

    Examples:

        sottovoce finetune base --data consultations/manifest.jsonl --out base-medical --terms terms.txt

        sottovoce finetune base --data consultations/manifest.jsonl --rehearse talks/ --out base-medical

        sottovoce finetune tiny.en --data my-recordings/ --out tiny-mine --minutes 60 --full

        sottovoce finetune base --data zh.jsonl --language zh --general other.jsonl --out base-zh --json

        sottovoce optimize base-medical --data consultations/manifest.jsonl --out runs/base-medical
    """
    from dataclasses import replace

    import_module("peft" if lora else "torch")  # where it is missing, that is said before any work

    from sottovoce.cli.tables import finetune_table
    from sottovoce.languages import parse_language
    from sottovoce.speech.sets import read_speech
    from sottovoce.speech.synthetic import demo_speech
    from sottovoce.train.finetune.finetune import finetune as train
    from sottovoce.train.finetune.spec import FinetuneSpeech

    session: Session = context.obj
    spec = FinetuneSpec(
        method=Method.LORA if lora else Method.FULL,
        rank=rank,
        language=None if language is None else parse_language(language),
        minutes=minutes,
        n_steps=steps,
        n_copies=copies,
        max_forgetting=max_forgetting,
        terms=() if terms is None else _read_terms(terms),
        threads=threads,
    )
    rate = spec.training.learning_rate if learning_rate is None else learning_rate
    report = train(
        model,
        FinetuneSpeech(
            training=tuple(read_speech(each) for each in data),
            general=read_speech(general or str(demo_speech())),
            rehearsed=tuple(read_speech(each) for each in rehearse or ()),
        ),
        out,
        replace(spec, loop=replace(spec.training, seed=seed, learning_rate=rate)),
        session.terminal,
        force=force,
        restart=restart,
    )
    show(session, report.model_dump_json(indent=2) if as_json else finetune_table(report))
    if not report.kept:
        raise GateError(
            "training does not lower the word errors of held-out speakers, so no model was written; give it more speech, "
            "more --minutes or a lower --learning-rate"
        )
    session.terminal.note(f"wrote {out}")
    session.terminal.note(f"next: sottovoce optimize {out} --data {data[0]} --out runs/{out.name}")


def _read_terms(path: Path) -> tuple[str, ...]:
    """Read terms, one a line.

    Raises:
        InputError: the file cannot be read, or is empty.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as cause:
        raise InputError(
            f"--terms {path} cannot be read ({cause}); give a text file with one term a line"
        ) from cause
    terms = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not terms:
        raise InputError(f"--terms {path} has no terms; give a text file with one term a line")
    return terms
