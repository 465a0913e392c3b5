"""The report on side effects: what quantization changes besides word errors."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from sottovoce.benchmark.results import Results
from sottovoce.benchmark.side_effects import (
    Hallucination,
    LanguageFlips,
    LengthRatio,
    SideEffects,
    TimestampDrift,
)
from sottovoce.reports.tables import Cell, Column, Group, Row, Table
from sottovoce.reports.units import MS_PER_S, NOT_MEASURED, count, fixed, percent

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class SideEffectsView:
    """The section on side effects, in the order in which it is read."""

    sentences: tuple[str, ...]
    effects: Table
    hallucinations: Table | None
    notes: tuple[str, ...]


def side_effects_view(results: Results) -> SideEffectsView | None:
    """Format the side effects; None where they were not asked for."""
    if not results.side_effects:
        return None
    return SideEffectsView(
        sentences=tuple(describe_effects(effects) for effects in results.side_effects),
        effects=_effects_table(results),
        hallucinations=_hallucinations_table(results),
        notes=(
            f"Each against {results.baseline}, beside the timed passes.",
            "Tokens agree: 1 - edit distance by the baseline's tokens.",
            "Drift: how far the starts of the words moved that both transcripts have.",
            "Length: characters of the transcript by those of the baseline's; above 1 it adds, below 1 it leaves out.",
        ),
    )


def describe_effects(effects: SideEffects, *, name: Callable[[str], str] = str) -> str:
    """Say in one sentence what changed most; `name` writes an entry's name."""
    said = [f"{percent(effects.token_agreement)} % of its tokens are those of the baseline"]
    if effects.language is not None:
        clips = count(effects.language.n_clips, "clip")
        said.append(f"it tells another language for {effects.language.n_flips:,} of {clips}")
    if effects.hallucinations:
        wordy = sum(heard.variant_words > heard.baseline_words for heard in effects.hallucinations)
        said.append(
            f"it has more words than the baseline for {wordy:,} of "
            f"{count(len(effects.hallucinations), 'sound')} without speech"
        )
    return f"{name(effects.variant)}: {'; '.join(said)}."


def _effects_table(results: Results) -> Table:
    groups = (
        ("Tokens", _token_rows(results)),
        ("Language", _language_rows(results)),
        ("Times of words", _drift_rows(results)),
        ("Length", _length_rows(results)),
    )
    return Table(
        caption=f"Side effects, against {results.baseline}",
        corner="Measured",
        columns=tuple(Column(label=effects.variant) for effects in results.side_effects),
        groups=tuple(Group(label=label, rows=rows) for label, rows in groups if rows),
    )


def _token_rows(results: Results) -> tuple[Row, ...]:
    return (
        _row(results, "Tokens that agree", "%", lambda e: Cell(text=percent(e.token_agreement))),
        _row(
            results,
            "Clips with the same tokens",
            "%",
            lambda e: Cell(text=percent(e.same_tokens_rate), note=f"of {count(e.n_clips, 'clip')}"),
        ),
    )


def _language_rows(results: Results) -> tuple[Row, ...]:
    if all(effects.language is None for effects in results.side_effects):
        return ()
    return (
        _row(results, "Another language told", "clips", lambda e: _of(e.language, _flips)),
        _row(results, "Told wrongly", "clips", lambda e: _of(e.language, _wrong)),
    )


def _drift_rows(results: Results) -> tuple[Row, ...]:
    if all(effects.drift is None for effects in results.side_effects):
        return ()
    return (
        _row(results, "Drift, mean", "ms", lambda e: _of(e.drift, _mean_drift)),
        _row(results, "Distance, median", "ms", lambda e: _of(e.drift, _median_drift)),
    )


def _length_rows(results: Results) -> tuple[Row, ...]:
    if all(effects.length_ratio is None for effects in results.side_effects):
        return ()
    return (_row(results, "Length by baseline", "times", lambda e: _of(e.length_ratio, _length)),)


def _row(results: Results, label: str, unit: str, read: Callable[[SideEffects], Cell]) -> Row:
    return Row(label=label, unit=unit, cells=tuple(read(effects) for effects in results.side_effects))


def _of(found: T | None, read: Callable[[T], Cell]) -> Cell:
    return Cell(text=NOT_MEASURED) if found is None else read(found)


def _flips(language: LanguageFlips) -> Cell:
    return Cell(text=f"{language.n_flips:,}", note=f"of {language.n_clips:,}")


def _wrong(language: LanguageFlips) -> Cell:
    return Cell(text=f"{language.variant_wrong:,}", note=f"{language.baseline_wrong:,} by the baseline")


def _mean_drift(drift: TimestampDrift) -> Cell:
    return Cell(text=_signed_ms(drift.mean_s), note=count(drift.n_words, "word"))


def _median_drift(drift: TimestampDrift) -> Cell:
    return Cell(
        text=fixed(drift.median_s * MS_PER_S, 0), note=f"95 % within {fixed(drift.p95_s * MS_PER_S, 0)}"
    )


def _signed_ms(seconds: float) -> str:
    text = fixed(seconds * MS_PER_S, 0)
    return f"+{text}" if seconds > 0 and text != "0" else text


def _length(ratio: LengthRatio) -> Cell:
    return Cell(
        text=fixed(ratio.total, 3), note=f"of clips {fixed(ratio.p5)} to {fixed(ratio.p95)} (5 to 95 %)"
    )


def _hallucinations_table(results: Results) -> Table | None:
    heard = [effects for effects in results.side_effects if effects.hallucinations]
    if not heard:
        return None
    return Table(
        caption="Words in sounds without speech",
        corner="Sound",
        columns=(
            Column(label="Length", unit="s"),
            Column(label=f"{results.baseline}", unit="words"),
            Column(label="Variant", unit="words"),
            Column(label="What the variant wrote", is_numeric=False),
        ),
        groups=tuple(
            Group(label=effects.variant, rows=tuple(_sound_row(sound) for sound in effects.hallucinations))
            for effects in heard
        ),
    )


def _sound_row(sound: Hallucination) -> Row:
    return Row(
        label=sound.sound,
        cells=(
            Cell(text=fixed(sound.audio_s, 0)),
            Cell(text=f"{sound.baseline_words:,}"),
            Cell(text=f"{sound.variant_words:,}"),
            Cell(text=sound.variant_text.strip() or "nothing"),
        ),
    )
