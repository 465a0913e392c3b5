"""Output drift: how quantization changes the output, apart from word errors."""

from collections.abc import Callable
from typing import TypeVar

from sottovoce.benchmark.schema.output_drift import LanguageChanges, LengthRatio, OutputDrift, TimestampDrift
from sottovoce.benchmark.schema.results import Results
from sottovoce.reports.sections import Section, present
from sottovoce.reports.text.tables import Cell, Column, Table, flat_table, make_row, text_columns
from sottovoce.reports.text.units import MS_PER_S, NOT_MEASURED, count, percent, times, two_figures

T = TypeVar("T")

MAX_SENTENCES = 3
"""Results of more variants have the table alone."""


def output_drift_section(results: Results) -> Section | None:
    """Format the output drift; None if it was not measured."""
    found = results.side_effects
    if not found:
        return None
    return Section(
        heading="Output drift",
        sentences=tuple(map(describe_drift, found)) if len(found) <= MAX_SENTENCES else (),
        tables=present(drift_table(results), _sounds_table(results), _texts_table(results)),
        notes=(
            f"Each against {results.baseline}, outside the timed passes.",
            "Token agreement: 1 - edit distance by the baseline's tokens.",
            "Word starts: how far the starts moved of the words that both transcripts have.",
            "Length: characters of the transcript by those of the baseline's; above 1 it adds, below 1 it leaves out.",
        ),
    )


def describe_drift(drift: OutputDrift, *, name: Callable[[str], str] = str) -> str:
    """Describe the main changes in one sentence; `name` formats an entry's name."""
    changes = [f"{percent(drift.token_agreement)} % of its tokens are those of the baseline"]
    if drift.language is not None:
        clips = count(drift.language.n_clips, "clip")
        changes.append(f"it detects another language for {drift.language.n_flips:,} of {clips}")
    if drift.hallucinations:
        wordy = sum(sound.variant_words > sound.baseline_words for sound in drift.hallucinations)
        changes.append(
            f"it has more words than the baseline for {wordy:,} of "
            f"{count(len(drift.hallucinations), 'sound')} without speech"
        )
    return f"{name(drift.variant)}: {'; '.join(changes)}."


Reader = tuple[Column, Callable[[OutputDrift], Cell | str]]


def drift_table(results: Results) -> Table | None:
    """Put the variants in rows, what was measured of any of them in columns; None if nothing was."""
    found = results.side_effects
    if not found:
        return None
    readers = (
        *_token_readers(),
        *(_language_readers() if any(drift.language for drift in found) else ()),
        *(_word_start_readers() if any(drift.drift for drift in found) else ()),
        *(_length_readers() if any(drift.length_ratio for drift in found) else ()),
        *(_sound_readers() if any(drift.hallucinations for drift in found) else ()),
    )
    return flat_table(
        f"Output drift, against {results.baseline}",
        "Variant",
        (column for column, _ in readers),
        (make_row(drift.variant, *(read(drift) for _, read in readers)) for drift in found),
    )


def _token_readers() -> tuple[Reader, ...]:
    return (
        (Column("Token agreement", "%"), lambda d: percent(d.token_agreement)),
        (
            Column("Clips with the same tokens", "%"),
            lambda d: Cell(percent(d.same_tokens_rate), f"of {count(d.n_clips, 'clip')}"),
        ),
    )


def _language_readers() -> tuple[Reader, ...]:
    return (
        (Column("Another language detected", "clips"), lambda d: _read(d.language, _other_language)),
        (Column("Wrong language detected", "clips"), lambda d: _read(d.language, _wrong_language)),
    )


def _word_start_readers() -> tuple[Reader, ...]:
    return (
        (Column("Word starts, mean shift", "ms"), lambda d: _read(d.drift, _mean_shift)),
        (Column("Word starts, median distance", "ms"), lambda d: _read(d.drift, _median_distance)),
    )


def _length_readers() -> tuple[Reader, ...]:
    return ((Column("Length by baseline", "times"), lambda d: _read(d.length_ratio, _length)),)


def _sound_readers() -> tuple[Reader, ...]:
    return ((Column("In sounds without speech", "words"), _sound_words),)


def _read(found: T | None, read: Callable[[T], Cell]) -> Cell | str:
    return NOT_MEASURED if found is None else read(found)


def _other_language(language: LanguageChanges) -> Cell:
    return Cell(f"{language.n_flips:,}", f"of {language.n_clips:,}")


def _wrong_language(language: LanguageChanges) -> Cell:
    return Cell(f"{language.variant_wrong:,}", f"{language.baseline_wrong:,} by the baseline")


def _mean_shift(drift: TimestampDrift) -> Cell:
    text = two_figures(drift.mean_s * MS_PER_S)
    sign = "+" if drift.mean_s > 0 and text != "0" else ""
    return Cell(sign + text, count(drift.n_words, "word"))


def _median_distance(drift: TimestampDrift) -> Cell:
    return Cell(two_figures(drift.median_s * MS_PER_S), f"95 % within {two_figures(drift.p95_s * MS_PER_S)}")


def _length(ratio: LengthRatio) -> Cell:
    return Cell(times(ratio.total), f"90 % of clips {times(ratio.p5)} to {times(ratio.p95)}")


def _sound_words(drift: OutputDrift) -> Cell | str:
    if not drift.hallucinations:
        return NOT_MEASURED
    baseline = sum(sound.baseline_words for sound in drift.hallucinations)
    return Cell(
        f"{sum(sound.variant_words for sound in drift.hallucinations):,}", f"{baseline:,} by the baseline"
    )


def _sounds_table(results: Results) -> Table | None:
    """Put the sounds without speech in rows, the words of each variant in columns; None without sounds."""
    found = [drift for drift in results.side_effects if drift.hallucinations]
    if not found:
        return None
    words = [{sound.sound: f"{sound.variant_words:,}" for sound in drift.hallucinations} for drift in found]
    return flat_table(
        "Words in sounds without speech",
        "Sound",
        (
            Column("Length", "s"),
            Column(results.baseline, "words"),
            *(Column(drift.variant, "words") for drift in found),
        ),
        (
            make_row(
                sound.sound,
                two_figures(sound.audio_s),
                f"{sound.baseline_words:,}",
                *(of_variant.get(sound.sound, NOT_MEASURED) for of_variant in words),
            )
            for sound in found[0].hallucinations
        ),
    )


def _texts_table(results: Results) -> Table | None:
    """List the transcripts of sounds without speech; None if all are empty."""
    rows = [
        make_row(sound.sound, drift.variant, sound.variant_text.strip())
        for drift in results.side_effects
        for sound in drift.hallucinations
        if sound.variant_words
    ]
    if not rows:
        return None
    return flat_table("Their transcripts", "Sound", text_columns("Variant", "Text"), rows, is_compact=True)
