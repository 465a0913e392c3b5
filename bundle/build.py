"""The stage `bundle`: packs a variant of a run into one archive for a device.

Every byte follows from the run, the options and the installed versions: no time, no path, no measurement.
"""

import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sottovoce.bundle.archive import Member, header_problem, write_archive
from sottovoce.bundle.contents import (
    BundleSpec,
    Packed,
    bundle_facts,
    golden_members,
    open_variant,
    text_members,
    transcribe_golden_clips,
)
from sottovoce.bundle.device import verify
from sottovoce.bundle.device_wheel import WHEEL_NAME, build_device_wheel
from sottovoce.bundle.manifest import (
    BUNDLE_NAME,
    REQUIREMENTS_NAME,
    SEAL_NAME,
    WHEELS_FOLDER,
    BundleManifest,
    Wheels,
    parse_manifest,
    write_manifest,
)
from sottovoce.bundle.signing import Signed, check_key, check_signature, sign, signature_path
from sottovoce.bundle.texts import read_licence
from sottovoce.bundle.wheels import OWN, download, lock, pin
from sottovoce.errors import BundleError, InputError, OutputExistsError, SpecError
from sottovoce.machine.cpu import architecture, usable_flags
from sottovoce.machine.os_errors import translated_os_errors
from sottovoce.progress import Reporter
from sottovoce.runs import Run
from sottovoce.runtime.loading import load
from sottovoce.storage.artifacts import FileEntry, check_hashes, sha256_of_file
from sottovoce.storage.folders import check_output_file
from sottovoce.storage.locks import output_lock


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A bundle that was written."""

    path: Path
    size_bytes: int
    sha256: str
    manifest: BundleManifest
    signature: Path | None = None


def check_spec(spec: BundleSpec) -> None:
    """Refuse options that cannot work.

    Raises:
        InputError: the licence cannot be read, or the key cannot sign.
        MissingExtraError: a signature needs the extra `signing`.
        SpecError: a Dockerfile without wheels, or a limit that is not a number.
    """
    if spec.has_dockerfile and spec.target is None:
        raise SpecError("--docker needs --wheels PLATFORM: the image is built from the bundle alone")
    if not math.isfinite(spec.least_rtfx) or spec.least_rtfx < 0:
        raise SpecError(f"--min-rtfx is {spec.least_rtfx}, want a number of at least 0")
    if spec.most_memory_mb is not None and not 1 <= spec.most_memory_mb < math.inf:
        raise SpecError(f"--max-memory-mb is {spec.most_memory_mb}, want a number of at least 1")
    if spec.model_licence is not None:
        read_licence(spec.model_licence)
    if spec.key is not None:
        check_key(spec.key)


def check_bundle_output(out: Path, *, is_signed: bool, force: bool) -> None:
    """Refuse an output that exists, before work begins.

    An unsigned bundle is accepted if this one is to be signed: a killed command leaves that, and `put` checks whether
    it is the same bundle.

    Raises:
        InputError: it is a folder.
        SpecError: its name is not that of a .tar.gz.
        OutputExistsError: it is a file and `force` is not set.
    """
    lacks_signature = is_signed and out.is_file() and not signature_path(out).exists()
    check_output_file(out, force=force or lacks_signature)
    check_output_file(signature_path(out), force=force)
    if not out.name.endswith((".tar.gz", ".tgz")):
        raise SpecError(f"--out {out}: a bundle is a gzip-compressed tar archive; name it {out.stem}.tar.gz")


def build(run: Run, spec: BundleSpec, out: Path, reporter: Reporter, *, force: bool = False) -> Built:
    """Pack a variant of a run.

    Raises:
        OutputExistsError: another file or signature of that name exists, and `force` is not set.
        InputError: the run was changed after it was made, or a part of it is missing.
        MissingExtraError: the library that runs the variant is not installed here.
        ResourceError: the disk is full.
        SpecError: the options contradict each other.
        StageError: pip could not download the wheels.
    """
    check_spec(spec)
    check_bundle_output(out, is_signed=spec.key is not None, force=force)
    variant = run.variant(spec.variant)
    packed = open_variant(run, variant)
    check_hashes(variant.folder, variant.manifest)
    _check_name(packed)
    _check_cpu(packed)
    with translated_os_errors(out), output_lock(out, note=reporter.note), _work_folder(out) as work:
        wheels, wheel_members, requirements = _wheels(packed, spec, work / WHEELS_FOLDER, reporter)
        with reporter.progress("transcribe golden clips", None):
            golden = transcribe_golden_clips(load(variant.folder), spec.speech)
        facts = bundle_facts(packed, spec, golden, wheels)
        members = [
            *packed.members(),
            *golden_members(spec.speech),
            *text_members(packed, spec, facts),
            *wheel_members,
            Member(path=REQUIREMENTS_NAME, source=requirements.encode()),
        ]
        built = _pack(facts, members, work / "packed", reporter)
        signed = None if spec.key is None else sign(built.manifest, spec.key, work / "signing")
        put(built.path, built.sha256, signed, out, force=force)
        return replace(built, path=out, signature=None if signed is None else signature_path(out))


def _check_name(packed: Packed) -> None:
    """Refuse names that are not valid on every system: the folder of the bundle has the same name."""
    if verify.name_problem(packed.name) is not None:
        raise InputError(
            f"a bundle cannot be called {packed.name!r}: want letters, digits and ._+!- only; rename the folder of the "
            "checkpoint and make the run again"
        )
    for member, entry in zip(packed.members(), packed.entries, strict=True):
        _check_entry(packed.name, member.path, entry.size_bytes)


def _check_cpu(packed: Packed) -> None:
    """Refuse a CPU on which the golden clips would get wrong words."""
    needed = {"cpu": packed.cpu.model_dump(mode="json")}
    problem = verify.cpu_problem(needed, architecture(), usable_flags())
    if problem is not None:
        raise InputError(
            f"{packed.variant.folder}: {problem}; pack it on a machine that can transcribe its golden clips"
        )


@contextmanager
def _work_folder(out: Path) -> Iterator[Path]:
    """Yield a folder beside an output. Its name is fixed: the next command removes it after a kill. The lock is held."""
    work = out.with_name(f".{out.name}.unfinished")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _wheels(
    packed: Packed, spec: BundleSpec, folder: Path, reporter: Reporter
) -> tuple[Wheels | None, list[Member], str]:
    """Return the platform of the wheels, their members, and the requirements of the device."""
    pinned = (*pin(packed.variant.facts.format, spec.target), OWN)
    wheels, members = None, [Member(path=f"{WHEELS_FOLDER}/{WHEEL_NAME}", source=build_device_wheel())]
    if spec.target is not None:
        with reporter.progress(f"download wheels for {spec.target.platform}", None):
            wheels = download(pinned[:-1], spec.target, folder)
        members += [Member(path=f"{WHEELS_FOLDER}/{path.name}", source=path) for path in folder.iterdir()]
    named = ((member.path.rpartition("/")[2], member.source) for member in members)
    return wheels, members, lock(pinned, named)


def _pack(facts: BundleManifest, members: Sequence[Member], path: Path, reporter: Reporter) -> Built:
    """Hash the members and write the archive."""
    ordered = sorted(members, key=lambda member: member.path)
    entries = tuple(_checked_entry(facts.name, member) for member in ordered)
    listed = [replace(member, listed=entry) for member, entry in zip(ordered, entries, strict=True)]
    manifest = facts.model_copy(update={"files": entries})
    raw, seal = write_manifest(manifest)
    parse_manifest(raw, seal)  # a manifest that cannot be read is not written
    first = (Member(path=BUNDLE_NAME, source=raw), Member(path=SEAL_NAME, source=seal))
    with reporter.progress(f"pack {len(ordered)} files", None):
        write_archive(path, manifest.name, (*first, *listed))
        digest = sha256_of_file(path)
    return Built(path=path, size_bytes=path.stat().st_size, sha256=digest, manifest=manifest)


def _checked_entry(top: str, member: Member) -> FileEntry:
    entry = member.entry()
    _check_entry(top, entry.path, entry.size_bytes)
    return entry


def _check_entry(top: str, path: str, size_bytes: int) -> None:
    problem = verify.path_problem(path) or header_problem(f"{top}/{path}", size_bytes)
    if problem is not None:
        raise InputError(f"{path!r} in a bundle called {top} {problem}")


def put(archive: Path, sha256: str, signed: Signed | None, out: Path, *, force: bool) -> None:
    """Move a bundle and its signature to their places, if they are not there yet. The lock of `out` must be held.

    At no moment does the signature of one bundle lie beside another.

    Args:
        archive: the bundle, on the same file system as `out`.
        force: replace another bundle, with its signature.

    Raises:
        InputError: a folder has that name.
        OutputExistsError: another bundle or signature is there, and `force` is not set.
    """
    signature = signature_path(out)
    if not out.is_file() or sha256_of_file(out) != sha256:
        check_output_file(out, force=force)
        check_output_file(signature, force=force)
        # First: a kill may leave a bundle without a signature, never with the signature of another one.
        signature.unlink(missing_ok=True)
        archive.replace(out)
    if signed is not None:
        _put_signature(signed, signature, force=force)


def _put_signature(signed: Signed, place: Path, *, force: bool) -> None:
    """Move a signature to its place, unless another process has put one by the same key there."""
    if force or not place.exists():
        signed.path.replace(place)
        return
    try:
        check_signature(signed.path.parent, place, signed.public_key)
    except BundleError as cause:
        raise OutputExistsError(place) from cause
