"""The charts of the comparison, as data."""

import math
from collections.abc import Sequence
from dataclasses import replace

from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.comparisons import Comparison
from sottovoce.benchmark.schema.results import Results, VariantResult
from sottovoce.reports.charts.chart import (
    Chart,
    ChartText,
    ErrorBar,
    ErrorBarChart,
    Point,
    ScatterChart,
    StackedBar,
    StackedBarChart,
)
from sottovoce.reports.sections import present
from sottovoce.reports.sections.comparison import comparison_of, series_of
from sottovoce.reports.sections.compute import STAGE_LABELS
from sottovoce.reports.sections.latency import by_length_chart, latency_chart, percentiles_chart, times_chart
from sottovoce.reports.text.units import (
    BYTES_PER_MB,
    join_figures,
    megabytes,
    percent,
    times,
    two_figures,
)


def build_charts(results: Results, rows: Sequence[ClipRow]) -> tuple[Chart, ...]:
    """Choose the charts; one whose figures are missing is left out."""
    return present(
        _trade_chart(results),
        _wer_chart(results),
        latency_chart(results, rows),
        percentiles_chart(results),
        by_length_chart(results, rows),
        _call_time_chart(results),
        _size_chart(results),
    )


def _trade_chart(results: Results) -> Chart | None:
    """Draw speed against word errors of every entry, those of other engines included."""
    if not results.comparisons or not all(math.isfinite(variant.wer) for variant in results.variants):
        return None
    baseline = 100 * results.variant(results.baseline).wer
    points = (
        Point(
            x=1.0, y=baseline, low=baseline, high=baseline, label=results.baseline, series=0, has_shape=True
        ),
        *(_trade_point(results, comparison, baseline=baseline) for comparison in results.comparisons),
    )
    return ScatterChart(
        text=ChartText(
            name="trade",
            title="Speed against word errors",
            description=f"Times as fast as {results.baseline}, and word error rate, of every entry, with intervals. "
            + join_figures(
                (point.label, f"{times(point.x)} times, {two_figures(point.y)} %") for point in points
            ),
            axis=f"times as fast as {results.baseline} (right is better)",
        ),
        y_axis="WER in % (down is better)",
        points=points,
        line=(),
        kinds=(),
    )


def _trade_point(results: Results, comparison: Comparison, *, baseline: float) -> Point:
    delta = comparison.wer_delta
    return Point(
        x=comparison.speedup.value,
        y=100 * results.variant(comparison.variant).wer,
        low=baseline + 100 * delta.low,
        high=baseline + 100 * delta.high,
        reach=(comparison.speedup.low, comparison.speedup.high),
        label=comparison.variant,
        series=series_of(results, comparison.variant),
        has_shape=True,
    )


def _wer_chart(results: Results) -> Chart | None:
    if not all(math.isfinite(variant.wer) for variant in results.variants):
        return None
    baseline = 100 * results.variant(results.baseline).wer
    error_bars = tuple(_wer_bar(results, variant, baseline=baseline) for variant in results.variants)
    margins = [100 * comparison.verdict.margin for comparison in results.comparisons]
    return ErrorBarChart(
        text=ChartText(
            name="wer",
            title="Word error rate",
            description="Word error rate; the interval is that of the difference from the baseline. "
            + join_figures((bar.label, f"{bar.text} %") for bar in error_bars),
            axis="WER in %" + (" (band: within the margin)" if margins else ""),
        ),
        error_bars=error_bars,
        reference=baseline,
        band=(baseline, baseline + min(margins)) if margins else None,
    )


def _wer_bar(results: Results, variant: VariantResult, *, baseline: float) -> ErrorBar:
    comparison = comparison_of(results, variant.name)
    value = 100 * variant.wer
    delta = None if comparison is None else comparison.wer_delta
    return ErrorBar(
        label=variant.name,
        value=value,
        low=value if delta is None else baseline + 100 * delta.low,
        high=value if delta is None else baseline + 100 * delta.high,
        text=percent(variant.wer),
        series=series_of(results, variant.name),
    )


def _size_chart(results: Results) -> Chart:
    components = dict.fromkeys(name for variant in results.variants for name in variant.component_size_bytes)
    return _stacked_chart(
        ChartText(
            name="size",
            title="Size by component",
            description="Graph and weights on disk in MB. ",
            axis="MB on disk",
        ),
        list(components),
        [
            StackedBar(
                label=variant.name,
                parts=tuple(variant.component_size_bytes.get(name, 0) / BYTES_PER_MB for name in components),
                text=f"{megabytes(sum(variant.component_size_bytes.values()))} MB",
            )
            for variant in results.variants
        ],
    )


def _stacked_chart(text: ChartText, part_names: Sequence[str], bars: Sequence[StackedBar]) -> Chart:
    description = text.description + join_figures((bar.label, bar.text) for bar in bars)
    return StackedBarChart(
        text=replace(text, description=description), part_names=tuple(part_names), bars=tuple(bars)
    )


def _call_time_chart(results: Results) -> Chart:
    return times_chart(
        results,
        ChartText(
            name="call-time",
            title="Time of one call",
            description="Mean milliseconds per call of each stage. ",
            axis="ms per call",
        ),
        {
            label: [variant.call_s.get(stage) for variant in results.variants]
            for stage, label in STAGE_LABELS.items()
        },
    )
