"""Tables as data: a section builds each one once, `formats` draws it in the terminal, as HTML and as Markdown.

Cells hold formatted text; units stand in the headings.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sottovoce.reports.text.units import NOT_MEASURED
from sottovoce.statistics.intervals import Interval


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure or a few words; `note` qualifies it (an interval, counts)."""

    text: str
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row: its heading, its unit where the columns have none, its cells."""

    label: str
    cells: tuple[Cell, ...]
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """A column's heading; figures are set to the right, text to the left."""

    label: str
    unit: str | None = None
    is_numeric: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RowGroup:
    """Rows under one heading; None in a table of a single group."""

    label: str | None
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table.

    Attributes:
        corner: heads the column of the row labels.
        notes: sentences below the table.
        is_compact: words break anywhere on the page, to fit long texts of clips and errors.
    """

    caption: str
    corner: str
    columns: tuple[Column, ...]
    groups: tuple[RowGroup, ...]
    notes: tuple[str, ...] = ()
    is_compact: bool = False


def flat_table(
    caption: str,
    corner: str,
    columns: Iterable[Column],
    rows: Iterable[Row],
    *,
    notes: Iterable[str] = (),
    is_compact: bool = False,
) -> Table:
    """Make a table of a single group."""
    return Table(
        caption=caption,
        corner=corner,
        columns=tuple(columns),
        groups=(RowGroup(label=None, rows=tuple(rows)),),
        notes=tuple(notes),
        is_compact=is_compact,
    )


def make_row(label: str, *cells: Cell | str, unit: str | None = None) -> Row:
    """Make a row; a text becomes a cell without a note."""
    return Row(
        label=label,
        unit=unit,
        cells=tuple(Cell(cell) if isinstance(cell, str) else cell for cell in cells),
    )


def interval_cell(interval: Interval | None, form: Callable[[float], str]) -> Cell:
    """Format a figure with the ends of its interval below it."""
    return Cell(NOT_MEASURED) if interval is None else Cell(form(interval.value), span(interval, form))


def span(interval: Interval, form: Callable[[float], str]) -> str:
    """Format the ends of an interval."""
    return f"{form(interval.low)} to {form(interval.high)}"


def optional(value: float | None, form: Callable[[float], str]) -> str:
    """Format a figure that may not have been measured."""
    return NOT_MEASURED if value is None else form(value)


def text_columns(*labels: str) -> tuple[Column, ...]:
    """Head columns of words."""
    return tuple(Column(label, is_numeric=False) for label in labels)
