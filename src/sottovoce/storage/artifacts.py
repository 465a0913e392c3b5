"""Artifacts: folders with a `manifest.json`, which is written last.

A stage reads artifacts and writes one; `folders` makes it appear whole or not at all.
"""

import hashlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import Field

from sottovoce.errors import InputError
from sottovoce.machine.environment import Host
from sottovoce.storage.documents import Document, read_document, write_text

MANIFEST_NAME = "manifest.json"

MANIFEST_SCHEMA_VERSION = 1
"""1: first version."""

_HASH_CHUNK_BYTES = 1 << 20


class FileEntry(Document):
    """One file of an artifact."""

    path: str = Field(description="Path inside the artifact, with forward slashes.")
    size_bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Parent(Document):
    """An input of the stage that made an artifact."""

    role: str = Field(description="What it was to the stage: checkpoint, variant, calibration, speech.")
    name: str = Field(description="Hub id, package or folder name; never an absolute path.")
    revision: str | None = Field(default=None, description="Commit of a hub checkpoint.")
    sha256: str | None = Field(default=None, description="Hash of its content, where one was computed.")


class Manifest(Document):
    """The content of `manifest.json`: what an artifact is and how it was made."""

    schema_version: Literal[1] = 1
    kind: str = Field(description="run, variant, calibration, sensitivity or results.")
    name: str
    created: datetime
    made_by: str = Field(description="The stage and the version of sottovoce.")
    recipe: dict[str, object] | None = Field(default=None, description="The resolved recipe.")
    recipe_sha256: str | None = None
    parents: tuple[Parent, ...] = ()
    host: Host
    versions: dict[str, str] = Field(description="Versions of the libraries that had a hand in it.")
    facts: dict[str, object] = Field(default_factory=dict, description="What the stage measured or checked.")
    files: tuple[FileEntry, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Sum of the sizes of the files."""
        return sum(entry.size_bytes for entry in self.files)


def sha256_of_file(path: Path) -> str:
    """Hash a file without reading it whole into memory."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_HASH_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def list_files(folder: Path) -> tuple[FileEntry, ...]:
    """List a folder's files with size and hash, sorted by path, its own manifest left out."""
    return tuple(
        FileEntry(
            path=path.relative_to(folder).as_posix(),
            size_bytes=path.stat().st_size,
            sha256=sha256_of_file(path),
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / MANIFEST_NAME
    )


def check_hashes(folder: Path, manifest: Manifest) -> None:
    """Refuse a folder that differs from what its manifest lists.

    Call it before a parser reads any of the files. Sizes are compared before anything is hashed.

    Raises:
        InputError: a file is missing, changed, not listed, listed twice, a link, or listed under a path outside the
            folder.
    """
    listed = [entry.path for entry in manifest.files]
    twice = next((path for path in listed if listed.count(path) > 1), None)
    if twice is not None:
        raise _mismatch(folder, f"lists {twice} twice")
    for entry in manifest.files:
        _check_entry(folder, entry)
    known = {*listed, MANIFEST_NAME}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or (name not in known and not path.is_dir()):
            raise _mismatch(folder, f"does not list {name}")
    for entry in manifest.files:
        if sha256_of_file(folder / entry.path) != entry.sha256:
            raise _mismatch(folder, f"has another hash for {entry.path}")


def _check_entry(folder: Path, entry: FileEntry) -> None:
    parts = entry.path.split("/")
    if not entry.path.isprintable() or {"", ".", ".."} & set(parts) or set(entry.path) & set("\\:"):
        raise _mismatch(folder, f"lists {entry.path[:80]!r}, which is not a path inside it")
    path = folder
    for part in parts:
        path /= part
        if path.is_symlink():
            raise _mismatch(folder, f"lists {entry.path}, which is or goes through a link")
    if not path.is_file():
        raise _mismatch(folder, f"lists {entry.path}, which is not a file there")
    if path.stat().st_size != entry.size_bytes:
        raise _mismatch(
            folder, f"lists {entry.path} with {entry.size_bytes} bytes, it has {path.stat().st_size}"
        )


def _mismatch(folder: Path, why: str) -> InputError:
    return InputError(
        f"{folder} was changed after it was made: its {MANIFEST_NAME} {why}; get a complete copy of it"
    )


def describe(path: Path) -> str:
    """Say what a path is, after its name: `does not exist`, `is a file`, `is a run`, `holds no manifest.json`."""
    if not path.exists():
        return "does not exist"
    if path.is_file():
        return "is a file"
    if not is_artifact(path):
        return f"holds no {MANIFEST_NAME}"
    kind = read_manifest(path).kind
    return "holds results" if kind == "results" else f"is a {kind}"


def read_manifest(folder: Path) -> Manifest:
    """Read an artifact's manifest.

    Raises:
        InputError: the folder is not an artifact, or its manifest is damaged or of another version.
    """
    path = folder / MANIFEST_NAME
    if not path.is_file():
        found = (
            "is a file"
            if folder.is_file()
            else f"is not a finished sottovoce folder: it has no {MANIFEST_NAME}"
        )
        raise InputError(f"{folder} {found}. Give the folder that `sottovoce optimize --out` wrote")
    return read_document(path, Manifest, advice="make the folder again with the sottovoce that is installed")


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest into the folder that it describes."""
    write_text(folder / MANIFEST_NAME, manifest.model_dump_json(indent=2) + "\n")


def is_artifact(folder: Path) -> bool:
    """Return whether a folder is a finished artifact."""
    return (folder / MANIFEST_NAME).is_file()


def created_now() -> datetime:
    """Return the creation time of a manifest, in UTC.

    `SOURCE_DATE_EPOCH` replaces the clock, so that the same inputs give the same manifest:
    https://reproducible-builds.org/specs/source-date-epoch/.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    return datetime.fromtimestamp(int(epoch), UTC) if epoch.isdecimal() else datetime.now(UTC)


def canonical_sha256(value: object) -> str:
    """Hash a JSON value; the order of its keys does not matter."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
