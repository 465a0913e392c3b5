"""Markdown that holds the words of strangers.

A code span is the one place of GitHub's Markdown where nothing is read: no markup, no HTML, no entities, no bare
addresses, no @mentions. So whatever comes from a checkpoint, a speech set or a machine stands in one.
"""

import re
from collections.abc import Iterable, Sequence

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


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, has_figures: bool = True) -> str:
    """Write a table.

    Args:
        headings: Markdown, as the cells are.
        rows: one cell for each heading.
        has_figures: all columns but the first hold figures, set to the right.
    """
    marks = ["---", *["---:" if has_figures else "---"] * (len(headings) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, marks, *rows))


def folded(summary: str, content: str) -> str:
    """Hide Markdown behind a summary, which holds no stranger's words."""
    return f"<details>\n<summary>{summary}</summary>\n\n{content}\n\n</details>"


def one_line(text: str) -> str:
    """Put a text on one printable line of bounded length."""
    line = " ".join(printable(text).split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in _BACKTICKS.findall(text)), default=0)
