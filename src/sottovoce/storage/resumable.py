"""`OUT.unfinished`: the folder from which an interrupted command resumes.

Its header holds the settings that must be the same to resume.
"""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from sottovoce.errors import InputError
from sottovoce.storage.documents import Document, write_text
from sottovoce.storage.folders import new_folder, recover_interrupted_write, remove_folder

HEADER_NAME = "begun.json"

Kind = Literal["benchmark", "run", "training"]


class Header(Document):
    """The settings that must be the same to resume."""

    kind: Literal["unfinished benchmark", "unfinished run", "unfinished training"]
    settings: dict[str, str]


def resumable_path(out: Path) -> Path:
    """Return the folder that holds the finished parts of an output."""
    return out.with_name(f"{out.name}.unfinished")


class ResumableFolder:
    """The folder of an unfinished output. The lock of the output must be held."""

    def __init__(self, folder: Path, kind: Kind) -> None:
        self.folder = folder
        self._kind = kind

    def begin(
        self, settings: dict[str, str], *, restart: bool, ignored: Callable[[], Collection[str]] = tuple
    ) -> bool:
        """Open the folder, or create it.

        Args:
            settings: everything that changes the result.
            restart: delete the folder first.
            ignored: returns the settings that may differ; called after the header was checked.

        Returns:
            Whether an interrupted command with the same settings left it.

        Raises:
            InputError: the folder has other settings, or sottovoce did not write it.
        """
        recover_interrupted_write(self.folder)
        if self.folder.exists():
            header = self._read_header()
            if not restart:
                self._check(header, settings, ignored())
                return True
            self.remove()
        with new_folder(self.folder) as work:
            header = Header.model_validate({"kind": f"unfinished {self._kind}", "settings": settings})
            write_text(work / HEADER_NAME, header.model_dump_json(indent=2) + "\n")
        return False

    def has_other_settings(self, settings: dict[str, str]) -> bool:
        """Return whether a command with other settings left the folder.

        Raises:
            InputError: sottovoce did not write it.
        """
        recover_interrupted_write(self.folder)
        return self.folder.exists() and self._read_header().settings != settings

    def remove(self) -> None:
        """Delete the folder."""
        remove_folder(self.folder)

    def _read_header(self) -> Header:
        path = self.folder / HEADER_NAME
        try:
            header = Header.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as cause:
            raise self._foreign() from cause
        if header.kind != f"unfinished {self._kind}":
            raise self._foreign()
        return header

    def _foreign(self) -> InputError:
        return InputError(
            f"{self.folder} is not an unfinished {self._kind}, and its place is needed for one; remove it, "
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
                f"{f', and {len(changed) - 1} more' if len(changed) > 1 else ''}); repeat its command to "
                "resume, or use --restart"
            )
