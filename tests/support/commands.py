"""`sottovoce` in this process, which has loaded the libraries: another process needs seconds to load them."""

import io
import sys
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass

import pytest


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The exit code of a command, and the texts of standard output and standard error."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """Return the one line that says what went wrong."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0].removeprefix("error: ")


def run_command(*arguments: object) -> Outcome:
    """Run `sottovoce` with arguments; signals stay those of the test's process."""
    from sottovoce.cli import app
    from sottovoce.cli.interrupts import Signals

    output, errors = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(errors):
        patch.setattr(sys, "argv", ["sottovoce", *map(str, arguments)])
        patch.setattr(app, "handle_signals", lambda: nullcontext(Signals()))
        with pytest.raises(SystemExit) as left:
            app.main()
    return Outcome(code=int(str(left.value.code or 0)), out=output.getvalue(), err=errors.getvalue())


def output_of(*arguments: object, expect: int = 0) -> str:
    """Run `sottovoce` with arguments; return its standard output.

    Raises:
        AssertionError: its exit code is not the expected one.
    """
    outcome = run_command(*arguments)
    assert outcome.code == expect, outcome.err
    return outcome.out
