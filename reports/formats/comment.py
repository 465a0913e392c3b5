"""Results as a comment on a pull request: the verdict, a table, the command that repeats it."""

from collections.abc import Sequence
from itertools import chain

from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.comparisons import Comparison
from sottovoce.benchmark.schema.results import Results
from sottovoce.reports.formats.markdown import code, code_block, draw_table, folded
from sottovoce.reports.sections import present
from sottovoce.reports.sections.accuracy import describe_robustness, languages_table, robustness_table
from sottovoce.reports.sections.comparison import describe_skipped, entries_table
from sottovoce.reports.sections.facts import describe_setting, fact_sheets, repeat_command
from sottovoce.reports.sections.noise import describe_noise
from sottovoce.reports.sections.output_drift import describe_drift
from sottovoce.reports.sections.verdicts import describe_verdict, find_notices, verdict_badges
from sottovoce.reports.summary.recommend import describe_peer, describe_proof, headline, recommend
from sottovoce.reports.text.tables import flat_table, make_row, text_columns
from sottovoce.reports.text.units import count
from sottovoce.reports.transcripts.changes import Change, find_changes, summarize_changes

N_CHANGES = 5
"""Changed transcripts in a comment; the HTML report has all."""
_SHEETS = ("Speech", "Method", "Host")


def render_comment(results: Results, rows: Sequence[ClipRow]) -> str:
    """Write a comment for a pull request, as GitHub's Markdown."""
    parts = (
        f"### {code(results.model)}: speed and accuracy",
        verdict_lines(results),
        *notice_lines(results, rows),
        figures_table(results),
        _languages(results),
        host_line(results),
        *_details(results, rows),
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def verdict_lines(results: Results) -> str:
    """Write the verdict, what supports it, and the best other engine."""
    found = recommend(results)
    peer = None if found is None or found.peer is None else f"{describe_peer(found.peer, name=code)}."
    return "\n\n".join(
        present(f"**{headline(results, name=code)}**", *describe_proof(results, name=code), peer)
    )


def notice_lines(results: Results, rows: Sequence[ClipRow]) -> list[str]:
    """Quote the warnings."""
    return [f"> **{notice.title}.** {notice.text}" for notice in find_notices(results, rows, name=code)]


def figures_table(results: Results) -> str:
    """Put every entry in a row, with intervals against the baseline."""
    return draw_table(entries_table(results))


def _languages(results: Results) -> str:
    table = languages_table(results)
    return "" if table is None else draw_table(table)


def host_line(results: Results) -> str:
    """Name the machine, the versions and the clips of the measurement."""
    return (
        f"{describe_setting(results, name=code)}, {results.method.confidence * 100:g} % intervals. "
        f"sottovoce {code(results.versions.get('sottovoce', 'of unknown version'))}, "
        f"{results.created.isoformat(sep=' ', timespec='minutes')}."
    )


def _verdict_line(comparison: Comparison, results: Results) -> str:
    badges = ", ".join(badge.text for badge in verdict_badges(comparison.verdict))
    return f"- {code(comparison.variant)}: **{badges}**. {describe_verdict(comparison, results, name=code)}"


def _details(results: Results, rows: Sequence[ClipRow]) -> tuple[str, ...]:
    changes = find_changes(results, rows)
    parts = (
        (
            "Every variant",
            "\n".join(_verdict_line(comparison, results) for comparison in results.comparisons),
        ),
        ("Changed transcripts", _changes(results, changes)),
        ("Robustness", _robustness(results)),
        ("Output drift and noise", _drift_and_noise(results)),
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


def _robustness(results: Results) -> str:
    table = robustness_table(results)
    if table is None:
        return ""
    sentences = (f"- {sentence}" for sentence in describe_robustness(results, name=code))
    return "\n".join((*sentences, "", draw_table(table, label=str, heading=code)))


def _drift_and_noise(results: Results) -> str:
    sentences = (
        *(describe_drift(drift, name=code) for drift in results.side_effects),
        *describe_noise(results, name=code),
        *(f"{describe_skipped(skipped, name=code)}." for skipped in results.absent),
    )
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _facts(results: Results) -> str:
    facts = chain.from_iterable(
        [make_row(f"{sheet.title}: {fact.label}", fact.value) for fact in sheet.facts]
        for sheet in fact_sheets(results)
        if sheet.title in _SHEETS
    )
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    rows = (*facts, make_row("Versions", versions), make_row("Recipe", results.recipe_sha256))
    return draw_table(flat_table("Facts", "Fact", text_columns("Value"), rows), label=str)
