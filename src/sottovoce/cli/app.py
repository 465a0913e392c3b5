"""The command line: parses, calls one stage, prints. Stages are imported when used."""

import sys
import traceback
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any, NoReturn

import typer

from sottovoce.cli.commands.options import (
    Debug,
    NoColor,
    Quiet,
    Session,
    Verbose,
    Version,
    with_extra,
    with_global_options,
)
from sottovoce.cli.console import Terminal, replace_closed_streams
from sottovoce.cli.interrupts import (
    SIGNAL_MESSAGES,
    Signals,
    Terminated,
    end_at_once,
    forget_interrupt,
    handle_signals,
    signal_message,
)
from sottovoce.errors import MissingCommandError, OutOfMemoryError, SottovoceError
from sottovoce.machine.os_errors import translate_os_error

COMMANDS = {
    "optimize": "run",
    "search": "run",
    "calibrate": "run",
    "quantize": "run",
    "sensitivity": "run",
    "tune-live": "run",
    "heal": "run",
    "qat": "run",
    "finetune": "run",
    "distil": "run",
    "benchmark": "results",
    "bundle": "device",
    "verify": "device",
    "plan": "device",
    "transcribe": "device",
    "live": "device",
    "serve": "service",
    "gate": "results",
    "compare": "results",
    "history": "results",
    "report": "results",
    "inspect": "run",
    "demo": "run",
}
"""Folders of `commands` with a module and function of the command's name, - written as _, in the order of the help."""

EXTRAS = {"run": "all", "results": "benchmark", "device": "bundle", "service": "serve"}
"""What the commands of a folder need beyond a plain install."""

_ANY_ARGUMENTS = {"allow_extra_args": True, "ignore_unknown_options": True}

USAGE_ERRORS: Any = typer.BadParameter.__bases__
"""Base of the errors of the command line: typer 0.26 and newer have a copy of click, older ones use the package."""

EXIT_INTERRUPTED = 130
EXIT_UNEXPECTED = 1


def configure(
    context: typer.Context,
    *,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    no_color: NoColor = False,
    debug: Debug = False,  # noqa: ARG001 - read by main, which handles errors
    version: Version = False,  # noqa: ARG001 - handled by its callback
) -> None:
    """Make a Whisper model small and fast on CPUs, with proof.

    Examples:

        sottovoce transcribe base talk.mp3

        sottovoce optimize base --data speech/manifest.jsonl --out runs/base

        sottovoce benchmark runs/base --data speech/manifest.jsonl --out results/base
    """
    context.obj = Session.open(quiet=quiet, verbose=verbose, no_color=no_color, signals=context.obj)


def make_app(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """Make the command line with some commands, each of which is imported."""
    made = typer.Typer(
        name="sottovoce",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        rich_markup_mode="markdown",
        add_completion=False,
        suggest_commands=not USAGE_ERRORS[0].__module__.startswith("click"),  # which suggests already
    )
    made.callback()(configure)
    for name in names:
        _register(made, name, COMMANDS[name])
    return made


def _register(made: typer.Typer, name: str, folder: str) -> None:
    """Add a command; one that is not in a device's wheel ends with an error and is not in the help."""
    function = name.replace("-", "_")
    module = f"sottovoce.cli.commands.{folder}.{function}"
    try:
        command = with_extra(getattr(import_module(module), function), EXTRAS[folder])
        made.command()(with_global_options(command))
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise

        @made.command(name, hidden=True, add_help_option=False, context_settings=_ANY_ARGUMENTS)
        def missing() -> NoReturn:
            raise MissingCommandError(name)


def __getattr__(name: str) -> typer.Typer:
    """Make the whole command line, `app`, where it is used; `main` needs one command of it."""
    if name != "app":
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return make_app()


def needed_commands(arguments: Sequence[str]) -> tuple[str, ...]:
    """Return the command that is called; all for the help, and where a name is misspelt: similar ones are suggested."""
    called = next((each for each in arguments if not each.startswith("-")), "")
    return (called,) if called in COMMANDS else tuple(COMMANDS)


def main() -> None:
    """Run the command line; print errors in one line and set the exit code."""
    is_debug = "--debug" in sys.argv
    replace_closed_streams()
    terminal = Terminal(colour="--no-color" not in sys.argv)
    with handle_signals() as signals:
        try:
            arguments = sys.argv[1:] or ["--help"]
            code = make_app(needed_commands(arguments))(arguments, standalone_mode=False, obj=signals)
        except (KeyboardInterrupt, Terminated, typer.Abort):
            code = EXIT_INTERRUPTED
        except Exception as error:  # noqa: BLE001 - the edge of the program
            if signals.exit_code is None:  # native code may turn an interrupt into any error
                _fail(terminal, error, is_debug=is_debug)
            code = EXIT_INTERRUPTED
        _leave(terminal, signals, code)


def _format_error(error: Any) -> tuple[str, int]:
    """Return the message of an error in one line, and its exit code."""
    if isinstance(error, SottovoceError):
        return str(error), error.exit_code
    if isinstance(error, USAGE_ERRORS):
        command = error.ctx.command_path if error.ctx else "sottovoce"
        return f"{error.format_message().rstrip('.')} (see `{command} --help`)", error.exit_code
    return (
        f"unexpected {type(error).__name__}: {error} (--debug shows where; please report it)",
        EXIT_UNEXPECTED,
    )


def _leave(terminal: Terminal, signals: Signals, code: int | None) -> NoReturn:
    """Exit; typer turns Ctrl-C into an exit code."""
    signals.has_unwound = True
    ended = signals.exit_code or code
    if ended in SIGNAL_MESSAGES:
        terminal.note(signal_message(ended))
        signals.is_reported = True
        forget_interrupt()
    sys.exit(ended)


def _fail(terminal: Terminal, error: Exception, *, is_debug: bool) -> NoReturn:
    known = translate_os_error(error) or error
    message, code = _format_error(known)
    if is_debug:
        traceback.print_exc()
    terminal.error(message)
    if isinstance(known, OutOfMemoryError):
        end_at_once(code)
    sys.exit(code)
