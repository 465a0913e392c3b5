"""Results as a comment on a pull request: the verdict, a table, how to repeat it."""

from collections.abc import Sequence
from itertools import chain

from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.comparisons import Comparison
from sottovoce.benchmark.schema.failures import SkippedEngine
from sottovoce.benchmark.schema.results import Results, VariantResult
from sottovoce.reports.formats.markdown import code, code_block, folded, table
from sottovoce.reports.formats.repeat import repeat_command
from sottovoce.reports.sections.comparison import comparison_of
from sottovoce.reports.sections.facts import fact_sheets
from sottovoce.reports.sections.noise import describe_noise
from sottovoce.reports.sections.notices import find_notices
from sottovoce.reports.sections.output_drift import describe_effects
from sottovoce.reports.sections.verdicts import describe_verdict, verdict_badges
from sottovoce.reports.text.tables import span
from sottovoce.reports.text.units import (
    NOT_MEASURED,
    count,
    duration,
    fixed,
    megabytes,
    percent,
    signed_points,
    three_figures,
)
from sottovoce.reports.transcripts.changes import Change, find_changes, summarize_changes

N_CHANGES = 5
"""Changed transcripts in a comment; the HTML report has all."""
_SHEETS = ("Speech", "Method", "Host")
_HEADINGS = ("Entry", "Speed-up", "RTFx", "WER, %", "Change, points", "Size, MB", "Peak memory, MB")


def render_comment(results: Results, rows: Sequence[ClipRow]) -> str:
    """Write a comment for a pull request, as GitHub's Markdown."""
    parts = (
        f"### {code(results.model)}: speed and accuracy",
        *(f"> **{notice.title}.** {notice.text}" for notice in find_notices(results, rows, name=code)),
        verdict_list(results),
        figures_table(results),
        host_line(results),
        *_details(results, rows),
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def verdict_list(results: Results) -> str:
    """Say the verdict on each entry."""
    if not results.comparisons:
        return f"Only {code(results.baseline)} was measured: nothing to compare."
    return "\n".join(_verdict_line(comparison, results) for comparison in results.comparisons)


def figures_table(results: Results) -> str:
    """Put every entry in a row, with intervals against the baseline."""
    return table(_HEADINGS, (_entry_cells(results, variant) for variant in results.variants))


def host_line(results: Results) -> str:
    """Say on what machine, with what and on which clips it was measured."""
    dataset, host = results.dataset, results.host
    return (
        f"{count(dataset.n_clips, 'clip')}, {duration(dataset.audio_s)} of {code(dataset.name)}, on {code(host.cpu)} "
        f"with {count(results.method.threads, 'thread')}, {results.method.confidence * 100:g} % intervals. "
        f"sottovoce {code(results.versions.get('sottovoce', 'of unknown version'))}, "
        f"{results.created.isoformat(sep=' ', timespec='minutes')}."
    )


def _verdict_line(comparison: Comparison, results: Results) -> str:
    badges = ", ".join(badge.text for badge in verdict_badges(comparison.verdict))
    return f"- {code(comparison.variant)}: **{badges}**. {describe_verdict(comparison, results, name=code)}"


def _entry_cells(results: Results, variant: VariantResult) -> tuple[str, ...]:
    comparison = comparison_of(results, variant.name)
    return (
        code(variant.name),
        *_compared_cells(comparison, variant),
        megabytes(variant.size_bytes),
        megabytes(variant.peak_rss_bytes),
    )


def _compared_cells(comparison: Comparison | None, variant: VariantResult) -> tuple[str, str, str, str]:
    rtfx, wer = three_figures(variant.rtfx), percent(variant.wer)
    if comparison is None:
        return "baseline", rtfx, wer, NOT_MEASURED
    speedup = f"**{fixed(comparison.speedup.value)}** ({span(comparison.speedup, fixed)})"
    delta = comparison.wer_delta
    return speedup, rtfx, wer, f"**{signed_points(delta.value)}** ({span(delta, signed_points)})"


def _details(results: Results, rows: Sequence[ClipRow]) -> tuple[str, ...]:
    changes = find_changes(results, rows)
    parts = (
        ("Changed transcripts", _changes(results, changes)),
        ("Side effects and noise", _effects(results)),
        ("How it was measured", _facts(results)),
        ("Repeat it", code_block(repeat_command(results), "sh")),
    )
    return tuple(folded(summary, content) for summary, content in parts if content)


def _changes(results: Results, changes: Sequence[Change]) -> str:
    if not changes:
        return ""
    sentences = (
        f"- {summarize_changes(comparison, n_clips=results.dataset.n_clips, name=code)}"
        for comparison in results.comparisons
    )
    blocks = (_change(change) for change in changes[:N_CHANGES])
    return "\n\n".join(("\n".join(sentences), "The most harmful:", *blocks))


def _change(change: Change) -> str:
    before, after = change.baseline, change.variant
    lines = (
        ("reference", after.normalized_reference),
        (code(before.variant), before.normalized_hypothesis),
        (code(after.variant), after.normalized_hypothesis),
    )
    head = f"{code(after.clip_id)}: {count(before.words.errors, 'error')} became {after.words.errors:,}"
    return "\n".join((f"- {head}", *(f"  - {label}: {code(text)}" for label, text in lines)))


def _effects(results: Results) -> str:
    sentences = (
        *(describe_effects(effects, name=code) for effects in results.side_effects),
        *describe_noise(results, name=code),
        *map(_describe_absent, results.absent),
    )
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _describe_absent(absent: SkippedEngine) -> str:
    how = "was measured in part" if absent.is_partial else "was not measured"
    return f"{code(absent.name)} {how}: {code(absent.message)}."


def _facts(results: Results) -> str:
    facts = chain.from_iterable(
        [(f"{sheet.title}: {fact.label}", code(fact.value)) for fact in sheet.facts]
        for sheet in fact_sheets(results)
        if sheet.title in _SHEETS
    )
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    rows = (*facts, ("Versions", code(versions)), ("Recipe", code(results.recipe_sha256)))
    return table(("Fact", "Value"), rows, has_figures=False)
