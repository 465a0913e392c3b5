"""The report on scaling: batches when nobody waits, and numbers of threads."""

from collections.abc import Callable
from dataclasses import dataclass

from sottovoce.benchmark.schema.results import Results, VariantResult
from sottovoce.reports.charts.chart import Chart, ChartText, Curve, CurveChart
from sottovoce.reports.charts.series import say, series_of
from sottovoce.reports.text.tables import Cell, Column, Group, Row, Table
from sottovoce.reports.text.units import NOT_MEASURED, fixed, megabytes, three_figures

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingView:
    """The section on scaling, in the order in which it is read."""

    charts: tuple[Chart, ...]
    batches: Table | None
    threads: Table | None
    notes: tuple[str, ...]


def scaling_view(results: Results) -> ScalingView | None:
    """Format throughput and the sweep over threads; None where neither was asked for."""
    batches, threads = _batches_table(results), _threads_table(results)
    if batches is None and threads is None:
        return None
    charts = (
        _chart(results, _BATCHES, lambda v: tuple((p.batch_size, p.rtfx) for p in v.throughput)),
        _chart(results, _THREADS, lambda v: tuple((p.threads, p.rtfx) for p in v.thread_sweep)),
    )
    notes = {
        "Clips decoded in batches: how much a machine gets through when nobody waits.": batches,
        "A clip after the other, on fewer clips than the comparison.": threads,
    }
    return ScalingView(
        charts=tuple(chart for chart in charts if chart is not None),
        batches=batches,
        threads=threads,
        notes=tuple(note for note, table in notes.items() if table is not None),
    )


_BATCHES = ChartText(
    name="batches", title="Throughput by size of batches", description="", axis="clips decoded together"
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
    figures = ((f"{curve.label} with {x:g}", three_figures(y)) for curve in curves for x, y in curve.points)
    return CurveChart(
        text=ChartText(
            name=text.name,
            title=text.title,
            description=f"Seconds of audio per second of work, by {text.axis}. {say(figures)}",
            axis=text.axis,
        ),
        y_axis="s of audio per s",
        curves=curves,
        y_limit=None,
        is_whole=True,
    )


def _batches_table(results: Results) -> Table | None:
    found = [variant for variant in results.variants if variant.throughput]
    if not found:
        return None
    return Table(
        caption="Offline throughput, clips decoded in batches",
        corner="Clips together",
        columns=(
            Column(label="RTFx", unit="s of audio per s"),
            Column(label="By one at a time", unit="times"),
            Column(label="Peak memory", unit="MB"),
        ),
        groups=tuple(
            Group(
                label=variant.name,
                rows=tuple(
                    Row(
                        label=f"{point.batch_size:,}",
                        cells=(
                            Cell(text=three_figures(point.rtfx)),
                            Cell(text=fixed(point.rtfx / variant.rtfx) if variant.rtfx else NOT_MEASURED),
                            Cell(text=megabytes(point.peak_rss_bytes)),
                        ),
                    )
                    for point in variant.throughput
                ),
            )
            for variant in found
        ),
    )


def _threads_table(results: Results) -> Table | None:
    found = [variant for variant in results.variants if variant.thread_sweep]
    if not found:
        return None
    return Table(
        caption="Speed by number of threads",
        corner="Threads",
        columns=(
            Column(label="RTFx", unit="s of audio per s"),
            Column(label="By the fewest", unit="times"),
            Column(label="Clips"),
        ),
        groups=tuple(Group(label=variant.name, rows=_thread_rows(variant)) for variant in found),
    )


def _thread_rows(variant: VariantResult) -> tuple[Row, ...]:
    points = sorted(variant.thread_sweep, key=lambda point: point.threads)
    return tuple(
        Row(
            label=f"{point.threads:,}",
            cells=(
                Cell(text=three_figures(point.rtfx)),
                Cell(text=fixed(point.rtfx / points[0].rtfx) if points[0].rtfx else NOT_MEASURED),
                Cell(text=f"{point.n_clips:,}"),
            ),
        )
        for point in points
    )
