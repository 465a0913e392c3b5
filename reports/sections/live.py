"""Live transcription: delays of words, steadiness, errors and cost of each system."""

from collections.abc import Callable, Iterator
from operator import attrgetter

from sottovoce.benchmark.schema.live import QUANTILE_STEP, Delays, Invented, LivePass, LiveReport, LiveSystem
from sottovoce.benchmark.schema.results import Results
from sottovoce.benchmark.timing.noise import MAX_FOREIGN_SHARE
from sottovoce.reports.charts.chart import Chart, ChartText, Curve, CurveChart, PointCloud, ScatterChart
from sottovoce.reports.sections import Section, present
from sottovoce.reports.text.tables import (
    Cell,
    Column,
    Row,
    RowGroup,
    Table,
    interval_cell,
    make_row,
    optional,
)
from sottovoce.reports.text.units import (
    BYTES_PER_MB,
    count,
    duration,
    fixed,
    join_figures,
    megabytes,
    percent,
    signed_points,
    two_figures,
)

SHOWN, COMMITTED = 1, 2
"""Series of the time line."""

DELAYS: tuple[tuple[str, Callable[[LivePass], Delays | None]], ...] = (
    ("Word committed", attrgetter("committed")),
    ("Right word first shown", attrgetter("shown")),
    ("First word after a pause", attrgetter("first_word")),
    ("Last word, beyond 0.5 s of silence", attrgetter("finalization")),
)


def live_section(results: Results) -> Section | None:
    """Format live transcription; None if it was not measured."""
    table, report = live_table(results), results.live
    if table is None or report is None:
        return None
    return Section(
        heading="Live transcription",
        warnings=present(describe_load(report)),
        sentences=(_describe_feeding(report),),
        charts=present(_delay_chart(report), _timeline_chart(report)),
        tables=present(table, _without_speech_table(report)),
        notes=tuple(f"{system.name}: {system.description}." for system in report.systems),
    )


def _describe_feeding(report: LiveReport) -> str:
    recordings = f"{count(report.n_recordings, 'recording')} ({duration(report.audio_s)})"
    return f"{recordings} fed in frames of {report.frame_s:g} s, as if they were spoken now."


def describe_load(report: LiveReport) -> str | None:
    """Warn of other work on the machine; None without much."""
    if report.foreign_share <= MAX_FOREIGN_SHARE:
        return None
    return (
        f"Other work took {percent(report.foreign_share)} % of the CPU time while computation was counted: "
        "those delays do not hold."
    )


def live_table(results: Results) -> Table | None:
    """Put figures in rows and systems in columns; None if live transcription was not measured."""
    report = results.live
    if report is None or not report.systems:
        return None
    systems = report.systems
    return Table(
        caption="Live transcription, p50 (p95)",
        corner="Figure",
        columns=tuple(Column(system.name) for system in systems),
        groups=(
            _delay_group("Computation counted", systems, lambda system: system.counted),
            _delay_group("Computation not counted", systems, lambda system: system.not_counted),
            RowGroup(label="Text, computation counted", rows=tuple(_text_rows(systems))),
            RowGroup(label="Cost", rows=tuple(_cost_rows(systems))),
        ),
        notes=(
            f"Delays are from the end of a word, over {report.n_timed:,} of {report.n_words:,} words whose times are known.",
        ),
    )


def _delay_group(
    label: str, systems: tuple[LiveSystem, ...], chosen: Callable[[LiveSystem], LivePass]
) -> RowGroup:
    passes = [chosen(system) for system in systems]
    return RowGroup(
        label=label,
        rows=(
            *(make_row(name, *(_delay_cell(read(one)) for one in passes), unit="s") for name, read in DELAYS),
            make_row("StreamLAAL", *(optional(one.stream_laal_s, fixed) for one in passes), unit="s"),
            make_row("Longest backlog", *(fixed(one.max_backlog_s) for one in passes), unit="s"),
        ),
    )


def _delay_cell(delays: Delays | None) -> Cell:
    return Cell(optional(None, fixed)) if delays is None else Cell(fixed(delays.p50), fixed(delays.p95))


def _text_rows(systems: tuple[LiveSystem, ...]) -> Iterator[Row]:
    passes = [system.counted for system in systems]
    yield make_row("WER", *(percent(one.wer) for one in passes), unit="%")
    yield make_row("WER as a file", *(percent(system.offline_wer) for system in systems), unit="%")
    yield make_row(
        "Difference", *(interval_cell(one.wer_delta, signed_points) for one in passes), unit="points"
    )
    yield make_row("Committed words taken back", *(f"{one.n_retracted:,}" for one in passes), unit="words")
    yield make_row("Normalized erasure", *(fixed(one.erasure) for one in passes))


def _cost_rows(systems: tuple[LiveSystem, ...]) -> Iterator[Row]:
    yield make_row(
        "CPU while speaking", *(percent(system.cpu_share) for system in systems), unit="% of a core"
    )
    yield make_row(
        "CPU in silence",
        *(percent(system.without_speech[0].cpu_share) for system in systems),
        unit="% of a core",
    )
    yield make_row("Peak memory", *(megabytes(system.peak_rss_bytes) for system in systems), unit="MB")
    yield make_row(
        "Memory growth",
        *(
            optional(system.memory_slope, lambda slope: two_figures(slope / BYTES_PER_MB))
            for system in systems
        ),
        unit="MB per hour",
    )


def _without_speech_table(report: LiveReport) -> Table | None:
    """Count the words that each system commits in sounds without speech."""
    if not report.systems:
        return None
    sounds = report.systems[0].without_speech
    return Table(
        caption="Words committed without speech",
        corner="Sound",
        columns=tuple(Column(system.name) for system in report.systems),
        groups=(
            RowGroup(
                label=None,
                rows=tuple(
                    make_row(
                        sound.sound, *(_invented(system.without_speech[number]) for system in report.systems)
                    )
                    for number, sound in enumerate(sounds)
                ),
            ),
        ),
    )


def _invented(found: Invented) -> str:
    return f"{found.n_words:,} in {duration(found.audio_s)}"


def _delay_chart(report: LiveReport) -> Chart | None:
    """Draw which share of the words is committed after which delay."""
    curves = tuple(
        Curve(
            label=system.name,
            points=tuple(
                (seconds, float(number * QUANTILE_STEP)) for number, seconds in enumerate(found.quantiles)
            ),
            marks=((found.p50, 50.0), (found.p95, 95.0)),
            series=number,
        )
        for number, system in enumerate(report.systems, 1)
        if (found := system.counted.committed) is not None
    )
    if not curves:
        return None
    figures = join_figures(
        (curve.label, f"half after {fixed(curve.marks[0][0])} s, 95 % after {fixed(curve.marks[1][0])} s")
        for curve in curves
    )
    return CurveChart(
        text=ChartText(
            name="live-delays",
            title="Words committed by delay",
            description=f"Share of the words that are committed, by seconds after their end. {figures}",
            axis="s after the end of the word",
        ),
        y_axis="% of the words",
        curves=curves,
    )


def _timeline_chart(report: LiveReport) -> Chart | None:
    """Draw when each word of one recording was shown and committed, after it was spoken."""
    line = report.timeline
    if line is None or not line.words:
        return None
    shown = tuple((word.end_s, word.shown_s - word.end_s) for word in line.words)
    committed = tuple((word.end_s, word.committed_s - word.end_s) for word in line.words)
    return ScatterChart(
        text=ChartText(
            name="live-timeline",
            title="One recording, word by word",
            description=f"{line.system}: seconds from the end of each of {count(len(shown), 'word')} until it is shown and "
            "until it is committed, over the time at which it is spoken.",
            axis="s in the recording at which the word ends",
        ),
        y_axis="s after the end of the word",
        points=(),
        line=(),
        kinds=((SHOWN, "first shown"), (COMMITTED, "committed")),
        limit=0.0,
        clouds=(
            PointCloud(points=shown, series=SHOWN),
            PointCloud(points=committed, series=COMMITTED),
        ),
    )
