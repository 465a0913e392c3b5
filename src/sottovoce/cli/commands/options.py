"""What commands share: the session, arguments and options of one meaning, output."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sottovoce.cli.console import Terminal
from sottovoce.errors import SpecError


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What the flags before the command say."""

    terminal: Terminal


Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="tiny.en, base, ... ; a hub id (openai/whisper-small); a Hugging Face or CTranslate2 folder.",
        show_default=False,
    ),
]
Data = Annotated[
    str,
    typer.Option(
        "--data",
        metavar="SPEECH",
        help="Speech: a manifest (.jsonl), a .csv or .tsv, a LibriSpeech folder, a folder of audio, hf:NAME[:CONFIG]:SPLIT.",
        show_default=False,
    ),
]
RunFolder = Annotated[
    Path, typer.Argument(metavar="RUN", help="Folder that `sottovoce optimize` wrote.", show_default=False)
]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
RecipeName = Annotated[str, typer.Option("--recipe", help="Ready recipe, or the path of a YAML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Replace a key of the recipe; may be repeated."),
]


def show(session: Session, what: object) -> None:
    """Print data on standard output: a table for people, or text as it is."""
    if isinstance(what, str):
        typer.echo(what)
        return
    from rich.console import Console

    no_color = session.terminal.console.no_color
    Console(no_color=no_color, width=None if sys.stdout.isatty() else PIPE_WIDTH).print(what)


PIPE_WIDTH = 400
"""Columns of a table that goes to a file or a pipe: nobody's window cuts it there."""


def parse_names(told: str | None) -> tuple[str, ...]:
    """Split names at commas."""
    return tuple(name.strip() for name in (told or "").split(",") if name.strip())


def parse_numbers(told: str | None, option: str) -> tuple[int, ...]:
    """Split numbers from 1 on at commas, each taken once.

    Raises:
        SpecError: something else stands there.
    """
    names = parse_names(told)
    if not all(name.isascii() and name.isdigit() and int(name) > 0 for name in names):
        raise SpecError(f"{option} is {told}, want whole numbers from 1 on with commas, such as 1,8")
    return tuple(dict.fromkeys(map(int, names)))
