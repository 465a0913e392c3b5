"""The report on side effects: what quantization changes besides word errors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sottovoce.benchmark.schema.output_drift import (
    LanguageChanges,
    LengthRatio,
    OutputDrift,
    TimestampDrift,
)
from sottovoce.benchmark.schema.results import Results
from sottovoce.reports.text.tables import Cell, Column, Group, Row, Table, text_columns
from sottovoce.reports.text.units import MS_PER_S, NOT_MEASURED, count, fixed, percent

T = TypeVar("T")

MOST_SENTENCES = 3
"""Of more variants the table tells it better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SideEffectsView:
    """The section on side effects, in the order in which it is read."""

    sentences: tuple[str, ...]
    effects: Table
    sounds: Table | None
    written: Table | None
    notes: tuple[str, ...]


def side_effects_view(results: Results) -> SideEffectsView | None:
    """Format the side effects; None where they were not asked for."""
    if not results.side_effects:
        return None
    return SideEffectsView(
        sentences=_sentences(results.side_effects),
        effects=_effects_table(results),
        sounds=_sounds_table(results),
        written=_written_table(results),
        notes=(
            f"Each against {results.baseline}, beside the timed passes.",
            "Tokens agree: 1 - edit distance by the baseline's tokens.",
            "Drift: how far the starts of the words moved that both transcripts have.",
            "Length: characters of the transcript by those of the baseline's; above 1 it adds, below 1 it leaves out.",
        ),
    )


def _sentences(found: Sequence[OutputDrift]) -> tuple[str, ...]:
    return tuple(map(describe_effects, found)) if len(found) <= MOST_SENTENCES else ()


def describe_effects(effects: OutputDrift, *, name: Callable[[str], str] = str) -> str:
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


Reader = tuple[Column, Callable[[OutputDrift], Cell]]


def _effects_table(results: Results) -> Table:
    found = results.side_effects
    readers = (
        *_token_readers(),
        *(_language_readers() if any(effects.language for effects in found) else ()),
        *(_drift_readers() if any(effects.drift for effects in found) else ()),
        *(_length_readers() if any(effects.length_ratio for effects in found) else ()),
    )
    return Table(
        caption=f"Side effects, against {results.baseline}",
        corner="Variant",
        columns=tuple(column for column, _ in readers),
        groups=(
            Group(
                label=None,
                rows=tuple(
                    Row(label=effects.variant, cells=tuple(read(effects) for _, read in readers))
                    for effects in found
                ),
            ),
        ),
    )


def _token_readers() -> tuple[Reader, ...]:
    return (
        (Column(label="Tokens that agree", unit="%"), lambda e: Cell(text=percent(e.token_agreement))),
        (
            Column(label="Clips with the same tokens", unit="%"),
            lambda e: Cell(text=percent(e.same_tokens_rate), note=f"of {count(e.n_clips, 'clip')}"),
        ),
    )


def _language_readers() -> tuple[Reader, ...]:
    return (
        (Column(label="Another language told", unit="clips"), lambda e: _of(e.language, _flips)),
        (Column(label="Told wrongly", unit="clips"), lambda e: _of(e.language, _wrong)),
    )


def _drift_readers() -> tuple[Reader, ...]:
    return (
        (Column(label="Drift of words, mean", unit="ms"), lambda e: _of(e.drift, _mean_drift)),
        (Column(label="Distance, median", unit="ms"), lambda e: _of(e.drift, _median_drift)),
    )


def _length_readers() -> tuple[Reader, ...]:
    return ((Column(label="Length by baseline", unit="times"), lambda e: _of(e.length_ratio, _length)),)


def _of(found: T | None, read: Callable[[T], Cell]) -> Cell:
    return Cell(text=NOT_MEASURED) if found is None else read(found)


def _flips(language: LanguageChanges) -> Cell:
    return Cell(text=f"{language.n_flips:,}", note=f"of {language.n_clips:,}")


def _wrong(language: LanguageChanges) -> Cell:
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
    return Cell(text=fixed(ratio.total, 3), note=f"90 % of clips {fixed(ratio.p5)} to {fixed(ratio.p95)}")


def _sounds_table(results: Results) -> Table | None:
    """Put the sounds without speech in rows, and how many words each variant heard; None without sounds."""
    heard = [effects for effects in results.side_effects if effects.hallucinations]
    if not heard:
        return None
    words = [
        {sound.sound: f"{sound.variant_words:,}" for sound in effects.hallucinations} for effects in heard
    ]
    return Table(
        caption="Words in sounds without speech",
        corner="Sound",
        columns=(
            Column(label="Length", unit="s"),
            Column(label=results.baseline, unit="words"),
            *(Column(label=effects.variant, unit="words") for effects in heard),
        ),
        groups=(
            Group(
                label=None,
                rows=tuple(
                    Row(
                        label=sound.sound,
                        cells=(
                            Cell(text=fixed(sound.audio_s, 0)),
                            Cell(text=f"{sound.baseline_words:,}"),
                            *(Cell(text=of_variant.get(sound.sound, NOT_MEASURED)) for of_variant in words),
                        ),
                    )
                    for sound in heard[0].hallucinations
                ),
            ),
        ),
    )


def _written_table(results: Results) -> Table | None:
    """List what was written for sounds without speech; None where nothing was."""
    rows = tuple(
        Row(label=sound.sound, cells=(Cell(text=effects.variant), Cell(text=sound.variant_text.strip())))
        for effects in results.side_effects
        for sound in effects.hallucinations
        if sound.variant_words
    )
    if not rows:
        return None
    return Table(
        caption="What was written for them",
        corner="Sound",
        columns=text_columns(("Variant", "Text")),
        groups=(Group(label=None, rows=rows),),
    )
