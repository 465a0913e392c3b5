"""Scaling: offline throughput by batch size, and speed by number of threads."""

from collections.abc import Callable
from dataclasses import replace

from sottovoce.benchmark.schema.results import Results, VariantResult
from sottovoce.reports.charts.chart import Chart, ChartText, Curve, CurveChart
from sottovoce.reports.sections import Section, present
from sottovoce.reports.sections.comparison import series_of
from sottovoce.reports.text.tables import Column, Row, RowGroup, Table, make_row
from sottovoce.reports.text.units import NOT_MEASURED, join_figures, megabytes, times, two_figures

Points = tuple[tuple[float, float], ...]


def scaling_section(results: Results) -> Section | None:
    """Format offline throughput and the sweep over threads; None if neither was measured."""
    batches, threads = batches_table(results), threads_table(results)
    if batches is None and threads is None:
        return None
    return Section(
        heading="Scaling",
        charts=present(
            _chart(results, _BATCHES, lambda v: tuple((p.batch_size, p.rtfx) for p in v.throughput)),
            _chart(results, _THREADS, lambda v: tuple((p.threads, p.rtfx) for p in v.thread_sweep)),
        ),
        tables=present(batches, threads),
        notes=present(
            None
            if batches is None
            else "Clips decoded in batches: offline throughput, where latency does not matter.",
            None if threads is None else "One clip after the other, on fewer clips than the comparison.",
        ),
    )


_BATCHES = ChartText(
    name="batches", title="Throughput by batch size", description="", axis="clips decoded together"
)
_THREADS = ChartText(name="threads", title="Speed by number of threads", description="", axis="threads")


def _chart(results: Results, text: ChartText, read: Callable[[VariantResult], Points]) -> Chart | None:
    curves = tuple(
        Curve(
            label=variant.name,
            points=tuple(sorted(points)),
            marks=points,
            series=series_of(results, variant.name),
        )
        for variant in results.variants
        if (points := read(variant))
    )
    if not curves:
        return None
    figures = ((f"{curve.label} with {x:g}", two_figures(y)) for curve in curves for x, y in curve.points)
    return CurveChart(
        text=replace(
            text, description=f"Seconds of audio per second of work, by {text.axis}. {join_figures(figures)}"
        ),
        y_axis="s of audio per s",
        curves=curves,
        y_limit=None,
        is_whole=True,
    )


def batches_table(results: Results) -> Table | None:
    """Put the batch sizes of each variant in rows; None if none was measured."""
    found = [variant for variant in results.variants if variant.throughput]
    if not found:
        return None
    return Table(
        caption="Offline throughput, clips decoded in batches",
        corner="Clips together",
        columns=(
            Column("RTFx", "s of audio per s"),
            Column("By one at a time", "times"),
            Column("Peak memory", "MB"),
        ),
        groups=tuple(
            RowGroup(
                label=variant.name,
                rows=tuple(
                    make_row(
                        f"{point.batch_size:,}",
                        two_figures(point.rtfx),
                        times(point.rtfx / variant.rtfx) if variant.rtfx else NOT_MEASURED,
                        megabytes(point.peak_rss_bytes),
                    )
                    for point in variant.throughput
                ),
            )
            for variant in found
        ),
    )


def threads_table(results: Results) -> Table | None:
    """Put the numbers of threads of each variant in rows; None if none was measured."""
    found = [variant for variant in results.variants if variant.thread_sweep]
    if not found:
        return None
    return Table(
        caption="Speed by number of threads",
        corner="Threads",
        columns=(Column("RTFx", "s of audio per s"), Column("By the fewest", "times"), Column("Clips")),
        groups=tuple(RowGroup(label=variant.name, rows=_thread_rows(variant)) for variant in found),
    )


def _thread_rows(variant: VariantResult) -> tuple[Row, ...]:
    points = sorted(variant.thread_sweep, key=lambda point: point.threads)
    return tuple(
        make_row(
            f"{point.threads:,}",
            two_figures(point.rtfx),
            times(point.rtfx / points[0].rtfx) if points[0].rtfx else NOT_MEASURED,
            f"{point.n_clips:,}",
        )
        for point in points
    )
