"""What a terminal shows, also where little memory is left."""

import sys

import pytest
from rich.console import Console

from sottovoce.cli.console import Terminal


def test_an_error_is_one_line_without_markup(capfd: pytest.CaptureFixture[str]) -> None:
    Terminal().error("no [bold]such[/] file:\n  :smile: a.wav")
    assert capfd.readouterr().err == "error: no [bold]such[/] file: :smile: a.wav\n"


def test_a_closed_standard_error_leaves_standard_output_to_the_data(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    terminal = Terminal()
    terminal.note("a note")
    terminal.error("an error")
    assert capfd.readouterr().out == ""


def test_an_error_is_printed_if_no_memory_is_left_for_colours(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def out_of_memory(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Console, "print", out_of_memory)
    Terminal().error("too little memory")
    assert capfd.readouterr().err == "error: too little memory\n"
