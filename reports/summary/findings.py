"""The three charts of the first pages, each titled by its finding: speed, accuracy by part of the speech, time."""

import math

from sottovoce.benchmark.engines.engine import DEFAULT_ENGINE
from sottovoce.benchmark.schema.comparisons import Comparison, SpeedVerdict, StratumComparison
from sottovoce.benchmark.schema.results import Results, VariantResult
from sottovoce.reports.charts.rows import IntervalRow, IntervalRows, PartsRow, PartsRows
from sottovoce.reports.sections import present
from sottovoce.reports.sections.comparison import comparison_of
from sottovoce.reports.sections.compute import STAGE_LABELS
from sottovoce.reports.summary.recommend import (
    Recommendation,
    describe_peer,
    part_label,
    parts_of_speech,
    weakest_part,
)
from sottovoce.reports.text.units import MS_PER_S, milliseconds, percent, signed_points, times, two_figures
from sottovoce.terms import Stage

Finding = IntervalRows | PartsRows

MAX_PARTS = 9
"""Parts of the speech in the chart, those that lose most; the fold has all."""


def find_findings(results: Results, found: Recommendation | None) -> tuple[Finding, ...]:
    """Draw the three charts; none if nothing was compared."""
    if found is None:
        return ()
    return present(
        speed_chart(results, found), accuracy_chart(results, found.comparison), time_chart(results, found)
    )


def speed_chart(results: Results, found: Recommendation) -> IntervalRows:
    """Put every entry in a row, the fastest first."""
    fastest_first = sorted(results.variants, key=lambda variant: -variant.rtfx)
    return IntervalRows(
        finding=_speed_finding(results, found),
        axis="seconds of audio per second of work \N{MIDDLE DOT} word errors",
        rows=tuple(_speed_row(results, variant) for variant in fastest_first),
        reference=results.variant(results.baseline).rtfx,
    )


def _speed_finding(results: Results, found: Recommendation) -> str:
    if found.noise is not None:
        return "The machine was too noisy: these speeds are no result"
    if found.peer is not None:
        return describe_peer(found.peer)
    variant, ratio = found.comparison.variant, found.comparison.speedup.value
    match found.comparison.verdict.speed:
        case SpeedVerdict.FASTER:
            return f"{variant} is {times(ratio)} times as fast as {results.baseline}"
        case SpeedVerdict.SLOWER:
            return f"{results.baseline} is {times(1 / ratio)} times as fast as {variant}"
        case SpeedVerdict.UNDECIDED:
            return f"No difference in speed between {variant} and {results.baseline} is proven"


def _speed_row(results: Results, variant: VariantResult) -> IntervalRow:
    comparison = comparison_of(results, variant.name)
    baseline = results.variant(results.baseline).rtfx
    low, high = (1.0, 1.0) if comparison is None else (comparison.speedup.low, comparison.speedup.high)
    value = variant.rtfx
    return IntervalRow(
        label=variant.name,
        value=value,
        low=min(value, baseline * low),
        high=max(value, baseline * high),
        text=f"{two_figures(value)}x \N{MIDDLE DOT} {percent(variant.wer)} %",
        is_ours=variant.engine == DEFAULT_ENGINE and variant.name != results.baseline,
    )


def accuracy_chart(results: Results, comparison: Comparison) -> IntervalRows:
    """Put the change in WER of all clips, then of the parts of the speech in rows, the worst first."""
    parts = [part for part in parts_of_speech(comparison) if math.isfinite(part.wer_delta.value)]
    worst = sorted(parts, key=lambda part: -part.wer_delta.value)[:MAX_PARTS]
    n_clips = comparison.n_clips or results.dataset.n_clips
    rows = [("all clips", n_clips, comparison.wer_delta)]
    rows += [(part_label(part), part.n_clips, part.wer_delta) for part in worst]
    margin = f"{100 * comparison.verdict.margin:g}"
    return IntervalRows(
        finding=_accuracy_finding(results, comparison, worst),
        axis=f"points of word errors, {comparison.variant} minus {results.baseline} (dashed: the margin, {margin})",
        rows=tuple(
            IntervalRow(
                label=f"{label} ({number:,})",
                value=100 * delta.value,
                low=100 * delta.low,
                high=100 * delta.high,
                text=signed_points(delta.value),
                is_ours=delta is comparison.wer_delta,
            )
            for label, number, delta in rows
        ),
        reference=0.0,
        limit=100 * comparison.verdict.margin,
        note="In brackets: clips. Parts overlap, and their intervals are wide: read them as hints."
        if worst
        else None,
    )


def _accuracy_finding(results: Results, comparison: Comparison, parts: list[StratumComparison]) -> str:
    margin = comparison.verdict.margin
    worst = weakest_part(comparison)
    if results.dataset.synthetic:
        return "Synthetic speech: these word errors say nothing about real speech"
    if any(part.wer_delta.low > margin for part in parts) and worst is not None:
        return f"It loses most on {part_label(worst)}: {signed_points(worst.wer_delta.value)} points"
    if parts and all(part.wer_delta.high <= margin for part in parts):
        return "Accuracy holds in every part of the speech"
    if parts:
        return "No part of the speech is proven to lose more than the margin"
    return f"Word errors change by {signed_points(comparison.wer_delta.value)} points"


def time_chart(results: Results, found: Recommendation) -> PartsRows | None:
    """Put the time of a clip by stage in rows, the fastest entry first; None if the variant's engine has no stages."""
    variant = results.variant(found.comparison.variant)
    if not any(variant.stage_s.values()):
        return None
    stages = [stage for stage in STAGE_LABELS if any(stage in each.stage_s for each in results.variants)]
    total_s = sum(variant.stage_s.values())
    largest = max(variant.stage_s, key=lambda stage: variant.stage_s[stage])
    return PartsRows(
        finding=f"{_stage_name(largest)} takes {percent(variant.stage_s[largest] / total_s)} % of the time of {variant.name}",
        axis="milliseconds per clip",
        part_names=tuple(map(_stage_name, stages)),
        rows=tuple(
            PartsRow(
                label=each.name,
                parts=tuple(MS_PER_S * each.stage_s.get(stage, 0.0) for stage in stages),
                text=f"{milliseconds(sum(each.stage_s.values()))} ms",
            )
            for each in sorted(results.variants, key=lambda each: sum(each.stage_s.values()))
        ),
    )


def _stage_name(stage: Stage) -> str:
    return STAGE_LABELS[stage].removesuffix(", per token")
