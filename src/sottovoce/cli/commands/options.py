"""The session, arguments, options and output that commands share."""

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from sottovoce.cli.console import Terminal, show_log
from sottovoce.cli.interrupts import Signals
from sottovoce.errors import InputError, MissingExtraError, SpecError

if TYPE_CHECKING:
    from sottovoce.speech.clips import ClipSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The global options, the terminal that follows them, and the signals of the process."""

    quiet: bool
    verbose: int
    no_color: bool
    terminal: Terminal
    signals: Signals

    @classmethod
    def open(cls, *, quiet: bool, verbose: int, no_color: bool, signals: Signals | None) -> Self:
        """Open a terminal that follows the options, and send the log to it."""
        terminal = Terminal(quiet=quiet, colour=not no_color)
        show_log(terminal, verbose)
        return cls(
            quiet=quiet, verbose=verbose, no_color=no_color, terminal=terminal, signals=signals or Signals()
        )


def _print_version(*, value: bool) -> None:
    if value:
        from sottovoce import __version__

        typer.echo(f"sottovoce {__version__}")
        raise typer.Exit


_PANEL = "Global options"
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print no progress and no notes.", rich_help_panel=_PANEL),
]
Verbose = Annotated[
    int,
    typer.Option(
        "--verbose",
        "-v",
        count=True,
        help="Log each step; twice: log everything.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
NoColor = Annotated[
    bool,
    typer.Option("--no-color", help="Print without colour; so does NO_COLOR.", rich_help_panel=_PANEL),
]
Debug = Annotated[
    bool, typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel=_PANEL)
]
Version = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
]
GLOBAL_OPTIONS = {"quiet": Quiet, "verbose": Verbose, "no_color": NoColor, "debug": Debug}
"""Accepted before and after the command."""


def with_extra(command: Callable[..., None], extra: str) -> Callable[..., None]:
    """Name the extra to install where a command ends because a library is missing."""

    @wraps(command)
    def run(**values: Any) -> None:
        try:
            command(**values)
        except ModuleNotFoundError as error:
            module = (error.name or "").partition(".")[0]
            if module in {"", "sottovoce"}:
                raise
            raise MissingExtraError(
                module, needed_for=f"`sottovoce {command.__name__}`", extra=extra
            ) from error

    return run


def with_global_options(command: Callable[..., None]) -> Callable[..., None]:
    """Accept the global options after a command too."""
    own = inspect.signature(command, eval_str=True)
    added = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=0 if option is Verbose else False,
            annotation=option,
        )
        for name, option in GLOBAL_OPTIONS.items()
    ]

    @wraps(command)
    def run(context: typer.Context, **values: Any) -> None:
        quiet, verbose, no_color, _ = (values.pop(name) for name in GLOBAL_OPTIONS)
        before: Session = context.obj
        context.obj = Session.open(
            quiet=before.quiet or quiet,
            verbose=before.verbose + verbose,
            no_color=before.no_color or no_color,
            signals=before.signals,
        )
        command(context=context, **values)

    vars(run)["__signature__"] = own.replace(parameters=[*own.parameters.values(), *added])
    return run


Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="tiny.en, base, ... ; a hub id (openai/whisper-small); a Hugging Face or CTranslate2 folder.",
        show_default=False,
    ),
]
DATA_HELP = "Speech: a manifest (.jsonl), a .csv or .tsv, a LibriSpeech folder, a folder of audio, hf:NAME[:CONFIG]:SPLIT."
Data = Annotated[str, typer.Option("--data", metavar="SPEECH", help=DATA_HELP, show_default=False)]
CalibrationData = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="SPEECH",
        help=f"{DATA_HELP} By default sottovoce's own synthetic speech.",
        show_default=False,
    ),
]


def _refuse_model_name(run: Path) -> Path:
    """Say how to make a run where the name of a published model is given for it.

    Raises:
        InputError: it is such a name, and no folder is called so.
    """
    from sottovoce.optimize.checkpoint.names import HUB_IDS, is_short_name

    name = run.as_posix()
    if not run.exists() and (is_short_name(name) or name in HUB_IDS.values()):
        raise InputError(
            f"{name} is the name of a model, want a run of it; make one with "
            f"`sottovoce optimize {name} --out runs/{run.name}`, then give runs/{run.name}"
        )
    return run


RunFolder = Annotated[
    Path,
    typer.Argument(
        metavar="RUN",
        help="Folder of `sottovoce optimize`.",
        show_default=False,
        callback=_refuse_model_name,
    ),
]
TrainingData = Annotated[
    list[str],
    typer.Option(
        "--data",
        metavar="SPEECH",
        help=f"{DATA_HELP} May be repeated. Clips of a split eval never train.",
        show_default=False,
    ),
]
TrainingCheckpoint = Annotated[
    str | None,
    typer.Option(
        "--checkpoint",
        help="The checkpoint that the run was made from, if it is not found.",
        show_default=False,
    ),
]
TrainingMinutes = Annotated[
    float, typer.Option("--minutes", min=0, help="Time for everything; at least 50 steps are trained.")
]
TrainingSteps = Annotated[
    int | None,
    typer.Option(
        "--steps",
        min=1,
        help="Steps of training, instead of --minutes; the same number gives the same result.",
        show_default=False,
    ),
]
TrainingSeed = Annotated[
    int, typer.Option("--seed", min=0, help="Chooses the held-out speakers and the order of clips.")
]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="All cores by default.", show_default=False)
]
Restart = Annotated[
    bool, typer.Option("--restart", help="Delete what an interrupted command left, instead of resuming.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing output.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
RecipeName = Annotated[str, typer.Option("--recipe", help="Name of a ready recipe, or path of a YAML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the recipe; may be repeated."),
]


def read_calibration_speech(session: Session, data: str | None) -> "ClipSet":
    """Read the speech to calibrate with; without a choice sottovoce's own, with a note about it.

    Raises:
        InputError: the speech cannot be read.
    """
    from sottovoce.speech.sets import read_speech
    from sottovoce.speech.synthetic import SYNTHETIC_CALIBRATION_NOTICE, demo_speech

    if data is None:
        session.terminal.note(SYNTHETIC_CALIBRATION_NOTICE)
    return read_speech(str(demo_speech()) if data is None else data)


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
