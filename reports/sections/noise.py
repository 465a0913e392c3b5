"""Noise of the machine: the load that others put on it, and the speed of an entry against itself (A/A check)."""

from collections.abc import Callable, Iterator, Sequence

from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.comparisons import Comparison, SpeedVerdict
from sottovoce.benchmark.schema.machine import Noise, SelfCheck
from sottovoce.benchmark.schema.results import Results
from sottovoce.reports.sections import Section, present
from sottovoce.reports.text.tables import Cell, Column, Row, Table, flat_table, make_row, span
from sottovoce.reports.text.units import NO_BREAK_SPACE, NOT_MEASURED, count, percent, times

MAX_MARKED_SHARE = 0.05
"""Largest share of disturbed blocks on a quiet machine; beyond it a notice stands before the figures."""
VOID_SHARE = 0.2
"""Beyond this share of the CPU time that other work takes, the speeds are those of a busy machine."""


def noise_section(results: Results, rows: Sequence[ClipRow]) -> Section | None:
    """Format noise and the A/A check; None in results that have neither."""
    if results.noise is None and results.self_check is None:
        return None
    return Section(
        heading="Noise of the machine",
        sentences=tuple(describe_noise(results)),
        tables=present(
            None if results.noise is None else noise_table(results.noise), _disturbed_table(results, rows)
        ),
    )


def describe_noise(results: Results, *, name: Callable[[str], str] = str) -> Iterator[str]:
    """Yield a sentence on the A/A check and one on the noise, as far as they were measured."""
    if results.self_check is not None:
        confidence = f"{results.method.confidence * 100:g}{NO_BREAK_SPACE}%"
        yield _describe_check(results.self_check, confidence, name)
    if results.noise is not None:
        yield _describe_noise(results.noise)


def warn_of_noise(results: Results, *, name: Callable[[str], str] = str) -> str | None:
    """Write the warning that stands before the figures; None on a quiet machine. `name` formats an entry's name."""
    warnings = []
    check, noise = results.self_check, results.noise
    if check is not None and is_biased(check):
        warnings.append(
            f"{name(check.entry)} measured against itself is not 1.00 but {times(check.ratio.value)} "
            f"({span(check.ratio, times)}): smaller differences in speed say nothing."
        )
    if noise is not None and noise.n_blocks and noise.n_marked / noise.n_blocks > MAX_MARKED_SHARE:
        warnings.append(
            f"The machine was disturbed in {noise.n_marked:,} of {count(noise.n_blocks, 'block')}, repeats included."
        )
    return " ".join(warnings) or None


def why_void(results: Results, comparison: Comparison, *, name: Callable[[str], str] = str) -> str | None:
    """Give the reason why noise leaves no verdict on a variant's speed; None if there is one, or another reason.

    Other work took more than `VOID_SHARE`, or the speed-up overlaps with the A/A check. `name` formats an entry's name.
    """
    noise, check, found = results.noise, results.self_check, comparison.speedup
    if noise is not None and noise.steal_share + noise.foreign_share > VOID_SHARE:
        used = f"{percent(noise.steal_share + noise.foreign_share)}{NO_BREAK_SPACE}% of the CPU time"
        return f"other work took {used} and disturbed {noise.n_marked:,} of {count(noise.n_blocks, 'block')}"
    is_open = comparison.verdict.speed is SpeedVerdict.UNDECIDED and not found.low <= 1 <= found.high
    if is_open and check is not None and found.low <= check.ratio.high and found.high >= check.ratio.low:
        return f"{name(check.entry)} against itself measured {span(check.ratio, times)} instead of 1"
    return None


def is_biased(check: SelfCheck) -> bool:
    """Return whether an entry seems to differ from itself."""
    return not check.ratio.low <= 1 <= check.ratio.high


def _describe_check(check: SelfCheck, confidence: str, name: Callable[[str], str]) -> str:
    meaning = (
        "the interval excludes 1, so this machine shows a difference where there is none"
        if is_biased(check)
        else "the interval holds 1, as it should"
    )
    return (
        f"{name(check.entry)} against itself, in a second process (A/A check): {times(check.ratio.value)} times as "
        f"fast ({confidence} interval {span(check.ratio, times)}) on {count(check.n_clips, 'clip')}; {meaning}. "
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


def noise_table(noise: Noise) -> Table:
    """Put the load of others, the disturbed blocks and thermal throttling in rows."""
    unit = "% of CPU time"
    throttled = NOT_MEASURED if noise.throttled is None else f"{noise.throttled:,}"
    return flat_table(
        "Other load on the machine while clips were timed",
        "Noise",
        (Column("Measured"), Column("Limit for a block")),
        (
            make_row(
                "Taken by the host for others (steal)",
                percent(noise.steal_share),
                percent(noise.max_steal_share),
                unit=unit,
            ),
            make_row(
                "Used by other processes",
                percent(noise.foreign_share),
                percent(noise.max_foreign_share),
                unit=unit,
            ),
            _count_row("Blocks beyond a limit", noise.n_marked, noise.n_blocks),
            _count_row("Blocks measured again", noise.n_repeated, noise.n_blocks),
            make_row("Thermal throttling", throttled, NOT_MEASURED, unit="events"),
        ),
    )


def _count_row(label: str, number: int, total: int) -> Row:
    return make_row(label, Cell(f"{number:,}", f"of {total:,}"), NOT_MEASURED)


def _disturbed_table(results: Results, rows: Sequence[ClipRow]) -> Table | None:
    """Count the marked figures of each entry; None if noise was not watched or none is marked."""
    flags: dict[str, list[bool]] = {variant.name: [] for variant in results.variants}
    for row in rows:
        flags[row.variant] += row.disturbed
    if not any(flag for of_variant in flags.values() for flag in of_variant):
        return None
    return flat_table(
        "Figures of disturbed blocks, by entry",
        "Entry",
        (Column("Disturbed"), Column("Figures"), Column("Share", "%")),
        (
            make_row(name, f"{sum(found):,}", f"{len(found):,}", percent(sum(found) / len(found)))
            for name, found in flags.items()
            if found
        ),
    )
