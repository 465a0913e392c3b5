"""Tables as data: rows of formatted cells, units in the headings; and lists of clips."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.results import Results
from sottovoce.reports.text.units import NOT_MEASURED
from sottovoce.statistics.intervals import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A figure or a few words, with what qualifies it (an interval, counts) in a smaller line."""

    text: str
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row: what it is about, its unit where the columns have none, its cells."""

    label: str
    cells: tuple[Cell, ...]
    unit: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column's heading; figures are set to the right, text to the left."""

    label: str
    unit: str | None = None
    is_numeric: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rows under one heading; None for a table of a single group."""

    label: str | None
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table. `corner` heads the column of the row labels."""

    caption: str
    corner: str
    columns: tuple[Column, ...]
    groups: tuple[Group, ...]


def left_out_table(results: Results) -> Table | None:
    """List the clips that were not used, with the reason; None if all were."""
    if not results.dataset.left_out:
        return None
    return list_table(
        "Clips left out before measuring",
        ("Reason",),
        (Row(label=clip.clip_id, cells=(Cell(text=clip.reason),)) for clip in results.dataset.left_out),
    )


def failures_table(rows: Sequence[ClipRow]) -> Table | None:
    """List the clips that failed under a variant, with the error; None if none did."""
    failed = [
        Row(label=row.clip_id, cells=(Cell(text=row.variant), Cell(text=row.error)))
        for row in rows
        if row.error is not None
    ]
    return list_table("Clips that failed", ("Variant", "Error"), failed) if failed else None


def span(interval: Interval, form: Callable[[float], str]) -> str:
    """Spell the ends of an interval."""
    return f"{form(interval.low)} to {form(interval.high)}"


def optional(value: float | None, form: Callable[[float], str]) -> Cell:
    """Format a figure that may not have been measured."""
    return Cell(text=NOT_MEASURED if value is None else form(value))


def list_table(caption: str, columns: Sequence[str], rows: Iterable[Row]) -> Table:
    """List clips with a few words on each."""
    return Table(
        caption=caption,
        corner="Clip",
        columns=text_columns(columns),
        groups=(Group(label=None, rows=tuple(rows)),),
    )


def text_columns(labels: Iterable[str]) -> tuple[Column, ...]:
    """Head columns of words."""
    return tuple(Column(label=label, is_numeric=False) for label in labels)
