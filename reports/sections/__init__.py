"""The sections of the report: each builds its sentences, charts and tables from the results."""

from dataclasses import dataclass
from typing import TypeVar

from sottovoce.reports.charts.chart import Chart
from sottovoce.reports.text.tables import Table

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Blocks of code under a heading."""

    title: str
    blocks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A section, in reading order: `opening` is in large type, `folded` opens on demand, `notes` are in small type."""

    heading: str
    opening: str | None = None
    warnings: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()
    folded: Table | None = None
    notes: tuple[str, ...] = ()
    listings: tuple[Listing, ...] = ()


def present(*found: T | None) -> tuple[T, ...]:
    """Leave out the parts that were not measured."""
    return tuple(part for part in found if part is not None)
