"""Tables in the terminal."""

from rich.console import Console

from sottovoce.cli.tables import results_table
from sottovoce.reports.formats.terminal import draw_all, draw_table
from sottovoce.reports.sections.comparison import comparison_table
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


def test_the_terminal_shows_every_figure_of_the_comparison() -> None:
    results = build_detailed_sample().results
    text = shown(results_table(results))
    for group in comparison_table(results).groups:
        for row in group.rows:
            line = next(line for line in text.splitlines() if line.startswith(f"│ {row.label}"))
            for cell in row.cells:
                assert cell.text.replace(MINUS, "-").replace(NOT_MEASURED, "-") in line
                assert (cell.note or "").replace(MINUS, "-") in line


def test_a_narrow_terminal_cuts_nothing_off() -> None:
    lines = shown(results_table(build_detailed_sample().results), width=80).splitlines()
    assert not any("\N{HORIZONTAL ELLIPSIS}" in line for line in lines)
    assert all(line.endswith("│") for line in lines if line.startswith("│"))
