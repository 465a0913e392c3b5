"""The report on the machine's noise: what else it did, and what it makes of no difference at all."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.machine import Noise, SelfCheck
from sottovoce.benchmark.schema.results import Results
from sottovoce.reports.text.tables import Cell, Column, Group, Row, Table, span
from sottovoce.reports.text.units import NO_BREAK_SPACE, NOT_MEASURED, count, fixed, percent

MAX_MARKED_SHARE = 0.05
"""Of the blocks: beyond it the figures are not those of a quiet machine, and the reader is told first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseView:
    """The section on noise, in the order in which it is read."""

    sentences: tuple[str, ...]
    noise: Table | None
    disturbed: Table | None


def noise_view(results: Results, rows: Sequence[ClipRow]) -> NoiseView | None:
    """Format noise and the A/A check; None in results that have neither."""
    if results.noise is None and results.self_check is None:
        return None
    return NoiseView(
        sentences=tuple(describe_noise(results)),
        noise=None if results.noise is None else _noise_table(results.noise),
        disturbed=_disturbed_table(results, rows),
    )


def describe_noise(results: Results, *, name: Callable[[str], str] = str) -> Iterator[str]:
    """Yield a sentence on the A/A check and one on the noise, as far as they were measured."""
    if results.self_check is not None:
        confidence = f"{results.method.confidence * 100:g}{NO_BREAK_SPACE}%"
        yield _describe_check(results.self_check, confidence, name)
    if results.noise is not None:
        yield _describe_noise(results.noise)


def warn_of_noise(results: Results, *, name: Callable[[str], str] = str) -> str | None:
    """Say what a reader must know before the figures; None on a quiet machine. `name` writes an entry's name."""
    said = []
    check, noise = results.self_check, results.noise
    if check is not None and is_biased(check):
        said.append(
            f"{name(check.entry)} measured against itself is not 1.00 but {fixed(check.ratio.value)} "
            f"({span(check.ratio, fixed)}): smaller differences in speed say nothing."
        )
    if noise is not None and noise.n_blocks and noise.n_marked / noise.n_blocks > MAX_MARKED_SHARE:
        said.append(
            f"The machine was disturbed in {noise.n_marked:,} of {count(noise.n_blocks, 'block')}, repeats included."
        )
    return " ".join(said) or None


def is_biased(check: SelfCheck) -> bool:
    """Tell whether an entry against itself seems to differ."""
    return not check.ratio.low <= 1 <= check.ratio.high


def _describe_check(check: SelfCheck, confidence: str, name: Callable[[str], str]) -> str:
    meaning = (
        "the interval leaves 1 out, so this machine makes a difference where there is none"
        if is_biased(check)
        else "the interval holds 1, as it should"
    )
    return (
        f"{name(check.entry)} against itself, in a second process (A/A check): {fixed(check.ratio.value)} times as fast "
        f"({confidence} interval {span(check.ratio, fixed)}) on {count(check.n_clips, 'clip')}; {meaning}. "
        f"{percent(check.same_text_rate)} % of the transcripts are the same."
    )


def _describe_noise(noise: Noise) -> str:
    blocks, repeats = count(noise.n_blocks, "block"), count(noise.n_repeated, "repeat")
    if not noise.n_marked:
        return f"None of {blocks} stayed beyond a limit, after {repeats}. A block is one clip in every entry."
    return (
        f"{noise.n_marked:,} of {blocks} stayed beyond a limit after {repeats}; their figures count, and are marked. "
        "A block is one clip in every entry."
    )


def _noise_table(noise: Noise) -> Table:
    shares = (
        ("Taken by the host for others (steal)", noise.steal_share, noise.max_steal_share),
        ("Used by other processes", noise.foreign_share, noise.max_foreign_share),
    )
    throttled = NOT_MEASURED if noise.throttled is None else f"{noise.throttled:,}"
    return Table(
        caption="What else the machine did while clips were timed",
        corner="Noise",
        columns=(Column(label="Measured"), Column(label="Limit for a block")),
        groups=(
            Group(
                label=None,
                rows=(
                    *(
                        Row(
                            label=label,
                            unit="% of CPU time",
                            cells=(Cell(text=percent(share)), Cell(text=percent(limit))),
                        )
                        for label, share, limit in shares
                    ),
                    _count_row("Blocks beyond a limit", noise.n_marked, noise.n_blocks),
                    _count_row("Blocks measured again", noise.n_repeated, noise.n_blocks),
                    Row(
                        label="Thermal throttling",
                        unit="events",
                        cells=(Cell(text=throttled), Cell(text=NOT_MEASURED)),
                    ),
                ),
            ),
        ),
    )


def _count_row(label: str, number: int, total: int) -> Row:
    return Row(label=label, cells=(Cell(text=f"{number:,}", note=f"of {total:,}"), Cell(text=NOT_MEASURED)))


def _disturbed_table(results: Results, rows: Sequence[ClipRow]) -> Table | None:
    """Count marked figures by entry; None where nobody could tell, or none is marked."""
    flags = {
        variant.name: [flag for row in rows if row.variant == variant.name for flag in row.disturbed]
        for variant in results.variants
    }
    if not any(flag for of_variant in flags.values() for flag in of_variant):
        return None
    return Table(
        caption="Figures of disturbed blocks, by entry",
        corner="Entry",
        columns=(Column(label="Disturbed"), Column(label="Figures"), Column(label="Share", unit="%")),
        groups=(
            Group(
                label=None,
                rows=tuple(
                    Row(
                        label=name,
                        cells=(
                            Cell(text=f"{sum(found):,}"),
                            Cell(text=f"{len(found):,}"),
                            Cell(text=percent(sum(found) / len(found))),
                        ),
                    )
                    for name, found in flags.items()
                    if found
                ),
            ),
        ),
    )
