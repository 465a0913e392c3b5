"""Several measurements: results against the first of them, and what was measured over time."""

from collections.abc import Sequence

from sottovoce.benchmark.compare_results import ResultsComparison
from sottovoce.benchmark.history import HistoryEntry, group_series
from sottovoce.reports.text.tables import (
    Cell,
    Column,
    RowGroup,
    Table,
    flat_table,
    interval_cell,
    make_row,
    text_columns,
)
from sottovoce.reports.text.units import BYTES_PER_MB, fixed, signed_points, three_figures

TIME_NOTE = (
    "Times of different sittings were not taken in turns: a difference of speed includes the drift of the machine "
    "between them, which no interval covers."
)


def results_comparison_table(comparison: ResultsComparison) -> Table:
    """List the entries of several results, each against the one of the same name in the first."""
    has_times = any(entry.speedup is not None for entry in comparison.entries)
    return flat_table(
        "Across results",
        "Results",
        (
            *text_columns("Entry"),
            Column("RTFx"),
            Column("Against the first", "times"),
            Column("WER", "%"),
            Column("Difference", "points"),
            Column("Clips in both"),
            Column("Size", "MB"),
            Column("Peak memory", "MB"),
        ),
        (
            make_row(
                entry.results,
                entry.entry,
                three_figures(entry.rtfx),
                "" if entry.speedup is None else interval_cell(entry.speedup, fixed),
                fixed(100 * entry.wer),
                "" if entry.wer_delta is None else interval_cell(entry.wer_delta, signed_points),
                "" if entry.n_clips is None else f"{entry.n_clips:,}",
                three_figures(entry.size_bytes / BYTES_PER_MB),
                three_figures(entry.peak_rss_bytes / BYTES_PER_MB),
            )
            for entry in comparison.entries
        ),
        notes=(TIME_NOTE,) if has_times else (),
    )


def history_table(past: Sequence[HistoryEntry]) -> Table:
    """List what was measured, a group for each entry under the same conditions, the latest last in it."""
    lines = group_series(past)
    has_hosts = len({line.conditions.host for line in lines}) > 1
    return Table(
        caption=f"{len(past):,} measured entries",
        corner="When",
        columns=(
            *text_columns("Model", "Entry", *(("Host",) if has_hosts else ()), "Clips", "Threads"),
            Column("RTFx"),
            Column("Speed-up", "times"),
            Column("WER", "%"),
            Column("Difference", "points"),
            Column("Size", "MB"),
        ),
        groups=tuple(
            RowGroup(
                label=None,
                rows=tuple(
                    make_row(
                        f"{one.created:%Y-%m-%d %H:%M}",
                        one.model,
                        one.entry,
                        *((line.conditions.host,) if has_hosts else ()),
                        line.clips,
                        f"{one.threads}",
                        three_figures(one.rtfx),
                        Cell("baseline") if one.speedup is None else interval_cell(one.speedup, fixed),
                        fixed(100 * one.wer),
                        "" if one.wer_delta is None else interval_cell(one.wer_delta, signed_points),
                        three_figures(one.size_bytes / BYTES_PER_MB),
                    )
                    for one in line.entries
                ),
            )
            for line in lines
        ),
    )
