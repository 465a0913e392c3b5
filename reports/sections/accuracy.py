"""Tables of word errors by part of the clips, and under each normalizer."""

from collections.abc import Iterable

from sottovoce.benchmark.schema.comparisons import Comparison, Normalizer, PanelRow
from sottovoce.benchmark.schema.results import Results, Stratum, VariantResult
from sottovoce.benchmark.statistics.panel import disagrees
from sottovoce.benchmark.statistics.strata import StratumKind
from sottovoce.reports.sections.comparison import short_errors
from sottovoce.reports.text.tables import Cell, Column, Group, Row, Table, span
from sottovoce.reports.text.units import NOT_MEASURED, duration, percent, signed_points

NORMALIZER_LABELS = {
    Normalizer.WHISPER: "Whisper's",
    Normalizer.WHISPER_BASIC: "Whisper's basic one",
    Normalizer.RAW: "None",
    Normalizer.CHARACTERS: "Whisper's, by character",
}

VERDICT_LABELS = {"within": "within the margin", "beyond": "beyond the margin", "undecided": "undecided"}


def strata_table(results: Results) -> Table | None:
    """Put the parts of the clips in rows, but speakers; None without parts."""
    return _strata_table(
        results,
        "Word error rate by part of the clips",
        [kind for kind in StratumKind if kind != StratumKind.SPEAKER],
    )


def speakers_table(results: Results) -> Table | None:
    """Put the speakers in rows; None where none is known."""
    return _strata_table(results, "Word error rate by speaker", [StratumKind.SPEAKER])


def _strata_table(results: Results, caption: str, kinds: Iterable[StratumKind]) -> Table | None:
    wanted = tuple(kinds)
    keys = dict.fromkeys(
        (stratum.by, stratum.name)
        for variant in results.variants
        for stratum in variant.strata
        if stratum.by in wanted
    )
    if not keys:
        return None
    return Table(
        caption=caption,
        corner="Part",
        columns=(
            Column(label="Clips"),
            Column(label="Audio"),
            Column(label="Words"),
            *(Column(label=f"WER {variant.name}", unit="%") for variant in results.variants),
            *(Column(label=f"Change {found.variant}", unit="points") for found in _with_strata(results)),
        ),
        groups=tuple(
            Group(label=f"By {by}", rows=tuple(_stratum_row(results, key) for key in keys if key[0] == by))
            for by in dict.fromkeys(key[0] for key in keys)
        ),
    )


def _with_strata(results: Results) -> list[Comparison]:
    return [comparison for comparison in results.comparisons if comparison.strata]


def _stratum_row(results: Results, key: tuple[str, str]) -> Row:
    found = [_find_stratum(variant, key) for variant in results.variants]
    first = next(stratum for stratum in found if stratum is not None)
    return Row(
        label=key[1],
        cells=(
            Cell(text=f"{first.n_clips:,}"),
            Cell(text=duration(first.audio_s)),
            Cell(text=f"{first.words.reference_words:,}"),
            *(
                Cell(text=NOT_MEASURED)
                if stratum is None
                else Cell(text=percent(stratum.wer), note=short_errors(stratum.words))
                for stratum in found
            ),
            *(_change_cell(comparison, key) for comparison in _with_strata(results)),
        ),
    )


def _find_stratum(variant: VariantResult, key: tuple[str, str]) -> Stratum | None:
    return next((stratum for stratum in variant.strata if (stratum.by, stratum.name) == key), None)


def _change_cell(comparison: Comparison, key: tuple[str, str]) -> Cell:
    for stratum in comparison.strata:
        if (stratum.by, stratum.name) == key:
            return Cell(
                text=signed_points(stratum.wer_delta.value), note=span(stratum.wer_delta, signed_points)
            )
    return Cell(text=NOT_MEASURED)


def panel_table(results: Results) -> Table | None:
    """Put each comparison under each normalizer in rows; None in results that have no panel."""
    compared = [comparison for comparison in results.comparisons if comparison.panel]
    if not compared:
        return None
    return Table(
        caption="The same transcripts under other normalizers",
        corner="Normalizer",
        columns=(
            Column(label=f"Error rate {results.baseline}", unit="%"),
            Column(label="Error rate", unit="%"),
            Column(label="Change", unit="points"),
            Column(label="Verdict", is_numeric=False),
        ),
        groups=tuple(
            Group(label=comparison.variant, rows=tuple(_panel_row(row) for row in comparison.panel))
            for comparison in compared
        ),
    )


def _panel_row(row: PanelRow) -> Row:
    return Row(
        label=NORMALIZER_LABELS[row.normalizer],
        cells=(
            Cell(text=percent(row.baseline.wer)),
            Cell(text=percent(row.variant.wer)),
            Cell(text=signed_points(row.delta.value), note=span(row.delta, signed_points)),
            Cell(text=VERDICT_LABELS[row.verdict]),
        ),
    )


def describe_disagreement(results: Results) -> str | None:
    """Tell of which variants the verdict hangs on the normalizer; None where of none."""
    torn = [comparison.variant for comparison in results.comparisons if disagrees(comparison.panel)]
    if not torn:
        return None
    return f"The verdict on {' and '.join(torn)} depends on the normalizer: read it with care."
