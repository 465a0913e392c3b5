"""A bundle as an archive or a folder: opened after every byte is checked.

Of an archive, only the regular files that its manifest names are unpacked; each is hashed while it is written.
"""

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sottovoce.bundle.archive import BLOCK_BYTES, ArchiveReader
from sottovoce.bundle.device import verify
from sottovoce.bundle.manifest import BUNDLE_NAME, SEAL_NAME, BundleManifest, parse_manifest
from sottovoce.errors import BundleError, InputError, ResourceError
from sottovoce.machine.cpu import architecture, usable_flags
from sottovoce.machine.os_errors import translate_os_error
from sottovoce.runtime.model.requirements import NO_VNNI_RECIPES
from sottovoce.storage.artifacts import FileEntry, describe
from sottovoce.storage.folders import temporary_folder

MAX_RATIO = 200
"""Unpacked by packed bytes. Weights give 1.1 to 1.3; deflate reaches 1,032 on zeros alone."""

SPARE_BYTES = 16 << 20
"""Free disk space that unpacking must leave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedBundle:
    """A bundle of which every byte was checked."""

    folder: Path
    manifest: BundleManifest


@contextmanager
def open_bundle(path: Path) -> Iterator[OpenedBundle]:
    """Yield a bundle after every byte was checked.

    Args:
        path: an archive, which is unpacked into a temporary folder, or an unpacked bundle.

    Raises:
        BundleError: it is damaged.
        InputError: it does not exist, or is a run or a variant.
    """
    if not (path / BUNDLE_NAME).is_file() and describe(path) in {"is a run", "is a variant"}:
        raise InputError(
            f"{path} {describe(path)}, want a bundle; make one with `sottovoce bundle RUN --out NAME.tar.gz`"
        )
    if path.is_dir():
        yield OpenedBundle(folder=path, manifest=check_folder(path))
    elif path.is_file():
        with unpacked(path) as bundle:
            yield bundle
    else:
        raise InputError(f"{path} does not exist; give a bundle that `sottovoce bundle` wrote, or its folder")


def check_folder(folder: Path) -> BundleManifest:
    """Check every byte of an unpacked bundle.

    Raises:
        BundleError: it is damaged; the message has the worst problem and the number of the others.
    """
    try:
        _, listed = verify.read_listed(folder)
        problems = list(verify.problems_of(folder, listed))
    except (verify.Damaged, OSError) as cause:
        raise BundleError(f"{folder}: {cause}") from cause
    if problems:
        raise BundleError(_describe(folder, problems))
    return parse_manifest((folder / BUNDLE_NAME).read_bytes(), (folder / SEAL_NAME).read_bytes())


def _describe(folder: Path, problems: Sequence[verify.Problem]) -> str:
    """Describe the worst problem: a damaged file of the bundle is worse than an extra one."""
    worst, *_ = sorted(problems, key=lambda problem: problem.is_stray)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    advice = "" if worst.is_stray else "; copy the bundle again"
    return f"{folder} is damaged: {worst.line}{more}{advice}"


def cpu_problem(manifest: BundleManifest) -> str | None:
    """Return what the model needs and this CPU lacks; None if it lacks nothing or its flags are unknown."""
    return verify.cpu_problem(manifest.model_dump(mode="json"), architecture(), usable_flags())


def check_cpu(manifest: BundleManifest) -> None:
    """Refuse a CPU on which the model would give wrong words.

    Raises:
        BundleError: this is such a CPU.
    """
    problem = cpu_problem(manifest)
    if problem is not None:
        raise BundleError(
            f"{manifest.name}: {problem}; bundle a variant of the recipe {NO_VNNI_RECIPES} instead"
        )


@contextmanager
def unpacked(archive: Path, into: Path | None = None) -> Iterator[OpenedBundle]:
    """Unpack an archive into a temporary folder that is removed after the block.

    Args:
        into: parent of the folder; by default the system's for temporary files (`TMPDIR`).

    Raises:
        BundleError: it is damaged, or has content that no bundle has.
        InputError: it cannot be read.
        ResourceError: the disk is too small for it.
    """
    with temporary_folder(into) as folder:
        try:
            yield OpenedBundle(folder=folder, manifest=unpack(archive, folder))
        except BundleError as cause:
            raise BundleError(f"{archive}: {cause}") from cause


def unpack(archive: Path, folder: Path) -> BundleManifest:
    """Unpack an archive into an empty folder, without the folder at its top.

    Raises:
        BundleError: it is damaged, or has content that no bundle has.
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
                    f"the folder at its top is {top}, and the name in {BUNDLE_NAME} is {manifest.name}"
                )
            _check_sizes(manifest, archive, folder)
            (folder / BUNDLE_NAME).write_bytes(manifest_raw)
            (folder / SEAL_NAME).write_bytes(seal)
            for entry in manifest.files:
                _unpack_file(reader, top, entry, folder)
            reader.finish()
    except OSError as cause:
        translated = translate_os_error(cause, path=folder)
        if isinstance(translated, ResourceError):
            raise translated from cause
        raise InputError(f"{archive} cannot be unpacked into {folder.parent}: {cause}") from cause
    return manifest


def _read_first(reader: ArchiveReader, name: str, top: str | None = None) -> tuple[str, bytes]:
    """Read the next member, which is small: the folder at its top, and its bytes."""
    path, size = reader.next_member()
    folder, _, found = path.rpartition("/")
    if found != name or verify.name_problem(folder) is not None or folder != (top or folder):
        raise BundleError(f"it has {path!r:.200} in the place of {name}: it is not a bundle")
    if size > verify.MAX_MANIFEST_BYTES:
        raise BundleError(f"{name} is larger than {verify.MAX_MANIFEST_BYTES} bytes")
    return folder, b"".join(reader.chunks(size))


def _check_sizes(manifest: BundleManifest, archive: Path, folder: Path) -> None:
    """Refuse an archive that would fill the disk, before anything is written."""
    needed = sum(entry.size_bytes + BLOCK_BYTES for entry in manifest.files)
    if needed > MAX_RATIO * archive.stat().st_size:
        raise BundleError(
            f"it claims to hold {needed} bytes, over {MAX_RATIO} times its own size: it was cut short, or it is no bundle; copy it again"
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
            f"it has {path!r:.200} with {size} bytes in the place of {entry.path} with {entry.size_bytes}"
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
