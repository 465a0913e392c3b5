"""Tables in the terminal."""

from rich.console import Console

from sottovoce.cli.tables import results_table
from sottovoce.reports.formats.terminal import draw_all, draw_table
from sottovoce.reports.text.tables import Cell, Column, RowGroup, Table, make_row
from sottovoce.reports.text.units import MINUS, NOT_MEASURED
from tests.support.detailed_results import build_detailed_sample

HOSTILE = "[bold]evil[/] \x1b[31m\u202e[link=https://evil.example]x[/link]"


def shown(content: object, width: int = 300) -> str:
    console = Console(width=width)
    with console.capture() as captured:
        console.print(content)
    return captured.get()


def build_table(label: str = "int8") -> Table:
    return Table(
        caption=label,
        corner="Entry",
        columns=(Column("Change", "points"), Column(label, is_numeric=False)),
        groups=(
            RowGroup(label="Ours", rows=(make_row(label, Cell(f"{MINUS}0.4", "3 clips"), label),)),
            RowGroup(label="Others", rows=(make_row("fp32", NOT_MEASURED, label, unit="baseline"),)),
        ),
        notes=("The first note.", label),
    )


def test_units_notes_and_groups_are_in_the_terminal() -> None:
    lines = [
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in shown(draw_table(build_table())).splitlines()
    ]
    assert [line for line in lines if line] == [
        ["Ours", "", ""],
        ["int8", "-0.4 (3 clips)", "int8"],
        ["Others", "", ""],
        ["fp32, baseline", "-", "int8"],
    ]
    assert "Change, points" in shown(draw_table(build_table()))
    assert "The first note. int8" in shown(draw_table(build_table()))


def test_untrusted_text_is_inert_in_the_terminal() -> None:
    text = shown(draw_all(build_table(HOSTILE), HOSTILE))
    assert text.count("[bold]evil[/]") == text.count("[/link]") == 7
    assert not {"\x1b", "\u202e"} & set(text)


def test_a_benchmark_prints_verdict_table_best_peer_and_warnings_on_one_screen() -> None:
    sample = build_detailed_sample()
    variants = tuple(each.model_copy(update={"conditions": ()}) for each in sample.results.variants)
    compared = tuple(each.model_copy(update={"conditions": ()}) for each in sample.results.comparisons)
    results = sample.results.model_copy(update={"variants": variants, "comparisons": compared})
    lines = shown(results_table(results, sample.rows), width=120).splitlines()
    assert lines[0].startswith("int8: 1.9x faster, 73 % smaller.")
    for entry, figures in {"fp32": "150", "int8": "1.9 (1.8 to 2.0)", "faster-whisper:int8": "1.4"}.items():
        assert any(line.startswith(f"│ {entry}") and figures in line for line in lines)
    assert "int8 is 1.4 times as fast as faster-whisper:int8." in lines
    assert 'openvino-genai was not measured: missing; pip install "sottovoce[peers]"' in lines
    assert len(lines) <= 24


def test_a_benchmark_prints_word_errors_under_conditions_where_they_were_measured() -> None:
    sample = build_detailed_sample()
    text = shown(results_table(sample.results, sample.rows), width=180)
    (row,) = [line for line in text.splitlines() if "│ Noise, SNR 5 dB" in line]
    assert row.count("+1.3 (+1.0 to +1.7)") == 2  # fp16 and int8
    assert "int8 is more than 0.5 points worse than fp32 under 1 of 3 conditions." in text


def test_noise_that_voids_the_speeds_is_loud() -> None:
    sample = build_detailed_sample()
    assert sample.results.noise is not None
    noise = sample.results.noise.model_copy(update={"foreign_share": 0.5})
    lines = shown(results_table(sample.results.model_copy(update={"noise": noise}), sample.rows)).splitlines()
    assert lines[0] == "Measure int8 again: the machine was too noisy for a verdict on speed."
    assert lines[1].startswith("NOISE VOIDS SPEEDS. Do not use the speeds")


def test_a_narrow_terminal_cuts_nothing_off() -> None:
    sample = build_detailed_sample()
    lines = shown(results_table(sample.results, sample.rows), width=80).splitlines()
    assert not any("\N{HORIZONTAL ELLIPSIS}" in line for line in lines)
    assert all(line.endswith("│") for line in lines if line.startswith("│"))
