"""All entries side by side, and our variants against other engines."""

from collections.abc import Callable, Iterable
from itertools import groupby

from sottovoce.benchmark.schema.comparisons import Comparison
from sottovoce.benchmark.schema.failures import SkippedEngine
from sottovoce.benchmark.schema.results import ColdStart, Results, VariantResult
from sottovoce.reports.text.tables import (
    Cell,
    Column,
    Row,
    RowGroup,
    Table,
    flat_table,
    interval_cell,
    make_row,
    optional,
    text_columns,
)
from sottovoce.reports.text.units import (
    NOT_MEASURED,
    megabytes,
    milliseconds,
    percent,
    signed_points,
    times,
    two_figures,
)
from sottovoce.statistics.accuracy import WordErrors

Read = Callable[[VariantResult], Cell | str]
ReadComparison = Callable[[Comparison], Cell | str]
LATENCY_UNIT = "ms per clip"


def comparison_table(results: Results) -> Table:
    """Put every variant in a column, and its measurements in rows."""
    return Table(
        caption="The variants side by side",
        corner="Measured",
        columns=tuple(
            Column(variant.name, "baseline" if variant.name == results.baseline else None)
            for variant in results.variants
        ),
        groups=(
            RowGroup(label="Speed", rows=_speed_rows(results)),
            RowGroup(label="Accuracy", rows=_accuracy_rows(results)),
            RowGroup(label="Size and memory", rows=_size_rows(results)),
        ),
    )


def entries_table(results: Results) -> Table:
    """Put every entry in a row, with the most important figures."""
    return flat_table(
        f"Every entry, against {results.baseline}",
        "Entry",
        (
            Column("Speed-up", "times"),
            Column("RTFx"),
            Column("WER", "%"),
            Column("Change", "points"),
            Column("Disk", "MB"),
            Column("Memory", "MB"),
        ),
        (_entry_row(results, variant) for variant in results.variants),
    )


def _entry_row(results: Results, variant: VariantResult) -> Row:
    comparison = comparison_of(results, variant.name)
    return make_row(
        variant.name,
        NOT_MEASURED if comparison is None else interval_cell(comparison.speedup, times),
        two_figures(variant.rtfx),
        percent(variant.wer),
        NOT_MEASURED if comparison is None else interval_cell(comparison.wer_delta, signed_points),
        megabytes(variant.size_bytes),
        megabytes(variant.peak_rss_bytes),
    )


def peers_table(results: Results) -> Table | None:
    """Put the entries of other engines in rows, a group for each of our variants; None without such."""
    if not results.peers:
        return None
    return Table(
        caption="Our variants against other engines, on the same clips",
        corner="Against",
        columns=(
            *text_columns("Computes in"),
            Column("Speed-up", "times"),
            Column("WER difference", "points"),
        ),
        groups=tuple(
            RowGroup(
                label=subject,
                rows=tuple(
                    make_row(
                        peer.peer,
                        results.variant(peer.peer).precision.summary,
                        interval_cell(peer.speedup, times),
                        interval_cell(peer.wer_delta, signed_points),
                    )
                    for peer in peers
                ),
            )
            for subject, peers in groupby(results.peers, key=lambda peer: peer.subject)
        ),
    )


def skipped_table(results: Results) -> Table | None:
    """List the requested engines that were not measured, or in part only; None if all were."""
    if not results.absent:
        return None
    return flat_table(
        "Requested engines without a result",
        "Engine",
        text_columns("Why"),
        (make_row(skipped.name, _reason(skipped)) for skipped in results.absent),
        is_compact=True,
    )


def describe_skipped(skipped: SkippedEngine, *, name: Callable[[str], str] = str) -> str:
    """Write which requested engine has no result and why; `name` formats untrusted text."""
    how = "measured in part" if skipped.is_partial else "not measured"
    return f"{name(skipped.name)} was {how}: {name(skipped.message)}"


def _reason(skipped: SkippedEngine) -> str:
    return f"measured in part: {skipped.message}" if skipped.is_partial else skipped.message


def comparison_of(results: Results, variant: str) -> Comparison | None:
    """Return a variant's comparison; None for the baseline."""
    return next((comparison for comparison in results.comparisons if comparison.variant == variant), None)


def series_of(results: Results, variant: str) -> int:
    """Return an entry's series in the charts: 0 for the baseline, then by order."""
    others = [other.name for other in results.variants if other.name != results.baseline]
    return 0 if variant == results.baseline else 1 + others.index(variant)


def describe_errors(words: WordErrors) -> str:
    """Format the counts behind a WER: 31 S, 12 D, 9 I of 1,204."""
    return f"{short_errors(words)} of {words.reference_words:,}"


def short_errors(words: WordErrors) -> str:
    """Format the counts of substitutions, deletions and insertions."""
    return f"{words.substitutions:,} S, {words.deletions:,} D, {words.insertions:,} I"


def _speed_rows(results: Results) -> tuple[Row, ...]:
    def row(label: str, unit: str, read: Read) -> Row:
        return _row(results, label, read, unit=unit)

    return (
        row("RTFx", "s of audio per s", lambda v: two_figures(v.rtfx)),
        _compared_row(results, "Speed-up", lambda c: interval_cell(c.speedup, times), unit="times"),
        row("Latency, median", LATENCY_UNIT, lambda v: milliseconds(v.latency_s.p50)),
        row("Latency, 90th percentile", LATENCY_UNIT, lambda v: milliseconds(v.latency_s.p90)),
        *_if_measured(
            row("Latency, 99th percentile", LATENCY_UNIT, lambda v: optional(v.latency_s.p99, milliseconds))
        ),
        row("Latency, mean", LATENCY_UNIT, lambda v: milliseconds(v.latency_s.mean)),
        row("Load time", "s", lambda v: two_figures(v.load_s)),
        row("First transcription", "ms", lambda v: optional(next(iter(v.warm_up_s), None), milliseconds)),
        *_if_measured(
            row("Cold start", "s", lambda v: _cold_start(v, _seconds)),
            row("Cold start, peak memory", "MB", lambda v: _cold_start(v, _peak_memory)),
        ),
    )


def _accuracy_rows(results: Results) -> tuple[Row, ...]:
    def compared(label: str, unit: str, read: ReadComparison) -> Row:
        return _compared_row(results, label, read, unit=unit)

    return (
        _row(results, "WER", lambda v: Cell(percent(v.wer), describe_errors(v.words)), unit="%"),
        compared("Change in WER", "points", lambda c: interval_cell(c.wer_delta, signed_points)),
        _row(results, "Word accuracy", lambda v: percent(v.word_accuracy), unit="%"),
        _row(results, "Raw WER", lambda v: Cell(percent(v.raw_wer), describe_errors(v.raw_words)), unit="%"),
        compared(
            "Transcripts changed",
            "clips",
            lambda c: Cell(f"{c.n_changed:,}", f"{c.n_worse:,} worse, {c.n_better:,} better"),
        ),
        compared("Clips with no more errors", "%", lambda c: optional(c.no_regression_rate, percent)),
        compared("Matched pairs", "p", _p_value),
        _row(results, "Tokens generated", lambda v: f"{v.tokens:,}"),
    )


def _size_rows(results: Results) -> tuple[Row, ...]:
    return (
        _row(results, "Size on disk", lambda v: megabytes(v.size_bytes), unit="MB"),
        _compared_row(results, "Size by baseline", lambda c: two_figures(c.size_ratio), unit="times"),
        _row(results, "Peak memory", lambda v: megabytes(v.peak_rss_bytes), unit="MB"),
        _row(results, "Effective precision", lambda v: v.precision.summary),
        _row(results, "Engine", lambda v: v.engine),
    )


def _row(results: Results, label: str, read: Read, *, unit: str | None = None) -> Row:
    return make_row(label, *(read(variant) for variant in results.variants), unit=unit)


def _compared_row(results: Results, label: str, read: ReadComparison, *, unit: str) -> Row:
    """Read a figure that the baseline does not have."""

    def read_variant(variant: VariantResult) -> Cell | str:
        comparison = comparison_of(results, variant.name)
        return NOT_MEASURED if comparison is None else read(comparison)

    return _row(results, label, read_variant, unit=unit)


def _if_measured(*rows: Row) -> Iterable[Row]:
    """Leave out the rows that no entry has a figure for."""
    return (row for row in rows if any(cell.text != NOT_MEASURED for cell in row.cells))


def _cold_start(variant: VariantResult, read: Callable[[ColdStart], Cell | str]) -> Cell | str:
    return NOT_MEASURED if variant.cold_start is None else read(variant.cold_start)


def _seconds(start: ColdStart) -> Cell:
    return Cell(
        two_figures(start.median_s), f"{two_figures(min(start.seconds))} to {two_figures(max(start.seconds))}"
    )


def _peak_memory(start: ColdStart) -> str:
    return megabytes(start.peak_rss_bytes)


def _p_value(comparison: Comparison) -> Cell | str:
    test = comparison.matched_pairs
    if test is None:
        return NOT_MEASURED
    return Cell(optional(test.p_value, two_figures), f"{test.n_segments:,} segments with errors")
