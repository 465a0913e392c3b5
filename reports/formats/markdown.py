"""GitHub's Markdown around untrusted text.

A code span is the one place where GitHub interprets nothing: no markup, HTML, entities, bare addresses or @mentions.
So every text of a checkpoint, a speech set or a machine stands in one.
"""

import re
from collections.abc import Callable

from sottovoce.reports.text.tables import Cell, Table
from sottovoce.reports.text.units import printable

_LONGEST = 300
_BACKTICKS = re.compile(r"`+")


def code(text: str) -> str:
    """Write a text as a code span, on one line."""
    line = one_line(text) or "(empty)"
    # A pipe ends the cell of a table even in a code span, and renderers disagree on how to escape it.
    line = line.replace("|", "\N{BROKEN BAR}")
    fence = "`" * (_longest_run(line) + 1)
    room = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{room}{line}{room}{fence}"


def code_block(text: str, language: str = "") -> str:
    """Write a text as a block of code."""
    fence = "`" * max(_longest_run(text) + 1, 3)
    lines = "\n".join(printable(line) for line in text.splitlines())
    return f"{fence}{language}\n{lines}\n{fence}"


def draw_table(
    table: Table, *, label: Callable[[str], str] = code, heading: Callable[[str], str] = str
) -> str:
    """Write a table: words as code spans, figures as they are, bold where a note in brackets qualifies them.

    Args:
        table: its caption and notes are left to the text around it.
        label: writes the headings of the rows.
        heading: writes those of the columns; `code` where they hold names.
    """
    headings = (table.corner, *(_with_unit(heading(column.label), column.unit) for column in table.columns))
    marks = ("---", *("---:" if column.is_numeric else "---" for column in table.columns))
    rows = (
        (
            _with_unit(label(row.label), row.unit),
            *(
                _cell(cell) if column.is_numeric else code(cell.text)
                for cell, column in zip(row.cells, table.columns, strict=True)
            ),
        )
        for group in table.groups
        for row in group.rows
    )
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, marks, *rows))


def _cell(cell: Cell) -> str:
    return cell.text if cell.note is None else f"**{cell.text}** ({cell.note})"


def _with_unit(label: str, unit: str | None) -> str:
    return label if unit is None else f"{label}, {unit}"


def folded(summary: str, content: str) -> str:
    """Hide Markdown behind a summary, which must be our own text."""
    return f"<details>\n<summary>{summary}</summary>\n\n{content}\n\n</details>"


def one_line(text: str) -> str:
    """Put a text on one printable line of bounded length."""
    line = " ".join(printable(text).split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in _BACKTICKS.findall(text)), default=0)
