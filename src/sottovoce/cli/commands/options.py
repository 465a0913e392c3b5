"""The session, arguments, options and output that commands share."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sottovoce.cli.console import Terminal
from sottovoce.errors import SpecError


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The flags before the command."""

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
    Path, typer.Argument(metavar="RUN", help="Folder of `sottovoce optimize`.", show_default=False)
]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing output.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
RecipeName = Annotated[str, typer.Option("--recipe", help="Name of a ready recipe, or path of a YAML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the recipe; may be repeated."),
]


def show(session: Session, what: object) -> None:
    """Print text or a table to standard output."""
    if isinstance(what, str):
        typer.echo(what)
        return
    from rich.console import Console

    no_color = session.terminal.console.no_color
    Console(no_color=no_color, width=None if sys.stdout.isatty() else PIPE_WIDTH).print(what)


PIPE_WIDTH = 400
"""Width of a table in a file or a pipe, where no window limits it."""


def parse_names(text: str | None) -> tuple[str, ...]:
    """Split names at commas."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def parse_numbers(text: str | None, option: str) -> tuple[int, ...]:
    """Split positive numbers at commas, without duplicates.

    Raises:
        SpecError: one of them is not a positive whole number.
    """
    names = parse_names(text)
    if not all(name.isascii() and name.isdigit() and int(name) > 0 for name in names):
        raise SpecError(f"{option} is {text}, want positive whole numbers with commas, such as 1,8")
    return tuple(dict.fromkeys(map(int, names)))
