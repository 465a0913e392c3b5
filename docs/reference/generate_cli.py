"""Write `cli.md` beside this file from the help of each command.

    python docs/reference/generate_cli.py

`tests/test_docs.py` fails while the file differs from what this would write.
"""
# ruff: noqa: INP001  (a script beside its output, in no package)

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from sottovoce.cli.app import app

OUTPUT = Path(__file__).with_name("cli.md")
WIDTH = 110
"""Columns of the help; wide enough that few examples are wrapped."""

HEAD = """# Command line

Made from `--help` of each command by `python docs/reference/generate_cli.py`; a terminal shows the same text in boxes.

Data goes to standard output, everything else to standard error. Exit codes are in [Errors](errors.md). `--quiet`,
`--verbose`, `--no-color` and `--debug` may come before or after the command.
"""


def cli_reference() -> str:
    """Return the reference of the command line as Markdown."""
    group: Any = typer.main.get_command(app)
    sections = [HEAD, *_section("sottovoce", group, None)]
    with _context("sottovoce", group, None) as context:
        for name in group.list_commands(context):
            sections += _section(name, group.get_command(context, name), context)
    return "\n".join(sections)


def _section(name: str, command: Any, parent: Any) -> Iterator[str]:
    command.rich_markup_mode = None  # plain text: boxes depend on the terminal
    with _context(name, command, parent) as context:
        text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    yield f"## {name}\n\n```text\n{_joined(text)}\n```\n"


def _context(name: str, command: Any, parent: Any) -> Any:
    return command.context_class(
        command,
        info_name=name,
        parent=parent,
        terminal_width=WIDTH,
        max_content_width=WIDTH,
        **command.context_settings,
    )


def _joined(text: str) -> str:
    """Put an example that was wrapped on one line again, so that it can be copied."""
    return re.sub(r"(?m)^( +)(sottovoce .*(?:\n\1(?!sottovoce )\S.*)+)", _one_line, text)


def _one_line(match: re.Match[str]) -> str:
    return match[1] + " ".join(match[2].split())


if __name__ == "__main__":
    OUTPUT.write_text(cli_reference(), encoding="utf-8")
    sys.stdout.write(f"wrote {OUTPUT}\n")
