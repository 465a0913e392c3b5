"""Tables of all entries side by side, and against other engines."""

from collections.abc import Callable
from itertools import groupby

from sottovoce.benchmark.schema.comparisons import Comparison, MatchedPairs, PeerComparison
from sottovoce.benchmark.schema.results import ColdStart, Results, VariantResult
from sottovoce.reports.text.tables import Cell, Column, Group, Row, Table, optional, span, text_columns
from sottovoce.reports.text.units import (
    NOT_MEASURED,
    fixed,
    megabytes,
    milliseconds,
    percent,
    signed_points,
    three_figures,
)
from sottovoce.statistics.accuracy import WordErrors


def comparison_table(results: Results) -> Table:
    """Put every variant in a column, and what was measured of it in rows."""
    columns = tuple(
        Column(label=variant.name, unit="baseline" if variant.name == results.baseline else None)
        for variant in results.variants
    )
    return Table(
        caption="The variants side by side",
        corner="Measured",
        columns=columns,
        groups=(
            Group(label="Speed", rows=_speed_rows(results)),
            Group(label="Accuracy", rows=_accuracy_rows(results)),
            Group(label="Size and memory", rows=_size_rows(results)),
        ),
    )


def peers_table(results: Results) -> Table | None:
    """Put the entries of other engines in rows, a group for each of our variants; None without such."""
    if not results.peers:
        return None
    return Table(
        caption="Our variants against other engines, on the same clips",
        corner="Against",
        columns=(
            *text_columns(("Computes in",)),
            Column(label="Speed-up", unit="times"),
            Column(label="WER difference", unit="points"),
        ),
        groups=tuple(
            Group(label=subject, rows=tuple(_peer_row(results, peer) for peer in peers))
            for subject, peers in groupby(results.peers, key=lambda peer: peer.subject)
        ),
    )


def _peer_row(results: Results, peer: PeerComparison) -> Row:
    return Row(
        label=peer.peer,
        cells=(
            Cell(text=results.variant(peer.peer).precision.summary),
            Cell(text=fixed(peer.speedup.value), note=span(peer.speedup, fixed)),
            Cell(text=signed_points(peer.wer_delta.value), note=span(peer.wer_delta, signed_points)),
        ),
    )


def absent_table(results: Results) -> Table | None:
    """List what was asked for of other engines and is not measured; None where nothing is missing."""
    if not results.absent:
        return None
    return Table(
        caption="What was asked for and is not measured",
        corner="Engine",
        columns=text_columns(("Why",)),
        groups=(
            Group(
                label=None,
                rows=tuple(
                    Row(label=absent.name, cells=(Cell(text=absent.message),)) for absent in results.absent
                ),
            ),
        ),
    )


def comparison_of(results: Results, variant: str) -> Comparison | None:
    """Return a variant's comparison; None for the baseline."""
    return next((comparison for comparison in results.comparisons if comparison.variant == variant), None)


def describe_errors(words: WordErrors) -> str:
    """Spell the counts behind a WER: 31 S, 12 D, 9 I of 1,204."""
    return f"{short_errors(words)} of {words.reference_words:,}"


def short_errors(words: WordErrors) -> str:
    """Tell substitutions, deletions and insertions."""
    return f"{words.substitutions:,} S, {words.deletions:,} D, {words.insertions:,} I"


def _speed_rows(results: Results) -> tuple[Row, ...]:
    return (
        _row(results, "RTFx", lambda v: Cell(text=three_figures(v.rtfx)), unit="s of audio per s"),
        _compared_row(
            results,
            "Speed-up",
            lambda c: Cell(text=fixed(c.speedup.value), note=span(c.speedup, fixed)),
            unit="times",
        ),
        _row(
            results, "Latency, median", lambda v: Cell(text=milliseconds(v.latency_s.p50)), unit="ms per clip"
        ),
        _row(
            results,
            "Latency, 90th percentile",
            lambda v: Cell(text=milliseconds(v.latency_s.p90)),
            unit="ms per clip",
        ),
        *_slowest_rows(results),
        _row(
            results, "Latency, mean", lambda v: Cell(text=milliseconds(v.latency_s.mean)), unit="ms per clip"
        ),
        _row(results, "Load time", lambda v: Cell(text=three_figures(v.load_s)), unit="s"),
        _row(results, "First transcription", _first_transcription, unit="ms"),
        *_cold_start_rows(results),
    )


def _slowest_rows(results: Results) -> tuple[Row, ...]:
    """Tell the 99th percentile, which results before version 6 lack."""
    if all(variant.latency_s.p99 is None for variant in results.variants):
        return ()
    return (
        _row(
            results,
            "Latency, 99th percentile",
            lambda v: optional(v.latency_s.p99, milliseconds),
            unit="ms per clip",
        ),
    )


def _accuracy_rows(results: Results) -> tuple[Row, ...]:
    return (
        _row(results, "WER", lambda v: Cell(text=percent(v.wer), note=describe_errors(v.words)), unit="%"),
        _compared_row(
            results,
            "Change in WER",
            lambda c: Cell(text=signed_points(c.wer_delta.value), note=span(c.wer_delta, signed_points)),
            unit="points",
        ),
        _row(results, "Word accuracy", lambda v: Cell(text=percent(v.word_accuracy)), unit="%"),
        _row(
            results,
            "Raw WER",
            lambda v: Cell(text=percent(v.raw_wer), note=describe_errors(v.raw_words)),
            unit="%",
        ),
        _compared_row(
            results,
            "Transcripts changed",
            lambda c: Cell(text=f"{c.n_changed:,}", note=f"{c.n_worse:,} worse, {c.n_better:,} better"),
            unit="clips",
        ),
        _compared_row(
            results, "Clips with no more errors", lambda c: Cell(text=_share(c.no_regression_rate)), unit="%"
        ),
        _compared_row(
            results,
            "Matched pairs",
            lambda c: Cell(text=_p_value(c.matched_pairs), note=_segments(c.matched_pairs)),
            unit="p",
        ),
        _row(results, "Tokens generated", lambda v: Cell(text=f"{v.tokens:,}")),
    )


def _size_rows(results: Results) -> tuple[Row, ...]:
    return (
        _row(results, "Size on disk", lambda v: Cell(text=megabytes(v.size_bytes)), unit="MB"),
        _compared_row(results, "Size by baseline", lambda c: Cell(text=fixed(c.size_ratio)), unit="times"),
        _row(results, "Peak memory", lambda v: Cell(text=megabytes(v.peak_rss_bytes)), unit="MB"),
        _row(results, "Effective precision", lambda v: Cell(text=v.precision.summary)),
        _row(results, "Engine", lambda v: Cell(text=v.engine)),
    )


def _row(
    results: Results, label: str, read: Callable[[VariantResult], Cell], *, unit: str | None = None
) -> Row:
    return Row(label=label, unit=unit, cells=tuple(read(variant) for variant in results.variants))


def _compared_row(results: Results, label: str, read: Callable[[Comparison], Cell], *, unit: str) -> Row:
    """Read a figure that the baseline has none of."""

    def read_variant(variant: VariantResult) -> Cell:
        comparison = comparison_of(results, variant.name)
        return Cell(text=NOT_MEASURED) if comparison is None else read(comparison)

    return _row(results, label, read_variant, unit=unit)


def _cold_start_rows(results: Results) -> tuple[Row, ...]:
    if all(variant.cold_start is None for variant in results.variants):
        return ()
    return (
        _row(results, "Cold start", lambda v: _of_cold_start(v, _cold_seconds), unit="s"),
        _row(results, "Cold start, peak memory", lambda v: _of_cold_start(v, _cold_memory), unit="MB"),
    )


def _of_cold_start(variant: VariantResult, read: Callable[[ColdStart], Cell]) -> Cell:
    return Cell(text=NOT_MEASURED) if variant.cold_start is None else read(variant.cold_start)


def _cold_seconds(start: ColdStart) -> Cell:
    return Cell(
        text=fixed(start.median_s), note=f"{fixed(min(start.seconds))} to {fixed(max(start.seconds))}"
    )


def _cold_memory(start: ColdStart) -> Cell:
    return Cell(text=megabytes(start.peak_rss_bytes))


def _first_transcription(variant: VariantResult) -> Cell:
    return Cell(text=milliseconds(variant.warm_up_s[0]) if variant.warm_up_s else NOT_MEASURED)


def _share(fraction: float | None) -> str:
    return NOT_MEASURED if fraction is None else percent(fraction)


def _p_value(test: MatchedPairs | None) -> str:
    return NOT_MEASURED if test is None or test.p_value is None else fixed(test.p_value, 3)


def _segments(test: MatchedPairs | None) -> str | None:
    return None if test is None else f"{test.n_segments:,} segments with errors"
