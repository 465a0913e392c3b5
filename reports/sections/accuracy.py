"""Word errors by part of the clips and under each normalizer, and the clips without a score."""

from collections.abc import Mapping, Sequence

from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.comparisons import Comparison, Normalizer
from sottovoce.benchmark.schema.results import Results, Stratum, VariantResult
from sottovoce.benchmark.statistics.panel import disagrees
from sottovoce.benchmark.statistics.strata import StratumKind
from sottovoce.reports.text.tables import (
    Cell,
    Column,
    Row,
    RowGroup,
    Table,
    flat_table,
    interval_cell,
    make_row,
    text_columns,
)
from sottovoce.reports.text.units import NOT_MEASURED, duration, percent, signed_points
from sottovoce.statistics.accuracy import CHARACTER_LANGUAGES

NORMALIZER_LABELS = {
    Normalizer.WHISPER: "Whisper's",
    Normalizer.WHISPER_BASIC: "Whisper's basic one, as published",
    Normalizer.RAW: "None",
    Normalizer.CHARACTERS: "Whisper's, by character",
}

VERDICT_LABELS = {"within": "within the margin", "beyond": "beyond the margin", "undecided": "undecided"}


def languages_table(results: Results) -> Table | None:
    """Put the languages in rows, that with the most clips first; None with fewer than two."""
    by_name = {
        stratum.name: stratum
        for variant in results.variants
        for stratum in variant.strata
        if stratum.by == StratumKind.LANGUAGE
    }
    if len(by_name) <= 1:
        return None
    compared = {comparison.variant: comparison for comparison in results.comparisons}
    columns = [Column("Clips")]
    for variant in results.variants:
        columns.append(Column(f"WER {variant.name}", "%"))
        if variant.name in compared:
            columns.append(Column("Change", "points"))
    largest_first = sorted(by_name.values(), key=lambda stratum: (-stratum.n_clips, stratum.name))
    return flat_table(
        "Word error rate by language",
        "Language",
        columns,
        (_language_row(results, compared, stratum) for stratum in largest_first),
    )


def _language_row(results: Results, compared: Mapping[str, Comparison], stratum: Stratum) -> Row:
    key = (stratum.by, stratum.name)
    cells: list[Cell | str] = [f"{stratum.n_clips:,}"]
    for variant in results.variants:
        found = _find_stratum(variant, key)
        cells.append(NOT_MEASURED if found is None else percent(found.wer))
        if variant.name in compared:
            cells.append(_change_cell(compared[variant.name], key))
    unit = "characters" if stratum.name in CHARACTER_LANGUAGES else None
    return make_row(stratum.name, *cells, unit=unit)


def strata_table(results: Results) -> Table | None:
    """Put the parts of the clips in rows, except speakers, and languages that have their own table; None without parts."""
    own = (
        {StratumKind.SPEAKER}
        if languages_table(results) is None
        else {StratumKind.SPEAKER, StratumKind.LANGUAGE}
    )
    kinds = [kind for kind in StratumKind if kind not in own]
    return _strata_table(results, "Word error rate by part of the clips", kinds)


def speakers_table(results: Results) -> Table | None:
    """Put the speakers in rows; None where none is known."""
    return _strata_table(results, "Word error rate by speaker", [StratumKind.SPEAKER])


def _strata_table(results: Results, caption: str, kinds: Sequence[StratumKind]) -> Table | None:
    keys = dict.fromkeys(
        (stratum.by, stratum.name)
        for variant in results.variants
        for stratum in variant.strata
        if stratum.by in kinds
    )
    if not keys:
        return None
    compared = [comparison for comparison in results.comparisons if comparison.strata]
    return Table(
        caption=caption,
        corner="Part",
        columns=(
            Column("Clips"),
            Column("Audio"),
            Column("Words"),
            *(Column(f"WER {variant.name}", "%") for variant in results.variants),
            *(Column(f"Change {found.variant}", "points") for found in compared),
        ),
        groups=tuple(
            RowGroup(
                label=f"By {by}",
                rows=tuple(_stratum_row(results, compared, key) for key in keys if key[0] == by),
            )
            for by in dict.fromkeys(key[0] for key in keys)
        ),
    )


def _stratum_row(results: Results, compared: Sequence[Comparison], key: tuple[str, str]) -> Row:
    found = [_find_stratum(variant, key) for variant in results.variants]
    first = next(stratum for stratum in found if stratum is not None)
    return make_row(
        key[1],
        f"{first.n_clips:,}",
        duration(first.audio_s),
        f"{first.words.reference_words:,}",
        *(NOT_MEASURED if part is None else percent(part.wer) for part in found),
        *(_change_cell(comparison, key) for comparison in compared),
    )


def _find_stratum(variant: VariantResult, key: tuple[str, str]) -> Stratum | None:
    return next((stratum for stratum in variant.strata if (stratum.by, stratum.name) == key), None)


def _change_cell(comparison: Comparison, key: tuple[str, str]) -> Cell:
    deltas = (part.wer_delta for part in comparison.strata if (part.by, part.name) == key)
    return interval_cell(next(deltas, None), signed_points)


def panel_table(results: Results) -> Table | None:
    """Put each comparison under each normalizer in rows; None in results that have no panel."""
    compared = [comparison for comparison in results.comparisons if comparison.panel]
    if not compared:
        return None
    return Table(
        caption="The same transcripts under other normalizers",
        corner="Normalizer",
        columns=(
            Column(f"Error rate {results.baseline}", "%"),
            Column("Error rate", "%"),
            Column("Change", "points"),
            *text_columns("Verdict"),
        ),
        groups=tuple(
            RowGroup(
                label=comparison.variant,
                rows=tuple(
                    make_row(
                        NORMALIZER_LABELS[row.normalizer],
                        percent(row.baseline.wer),
                        percent(row.variant.wer),
                        interval_cell(row.delta, signed_points),
                        VERDICT_LABELS[row.verdict],
                    )
                    for row in comparison.panel
                ),
            )
            for comparison in compared
        ),
    )


def describe_disagreement(results: Results) -> str | None:
    """Name the variants whose verdict depends on the normalizer; None without such."""
    names = [comparison.variant for comparison in results.comparisons if disagrees(comparison.panel)]
    if not names:
        return None
    return f"The verdict on {' and '.join(names)} depends on the normalizer: read it with care."


def left_out_table(results: Results) -> Table | None:
    """List the clips that were not used, with the reason; None if all were."""
    if not results.dataset.left_out:
        return None
    rows = (make_row(clip.clip_id, clip.reason) for clip in results.dataset.left_out)
    return flat_table(
        "Clips left out before measuring", "Clip", text_columns("Reason"), rows, is_compact=True
    )


def failures_table(rows: Sequence[ClipRow]) -> Table | None:
    """List the clips that failed under a variant, with the error; None if none did."""
    failed = [make_row(row.clip_id, row.variant, row.error) for row in rows if row.error is not None]
    return (
        flat_table("Clips that failed", "Clip", text_columns("Variant", "Error"), failed) if failed else None
    )
