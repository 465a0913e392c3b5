"""The report's charts, as data: which figures are drawn, in which unit."""

import math
from collections.abc import Iterable, Sequence
from statistics import median, quantiles

from sottovoce.benchmark.results import ClipRow, Results, VariantResult
from sottovoce.reports.charts import (
    Bar,
    BarGroup,
    Chart,
    ChartText,
    Curve,
    CurveChart,
    Dot,
    DotChart,
    GroupChart,
    Stack,
    StackChart,
)
from sottovoce.reports.comparison import comparison_of
from sottovoce.reports.compute import STAGE_LABELS
from sottovoce.reports.units import BYTES_PER_MB, MS_PER_S, fixed, megabytes, milliseconds, percent

_MIN_CLIPS_FOR_CURVES = 2


def build_charts(results: Results, rows: Sequence[ClipRow]) -> tuple[Chart, ...]:
    """Choose the charts; one whose figures are missing is left out."""
    charts = (
        _speedup_chart(results),
        _wer_chart(results),
        _clip_time_chart(results),
        _size_chart(results),
        _call_time_chart(results),
        _latency_chart(results, rows),
    )
    return tuple(chart for chart in charts if chart is not None)


def _speedup_chart(results: Results) -> Chart | None:
    if not results.comparisons:
        return None
    dots = tuple(
        Dot(
            label=comparison.variant,
            value=comparison.speedup.value,
            low=comparison.speedup.low,
            high=comparison.speedup.high,
            text=fixed(comparison.speedup.value),
            series=_series(results, comparison.variant),
        )
        for comparison in results.comparisons
    )
    return DotChart(
        text=ChartText(
            name="speedup",
            title="Speed-up",
            description=f"Times as fast as {results.baseline}, with the interval. "
            + _say((dot.label, f"{dot.text} ({fixed(dot.low)} to {fixed(dot.high)})") for dot in dots),
            axis=f"times as fast as {results.baseline} (dashed)",
        ),
        dots=dots,
        reference=1.0,
    )


def _wer_chart(results: Results) -> Chart | None:
    if not all(math.isfinite(variant.wer) for variant in results.variants):
        return None
    baseline = 100 * results.variant(results.baseline).wer
    dots = tuple(_wer_dot(results, variant, baseline=baseline) for variant in results.variants)
    margins = [100 * comparison.verdict.margin for comparison in results.comparisons]
    return DotChart(
        text=ChartText(
            name="wer",
            title="Word error rate",
            description="Word error rate; the interval is that of the difference from the baseline. "
            + _say((dot.label, f"{dot.text} %") for dot in dots),
            axis="WER in %" + (" (band: within the margin)" if margins else ""),
        ),
        dots=dots,
        reference=baseline,
        band=(baseline, baseline + min(margins)) if margins else None,
    )


def _wer_dot(results: Results, variant: VariantResult, *, baseline: float) -> Dot:
    comparison = comparison_of(results, variant.name)
    value = 100 * variant.wer
    delta = None if comparison is None else comparison.wer_delta
    return Dot(
        label=variant.name,
        value=value,
        low=value if delta is None else baseline + 100 * delta.low,
        high=value if delta is None else baseline + 100 * delta.high,
        text=percent(variant.wer),
        series=_series(results, variant.name),
    )


def _clip_time_chart(results: Results) -> Chart:
    stages = [
        stage for stage in STAGE_LABELS if any(stage in variant.stage_s for variant in results.variants)
    ]
    stacks = tuple(
        Stack(
            label=variant.name,
            parts=tuple(variant.stage_s.get(stage, 0.0) * MS_PER_S for stage in stages),
            text=f"{milliseconds(sum(variant.stage_s.values()))} ms",
        )
        for variant in results.variants
    )
    return StackChart(
        text=ChartText(
            name="clip-time",
            title="Where the time of a clip goes",
            description="Mean milliseconds per clip by stage. "
            + _say((stack.label, stack.text) for stack in stacks),
            axis="ms per clip",
        ),
        part_names=tuple(STAGE_LABELS[stage].removesuffix(", per token") for stage in stages),
        stacks=stacks,
    )


def _call_time_chart(results: Results) -> Chart:
    groups = tuple(
        BarGroup(
            label=label,
            bars=tuple(
                Bar(
                    label=variant.name,
                    value=variant.call_s[stage] * MS_PER_S,
                    text=milliseconds(variant.call_s[stage]),
                    series=_series(results, variant.name),
                )
                for variant in results.variants
                if stage in variant.call_s
            ),
        )
        for stage, label in STAGE_LABELS.items()
        if any(stage in variant.call_s for variant in results.variants)
    )
    return GroupChart(
        text=ChartText(
            name="call-time",
            title="Time of one call",
            description="Mean milliseconds per call of each stage. "
            + _say((f"{group.label} {bar.label}", bar.text) for group in groups for bar in group.bars),
            axis="ms per call",
        ),
        groups=groups,
    )


def _size_chart(results: Results) -> Chart:
    components = list(
        dict.fromkeys(name for variant in results.variants for name in variant.component_size_bytes)
    )
    stacks = tuple(
        Stack(
            label=variant.name,
            parts=tuple(variant.component_size_bytes.get(name, 0) / BYTES_PER_MB for name in components),
            text=f"{megabytes(sum(variant.component_size_bytes.values()))} MB",
        )
        for variant in results.variants
    )
    return StackChart(
        text=ChartText(
            name="size",
            title="Size by component",
            description="Graph and weights on disk in MB. "
            + _say((stack.label, stack.text) for stack in stacks),
            axis="MB on disk",
        ),
        part_names=tuple(components),
        stacks=stacks,
    )


def _latency_chart(results: Results, rows: Sequence[ClipRow]) -> Chart | None:
    curves = tuple(
        Curve(label=variant.name, points=points, series=_series(results, variant.name))
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
            + _say(
                (variant.name, f"{milliseconds(variant.latency_s.p50)} ms") for variant in results.variants
            ),
            axis="ms from waveform to text",
        ),
        y_axis="% of clips within",
        curves=curves,
    )


def _percentiles_ms(rows: Sequence[ClipRow], variant: str) -> tuple[tuple[float, float], ...]:
    """Return (milliseconds, percentage) at each percentile; a clip counts with its median over passes."""
    samples = [
        median(row.latency_s)
        for row in rows
        if row.variant == variant and row.error is None and row.latency_s
    ]
    if len(samples) < _MIN_CLIPS_FOR_CURVES:
        return ()
    cuts = quantiles(samples, n=100, method="inclusive")
    return tuple((MS_PER_S * cut, float(place)) for place, cut in enumerate(cuts, start=1))


def _series(results: Results, variant: str) -> int:
    """Return a variant's colour: 0 for the baseline, then by order."""
    others = [other.name for other in results.variants if other.name != results.baseline]
    return 0 if variant == results.baseline else 1 + others.index(variant)


def _say(figures: Iterable[tuple[str, str]]) -> str:
    return "; ".join(f"{label}: {text}" for label, text in figures) + "."
