"""From an archive to a folder: only the regular files that the manifest names, each hashed while it is written."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sottovoce.bundle.archive import BLOCK_BYTES, ArchiveReader
from sottovoce.bundle.device import verify
from sottovoce.bundle.manifest import BUNDLE_NAME, SEAL_NAME, BundleManifest, parse_manifest
from sottovoce.errors import BundleError, InputError, ResourceError
from sottovoce.machine.os_errors import translate_os_error
from sottovoce.storage.artifacts import FileEntry
from sottovoce.storage.temporary import temporary_folder

MAX_RATIO = 200
"""Unpacked by packed bytes. Weights give 1.1 to 1.3; deflate reaches 1,032 on zeros alone."""

SPARE_BYTES = 16 << 20
"""Disk that is to stay free behind what is unpacked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """A bundle whose every byte was checked."""

    folder: Path
    manifest: BundleManifest


@contextmanager
def unpacked(archive: Path, into: Path | None = None) -> Iterator[Unpacked]:
    """Unpack an archive into a temporary folder that is gone after the block.

    Args:
        archive: a bundle.
        into: the folder for it; the system's for temporary files by default (`TMPDIR`).

    Raises:
        BundleError: it is damaged, or holds what no bundle holds.
        InputError: it cannot be read.
        ResourceError: the disk is too small for it.
    """
    with temporary_folder(into) as folder:
        try:
            yield Unpacked(folder=folder, manifest=unpack(archive, folder))
        except BundleError as cause:
            raise BundleError(f"{archive}: {cause}") from cause


def unpack(archive: Path, folder: Path) -> BundleManifest:
    """Unpack an archive into a folder that is there and empty; without the folder at its top.

    Raises:
        BundleError: it is damaged, or holds what no bundle holds.
        InputError: it cannot be read.
        ResourceError: the disk is too small for it.
    """
    try:
        with archive.open("rb") as raw:
            reader = ArchiveReader(raw)
            top, manifest_raw = _read_first(reader, BUNDLE_NAME)
            _, seal = _read_first(reader, SEAL_NAME, top)
            manifest = parse_manifest(manifest_raw, seal)
            if top != manifest.name:
                raise BundleError(
                    f"the folder at its top is {top}, and {BUNDLE_NAME} calls it {manifest.name}"
                )
            _check_sizes(manifest, archive, folder)
            (folder / BUNDLE_NAME).write_bytes(manifest_raw)
            (folder / SEAL_NAME).write_bytes(seal)
            for entry in manifest.files:
                _unpack_file(reader, top, entry, folder)
            reader.finish()
    except OSError as cause:
        told = translate_os_error(cause, path=folder)
        if isinstance(told, ResourceError):
            raise told from cause
        raise InputError(f"{archive} cannot be unpacked into {folder.parent}: {cause}") from cause
    return manifest


def _read_first(reader: ArchiveReader, name: str, top: str | None = None) -> tuple[str, bytes]:
    """Read the small member that is next: the folder at the top, and its bytes."""
    path, size = reader.next_member()
    folder, _, found = path.rpartition("/")
    if found != name or verify.name_problem(folder) is not None or folder != (top or folder):
        raise BundleError(f"{path!r:.200} stands where {name} is to be: it is no bundle")
    if size > verify.MAX_MANIFEST_BYTES:
        raise BundleError(f"{name} is larger than {verify.MAX_MANIFEST_BYTES} bytes")
    return folder, b"".join(reader.chunks(size))


def _check_sizes(manifest: BundleManifest, archive: Path, folder: Path) -> None:
    """Refuse what would fill the disk, before it is written."""
    needed = sum(entry.size_bytes + BLOCK_BYTES for entry in manifest.files)
    if needed > MAX_RATIO * archive.stat().st_size:
        raise BundleError(
            f"it says that it holds {needed} bytes, over {MAX_RATIO} times its own size: a bomb, no bundle"
        )
    free = shutil.disk_usage(folder).free
    if needed + SPARE_BYTES > free:
        raise ResourceError(
            f"{archive} takes {needed / 1e6:.0f} MB unpacked and {folder.parent} has {free / 1e6:.0f} MB free; "
            "name a folder with more in TMPDIR"
        )


def _unpack_file(reader: ArchiveReader, top: str, entry: FileEntry, folder: Path) -> None:
    path, size = reader.next_member()
    if path != f"{top}/{entry.path}" or size != entry.size_bytes:
        raise BundleError(
            f"{path!r:.200} with {size} bytes stands where {entry.path} with {entry.size_bytes} is to be"
        )
    target = folder / entry.path
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with target.open("xb") as file:
        for chunk in reader.chunks(size):
            digest.update(chunk)
            file.write(chunk)
    if digest.hexdigest() != entry.sha256:
        raise BundleError(
            f"{entry.path} was changed: its SHA-256 is {digest.hexdigest()}, want {entry.sha256}"
        )
