"""What can go wrong, by kind.

    SottovoceError
    ├── SpecError            2   what a person wrote: a recipe, an option
    ├── InputError           1   what a person gave: a checkpoint, speech, a folder
    ├── MissingExtraError    1   a part of sottovoce that is not installed
    ├── ResourceError        1   too little memory or disk for what was asked
    │   └── OutOfMemoryError 1   memory was short within the work
    ├── StageError           1   a stage did not do what it promises
    └── GateError            3   a condition on the result does not hold
        ├── ParityError      3   an exported model differs from its checkpoint
        └── BundleError      3   a bundle is damaged, or does not do here what it says

The number is the exit code of the command line. A message says what happened, where, what was
expected and what to do, in one line.
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
    """A recipe or an option says something that it cannot mean."""

    exit_code = 2


class InputError(SottovoceError):
    """A checkpoint, a speech set or a folder is not what it should be."""


class OutputExistsError(InputError):
    """The output is there already, and nothing said that it may be replaced."""

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


class ResourceError(SottovoceError):
    """The machine has less memory or disk than the work is forecast to need."""


class OutOfMemoryError(ResourceError):
    """Memory was short within the work: libraries may be loaded by halves, and crash when they are unloaded."""


class StageError(SottovoceError):
    """A stage finished without what it ensures."""


class GateError(SottovoceError):
    """A condition on the result does not hold."""

    exit_code = 3


class ParityError(GateError):
    """An exported model does not compute what its checkpoint computes."""


class BundleError(GateError):
    """A bundle is damaged, does not fit this machine, or does not do here what it says."""


def nearest(name: str, known: "Iterable[str]") -> str:
    """Return `"; did you mean X?"` for the known name nearest to `name`, or an empty string."""
    match = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {match[0]}?" if match else ""
