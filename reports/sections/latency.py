"""Charts of latency: over clips, at percentiles, by length."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import mean, median, quantiles

from sottovoce.benchmark.engines.engine import DEFAULT_ENGINE
from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.comparisons import Comparison
from sottovoce.benchmark.schema.results import Results
from sottovoce.benchmark.statistics.strata import StratumKind, group_by_stratum
from sottovoce.reports.charts.chart import (
    Bar,
    BarGroup,
    Chart,
    ChartText,
    Curve,
    CurveChart,
    GroupedBarChart,
    Point,
    PointCloud,
    ScatterChart,
)
from sottovoce.reports.sections.comparison import series_of
from sottovoce.reports.text.units import MS_PER_S, join_figures, milliseconds, times, two_figures

_MIN_CLIPS_FOR_CURVES = 2
_PERCENTILES = (50, 90, 99)
_N_POINTS = 400
"""Largest number of points of a cloud: more would only make the page larger."""


def clip_speedup(baseline: ClipRow, variant: ClipRow) -> float | None:
    """Return the speed-up of a clip; None if one of the two rows has no counted time."""
    if not baseline.latency_s or not variant.latency_s or not median(variant.latency_s):
        return None
    return median(baseline.latency_s) / median(variant.latency_s)


def latency_chart(results: Results, rows: Sequence[ClipRow]) -> Chart | None:
    """Draw the share of the clips that are transcribed within a time; None with too few clips."""
    curves = tuple(
        Curve(
            label=variant.name,
            points=points,
            series=series_of(results, variant.name),
            marks=tuple(points[percentile - 1] for percentile in _PERCENTILES),
        )
        for variant in results.variants
        if (points := _percentiles_ms(rows, variant.name))
    )
    if not curves:
        return None
    return CurveChart(
        text=ChartText(
            name="latency",
            title="Latency over clips",
            description="Share of the clips that are transcribed within a time. Median: "
            + join_figures(
                (variant.name, f"{milliseconds(variant.latency_s.p50)} ms") for variant in results.variants
            ),
            axis="ms from waveform to text (marks: p50, p90, p99)",
        ),
        y_axis="% of clips within",
        curves=curves,
    )


def _percentiles_ms(rows: Sequence[ClipRow], variant: str) -> tuple[tuple[float, float], ...]:
    """Return (milliseconds, percentage) at each percentile from 1; a clip counts with its median over passes."""
    samples = [
        median(row.latency_s)
        for row in rows
        if row.variant == variant and row.error is None and row.latency_s
    ]
    if len(samples) < _MIN_CLIPS_FOR_CURVES:
        return ()
    cuts = quantiles(samples, n=100, method="inclusive")
    return tuple((MS_PER_S * cut, float(percentile)) for percentile, cut in enumerate(cuts, start=1))


def percentiles_chart(results: Results) -> Chart:
    """Draw p50, p90 and p99 of every entry; p99 where it was measured."""
    latencies = [variant.latency_s for variant in results.variants]
    return times_chart(
        results,
        ChartText(
            name="latency-percentiles",
            title="Latency at percentiles",
            description="Milliseconds from waveform to text. ",
            axis="ms from waveform to text",
        ),
        {
            "Half of the clips within (p50)": [latency.p50 for latency in latencies],
            "Nine of ten within (p90)": [latency.p90 for latency in latencies],
            "99 of 100 within (p99)": [latency.p99 for latency in latencies],
        },
    )


def times_chart(results: Results, text: ChartText, seconds: Mapping[str, Sequence[float | None]]) -> Chart:
    """Draw times of every entry under headings; a time that was not measured is left out.

    Args:
        results: have the entries.
        text: its description ends with the figures.
        seconds: by heading, one for each entry.
    """
    groups = tuple(
        BarGroup(
            label=label,
            bars=tuple(
                Bar(
                    label=variant.name,
                    value=value * MS_PER_S,
                    text=milliseconds(value),
                    series=series_of(results, variant.name),
                )
                for variant, value in zip(results.variants, values, strict=True)
                if value is not None
            ),
        )
        for label, values in seconds.items()
        if any(value is not None for value in values)
    )
    figures = ((f"{group.label} {bar.label}", bar.text) for group in groups for bar in group.bars)
    return GroupedBarChart(
        text=replace(text, description=text.description + join_figures(figures)), groups=groups
    )


def by_length_chart(results: Results, rows: Sequence[ClipRow]) -> Chart | None:
    """Draw the speed-up of each clip over its length, and of each part by length with its interval."""
    engines = {variant.name: variant.engine for variant in results.variants}
    ours = [c for c in results.comparisons if engines[c.variant] == DEFAULT_ENGINE] or results.comparisons
    timed = {comparison.variant: _speedups(results.baseline, comparison.variant, rows) for comparison in ours}
    shown = [comparison for comparison in ours if timed[comparison.variant]]
    if not shown:
        return None
    points = {c.variant: _length_points(results, c, [row for row, _ in timed[c.variant]]) for c in shown}
    return ScatterChart(
        text=ChartText(
            name="by-length",
            title="Speed-up by length of the clip",
            description=f"Times as fast as {results.baseline}: small points are clips, large ones parts of the clips "
            "by length with their intervals. "
            + join_figures((c.variant, _describe_points(points[c.variant]) or "clips only") for c in shown),
            axis="length of the clip in s",
        ),
        y_axis=f"times as fast as {results.baseline}",
        points=tuple(point for of_variant in points.values() for point in of_variant),
        line=(),
        kinds=tuple((series_of(results, c.variant), c.variant) for c in shown),
        limit=1.0,
        clouds=tuple(
            PointCloud(points=_thinned(timed[c.variant]), series=series_of(results, c.variant)) for c in shown
        ),
    )


def _speedups(baseline: str, variant: str, rows: Sequence[ClipRow]) -> list[tuple[ClipRow, float]]:
    """Return the variant's row and the speed-up of each clip that both transcribed in counted time."""
    transcribed = [row for row in rows if row.error is None]
    before = {row.clip_id: row for row in transcribed if row.variant == baseline}
    return [
        (row, speedup)
        for row in transcribed
        if row.variant == variant
        and row.clip_id in before
        and (speedup := clip_speedup(before[row.clip_id], row)) is not None
    ]


def _thinned(timed: Sequence[tuple[ClipRow, float]]) -> tuple[tuple[float, float], ...]:
    step = -(-len(timed) // _N_POINTS)
    return tuple(sorted((row.audio_s, speedup) for row, speedup in timed)[::step])


def _length_points(results: Results, comparison: Comparison, rows: Sequence[ClipRow]) -> tuple[Point, ...]:
    """Place each part by length at the mean length of its clips; none before version 5 of the results."""
    part_of = {
        name: mean(rows[index].audio_s for index in indices)
        for (kind, name), indices in group_by_stratum(rows).items()
        if kind is StratumKind.LENGTH
    }
    return tuple(
        Point(
            x=part_of[part.name],
            y=part.speedup.value,
            low=part.speedup.low,
            high=part.speedup.high,
            label="",
            series=series_of(results, comparison.variant),
            has_shape=True,
        )
        for part in comparison.strata
        if part.by == StratumKind.LENGTH and part.name in part_of and part.speedup is not None
    )


def _describe_points(points: Sequence[Point]) -> str:
    return ", ".join(
        f"{times(p.y)} ({times(p.low)} to {times(p.high)}) at {two_figures(p.x)} s" for p in points
    )
