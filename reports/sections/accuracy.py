"""Word errors by part of the clips, under conditions and under each normalizer, and the clips without a score."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.comparisons import Comparison, Normalizer
from sottovoce.benchmark.schema.results import Results, Stratum, VariantResult
from sottovoce.benchmark.statistics.panel import disagrees
from sottovoce.benchmark.statistics.strata import StratumKind
from sottovoce.reports.charts.chart import ChartText, ErrorBar, ErrorBarChart
from sottovoce.reports.sections import Section, present
from sottovoce.reports.sections.comparison import series_of
from sottovoce.reports.text.tables import (
    Cell,
    Column,
    Row,
    RowGroup,
    Table,
    flat_table,
    interval_cell,
    make_row,
    span,
    text_columns,
)
from sottovoce.reports.text.units import (
    NOT_MEASURED,
    count,
    duration,
    join_figures,
    percent,
    signed_points,
)
from sottovoce.statistics.accuracy import CHARACTER_LANGUAGES
from sottovoce.statistics.intervals import Interval
from sottovoce.terms import Condition

NORMALIZER_LABELS = {
    Normalizer.WHISPER: "Whisper's",
    Normalizer.WHISPER_BASIC: "Whisper's basic one, as published",
    Normalizer.RAW: "None",
    Normalizer.CHARACTERS: "Whisper's, by character",
}

CONDITION_LABELS = {
    Condition.CLEAN: "Unchanged",
    Condition.LEVEL_MINUS_40: "40 dB quieter",
    Condition.LEVEL_MINUS_20: "20 dB quieter",
    Condition.LEVEL_PLUS_20: "20 dB louder",
    Condition.SNR_20: "Noise, SNR 20 dB",
    Condition.SNR_10: "Noise, SNR 10 dB",
    Condition.SNR_5: "Noise, SNR 5 dB",
    Condition.TELEPHONE: "Telephone",
    Condition.REVERBERATION: "Reverberant room",
    Condition.MP3: "MP3, 16 kbit/s",
    Condition.SPEED_09: "Speed 0.9",
    Condition.SPEED_11: "Speed 1.1",
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


def robustness_section(results: Results) -> Section | None:
    """Format the word errors under listening conditions; None if they were not measured."""
    table = robustness_table(results)
    if table is None:
        return None
    return Section(
        heading="Robustness",
        sentences=tuple(describe_robustness(results)),
        charts=present(*(_robustness_chart(results, comparison) for comparison in results.comparisons)),
        tables=(table,),
        notes=(
            "The same clips, changed before they are transcribed; outside the timed passes. Louder than full scale is clipped.",
            "Noise: steady, with the spectrum of the clips. Telephone: 300 to 3400 Hz at 8 kHz, mu-law.",
            "Room: sound decays by 60 dB in 0.6 s.",
        ),
    )


def robustness_table(results: Results) -> Table | None:
    """Put the conditions in rows, the errors of each of our entries in columns; None if they were not measured."""
    measured = [variant for variant in results.variants if variant.conditions]
    if not measured:
        return None
    compared = [comparison for comparison in results.comparisons if comparison.conditions]
    conditions = dict.fromkeys(each.condition for variant in measured for each in variant.conditions)
    return flat_table(
        f"Word error rate under conditions, change against {results.baseline}",
        "Condition",
        (
            *(Column(f"WER {variant.name}", "%") for variant in measured),
            *(Column(f"Change {comparison.variant}", "points") for comparison in compared),
        ),
        (
            make_row(
                CONDITION_LABELS[condition],
                *(_condition_cell(variant, condition) for variant in measured),
                *(
                    interval_cell(_condition_deltas(comparison).get(condition), signed_points)
                    for comparison in compared
                ),
            )
            for condition in conditions
        ),
    )


def _condition_cell(variant: VariantResult, condition: Condition) -> str:
    found = (percent(each.wer) for each in variant.conditions if each.condition is condition)
    return next(found, NOT_MEASURED)


def _condition_deltas(comparison: Comparison) -> dict[Condition, Interval]:
    return {each.condition: each.wer_delta for each in comparison.conditions}


def describe_robustness(results: Results, *, name: Callable[[str], str] = str) -> Iterator[str]:
    """Yield a sentence for each variant: conditions beyond the margin, and the worst one; `name` formats its name."""
    for comparison in results.comparisons:
        if not comparison.conditions:
            continue
        margin = comparison.verdict.margin
        worst = max(comparison.conditions, key=lambda each: each.wer_delta.value)
        n_beyond = sum(each.wer_delta.value > margin for each in comparison.conditions)
        yield (
            f"{name(comparison.variant)} is more than {100 * margin:g} points worse than {name(results.baseline)} under "
            f"{n_beyond:,} of {count(len(comparison.conditions), 'condition')}. Largest change: "
            f"{CONDITION_LABELS[worst.condition]}, {signed_points(worst.wer_delta.value)} points "
            f"({span(worst.wer_delta, signed_points)})."
        )


def _robustness_chart(results: Results, comparison: Comparison) -> ErrorBarChart | None:
    """Draw the change under each condition, with the margin as a band."""
    if not comparison.conditions:
        return None
    bars = tuple(
        ErrorBar(
            label=CONDITION_LABELS[each.condition],
            value=100 * each.wer_delta.value,
            low=100 * each.wer_delta.low,
            high=100 * each.wer_delta.high,
            text=signed_points(each.wer_delta.value),
            series=series_of(results, comparison.variant),
        )
        for each in comparison.conditions
    )
    return ErrorBarChart(
        text=ChartText(
            name=f"robustness-{series_of(results, comparison.variant)}",
            title=f"{comparison.variant} under conditions",
            description=f"Change in word error rate against {results.baseline} under each condition, in points, with "
            "intervals. " + join_figures((bar.label, bar.text) for bar in bars),
            axis=f"points of WER against {results.baseline} (band: within the margin)",
        ),
        error_bars=bars,
        reference=0.0,
        band=(0.0, 100 * comparison.verdict.margin),
    )


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
