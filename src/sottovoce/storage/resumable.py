"""What an interrupted command leaves, so that the same command goes on where it was.

It is a folder beside the output, `OUT.unfinished`, which begins with a header: what must be the same to go on.
"""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from sottovoce.errors import InputError
from sottovoce.storage.artifacts import Document, write_text
from sottovoce.storage.folders import new_folder, recover_interrupted_write, remove_folder

HEADER_NAME = "begun.json"

Kind = Literal["benchmark", "run"]


class Header(Document):
    """What must be the same to go on."""

    kind: Literal["unfinished benchmark", "unfinished run"]
    settings: dict[str, str]


def resumable_path(out: Path) -> Path:
    """Name the folder that holds what is made of an output so far."""
    return out.with_name(f"{out.name}.unfinished")


class ResumableFolder:
    """The folder of an output that is not finished. The lock of the output must be held."""

    def __init__(self, folder: Path, kind: Kind) -> None:
        self.folder = folder
        self._kind = kind

    def begin(
        self, settings: dict[str, str], *, anew: bool, ignored: Callable[[], Collection[str]] = tuple
    ) -> bool:
        """Open the folder, or make it.

        Args:
            settings: what decides on the result.
            anew: throw away what is there.
            waived: names the settings that need not be the same; called once the folder is known to be one of these.

        Returns:
            Whether an interrupted command of the same settings left it.

        Raises:
            InputError: what is there has other settings, or is none of ours.
        """
        recover_interrupted_write(self.folder)
        if self.folder.exists():
            header = self._read_header()
            if not anew:
                self._check(header, settings, ignored())
                return True
            self.remove()
        with new_folder(self.folder) as work:
            header = Header.model_validate({"kind": f"unfinished {self._kind}", "settings": settings})
            write_text(work / HEADER_NAME, header.model_dump_json(indent=2) + "\n")
        return False

    def remove(self) -> None:
        """Throw the folder away."""
        remove_folder(self.folder)

    def _read_header(self) -> Header:
        path = self.folder / HEADER_NAME
        try:
            header = Header.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as cause:
            raise self._in_the_way() from cause
        if header.kind != f"unfinished {self._kind}":
            raise self._in_the_way()
        return header

    def _in_the_way(self) -> InputError:
        return InputError(
            f"{self.folder} is in the way: an unfinished {self._kind} would stand there, and this is none; remove it, "
            "or choose another --out"
        )

    def _check(self, header: Header, settings: dict[str, str], ignored: Collection[str]) -> None:
        changed = sorted(
            name
            for name in (header.settings.keys() | settings.keys()) - set(ignored)
            if header.settings.get(name) != settings.get(name)
        )
        if changed:
            first = changed[0]
            raise InputError(
                f"{self.folder} holds an unfinished {self._kind} with other settings ({first}: "
                f"{header.settings.get(first, 'none')}, now {settings.get(first, 'none')}"
                f"{f', and {len(changed) - 1} more' if len(changed) > 1 else ''}); repeat its command to go on, or start "
                "anew with --restart"
            )
