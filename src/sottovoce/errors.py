"""The errors of sottovoce.

    SottovoceError
    ├── SpecError            2   a recipe or an option
    ├── InputError           1   a checkpoint, a speech set, a folder
    ├── MissingExtraError    1   a library of an extra is not installed
    ├── MissingCommandError  1   a command is not in the sottovoce of a device
    ├── ResourceError        1   the machine lacks memory, disk or an instruction set
    │   └── OutOfMemoryError 1   memory ran out during the work
    ├── StageError           1   a stage did not produce what it must
    └── GateError            3   a required condition does not hold
        ├── ParityError      3   an exported model differs from its checkpoint
        └── BundleError      3   a bundle is damaged or does not work on this machine

The number is the exit code of the command line. A message says in one line what happened, where, what was expected
and what to do.
"""

from difflib import get_close_matches
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class SottovoceError(Exception):
    """Base of all errors that a user can act on."""

    exit_code: ClassVar[int] = 1


class SpecError(SottovoceError):
    """A recipe or an option is invalid."""

    exit_code = 2


class InputError(SottovoceError):
    """A checkpoint, a speech set or a folder is unusable."""


class OutputExistsError(InputError):
    """The output exists and may not be replaced."""

    def __init__(self, path: "Path") -> None:
        super().__init__(f"{path} exists already. Choose another --out, or pass --force to replace it")
        self.path = path


class MissingExtraError(SottovoceError):
    """A library of an extra is not installed."""

    def __init__(self, module: str, *, needed_for: str, extra: str) -> None:
        super().__init__(
            f'{module} is not installed; it is needed for {needed_for}. Run: pip install "sottovoce[{extra}]"'
        )
        self.module = module
        self.extra = extra


class MissingCommandError(SottovoceError):
    """A command is not part of the sottovoce that a bundle installs on a device."""

    def __init__(self, command: str) -> None:
        super().__init__(
            f"`sottovoce {command}` is not installed on this device: a bundle installs transcribe, live and verify only. "
            'Run it on a workstation with the full package: pip install "sottovoce[all]"'
        )
        self.command = command


class ResourceError(SottovoceError):
    """The machine has less memory or disk than the work needs, or its CPU lacks an instruction set."""


class OutOfMemoryError(ResourceError):
    """Memory ran out during the work: libraries may be half loaded and crash when they are unloaded."""


class StageError(SottovoceError):
    """A stage did not produce what it must."""


class GateError(SottovoceError):
    """A required condition on the result does not hold."""

    exit_code = 3


class ParityError(GateError):
    """An exported model does not compute what its checkpoint computes."""


class BundleError(GateError):
    """A bundle is damaged, does not fit this machine, or does not work on it."""


def nearest(name: str, known: "Iterable[str]") -> str:
    """Return `"; did you mean X?"` for the known name nearest to `name`, or an empty string."""
    match = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {match[0]}?" if match else ""
