"""Tables in the terminal, drawn by Rich.

Texts of checkpoints and speech sets pass through `Text`, which reads no markup.
"""

from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text

from sottovoce.reports.text.tables import Cell, Table
from sottovoce.reports.text.units import MINUS, NO_BREAK_SPACE, NOT_MEASURED, printable

_PLAIN = str.maketrans({MINUS: "-", NOT_MEASURED: "-", NO_BREAK_SPACE: " "})
"""Signs that can be typed: a figure in the terminal can be searched for and pasted."""
_GROUP_WIDTH = 28
"""In characters: a longer heading of a group is wrapped, unless a row has a longer one."""


def draw_all(*parts: Table | str | None) -> Group:
    """Draw tables and lines of text one below the other; None is left out."""
    return Group(
        *(
            draw_table(part) if isinstance(part, Table) else plain_text(part)
            for part in parts
            if part is not None
        )
    )


def draw_table(table: Table) -> Group:
    """Draw a table under its caption, with its notes below.

    A group has a line above it and its heading in bold; a cell's note follows its text in brackets. A narrow
    terminal wraps cells and folds long words: no figure is cut off.
    """
    notes = [plain_text(" ".join(table.notes), "dim")] if table.notes else []
    return Group(plain_text(table.caption, "italic"), _draw_rows(table), *notes)


def _draw_rows(table: Table) -> RichTable:
    drawn = RichTable()
    labels = [_with_unit(row.label, row.unit) for group in table.groups for row in group.rows]
    drawn.add_column(
        plain_text(table.corner),
        max_width=max((_GROUP_WIDTH, *map(len, labels))),
        overflow="fold",
    )
    for column in table.columns:
        heading = plain_text(_with_unit(_broken(column.label), column.unit))
        drawn.add_column(heading, justify="right" if column.is_numeric else "left", overflow="fold")
    for group in table.groups:
        if group.label is not None:
            drawn.add_row(plain_text(group.label, "bold"))
        for row in group.rows:
            cells = (plain_text(_with_note(cell)) for cell in row.cells)
            drawn.add_row(plain_text(_with_unit(row.label, row.unit)), *cells)
        drawn.add_section()
    return drawn


def plain_text(text: str, style: str = "") -> Text:
    """Make a text printable, with signs that can be typed."""
    return Text(printable(text).translate(_PLAIN), style)


def _with_unit(label: str, unit: str | None) -> str:
    return label if unit is None else f"{label}, {unit}"


def _with_note(cell: Cell) -> str:
    return cell.text if cell.note is None else f"{cell.text} ({cell.note})".lstrip()


def _broken(label: str) -> str:
    """Break the long name of an entry, ENGINE:VARIANT, after its engine."""
    return label if ": " in label else label.replace(":", ":\n", 1)
