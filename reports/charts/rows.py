"""Charts of rows that the page draws itself, in its full width: intervals on a scale, and bars made of parts."""

from dataclasses import dataclass

_ROOM = 0.03
"""Share of the scale that stays free at each end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalRow:
    """A figure with its interval; `text` says it in words, `is_ours` gives it the accent."""

    label: str
    value: float
    low: float
    high: float
    text: str
    is_ours: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalRows:
    """Figures over one scale.

    Attributes:
        finding: the title.
        axis: what the scale and the texts are, with units.
        reference: a figure to compare with, marked on the scale.
        limit: the largest tolerated figure, marked too; None without one.
        note: a sentence below the chart.
    """

    finding: str
    axis: str
    rows: tuple[IntervalRow, ...]
    reference: float
    limit: float | None = None
    note: str | None = None

    def position(self, value: float) -> float:
        """Return the place of a figure on the scale, in % of its width."""
        ends = [end for row in self.rows for end in (row.low, row.high)]
        marks = [self.reference] if self.limit is None else [self.reference, self.limit]
        low, high = min(ends + marks), max(ends + marks)
        size = (high - low) or 1.0
        return round(100 * (_ROOM + (1 - 2 * _ROOM) * (value - low) / size), 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartsRow:
    """A bar made of parts; `text` is its total."""

    label: str
    parts: tuple[float, ...]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartsRows:
    """Totals and their parts over one scale; `finding` is the title, `axis` has the unit."""

    finding: str
    axis: str
    part_names: tuple[str, ...]
    rows: tuple[PartsRow, ...]

    def width(self, size: float) -> float:
        """Return the width of a part in % of the longest bar."""
        longest = max((sum(row.parts) for row in self.rows), default=0.0) or 1.0
        return round(100 * size / longest, 2)
