"""The stage `bundle`: a variant of a run in, one file for a device out.

Every byte follows from the run, the options and the installed versions: no time, no path, no measurement of its own.
"""

import math
import platform
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from sottovoce import __version__
from sottovoce.bundle.archive import Member, header_problem, write_archive
from sottovoce.bundle.device import verify
from sottovoce.bundle.golden import expect, golden_rows
from sottovoce.bundle.instruction_sets import cpu_of
from sottovoce.bundle.licences import licence_files, read_licence
from sottovoce.bundle.manifest import (
    BUNDLE_NAME,
    GOLDEN_FOLDER,
    LICENCES_FOLDER,
    MODEL_FOLDER,
    REQUIREMENTS_NAME,
    SEAL_NAME,
    WHEELS_FOLDER,
    BundleManifest,
    Floors,
    GoldenClip,
    Measured,
    ModelFacts,
    Wheels,
    parse_manifest,
    write_manifest,
)
from sottovoce.bundle.own_wheel import WHEEL_NAME, build_own_wheel
from sottovoce.bundle.place import check_place, put
from sottovoce.bundle.signing import check_key, sign, signature_path
from sottovoce.bundle.texts import device_files
from sottovoce.bundle.wheels import OWN, Target, download, lock, pin
from sottovoce.errors import InputError, SpecError
from sottovoce.machine.os_errors import told_plainly
from sottovoce.progress import Reporter
from sottovoce.recipes.load import parse_recipe
from sottovoce.recipes.recipe import Recipe
from sottovoce.runs import RECIPE_NAME, Run, Variant
from sottovoce.runtime.transcriber import Transcriber
from sottovoce.storage.artifacts import MANIFEST_NAME, FileEntry, Parent, check_hashes, sha256_of_file
from sottovoce.storage.locks import output_lock

MEMORY_MARGIN = 1.5
"""Of the self-test's memory over that of the benchmark: other libraries, other allocators."""

REAL_TIME = 1.0
TOKEN_AGREEMENT = 0.9
"""Kernels of other instruction sets round otherwise, and now and then a word tips over; a broken model gives under half."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleSpec:
    """What is asked for.

    Attributes:
        variant: name of a variant of the run.
        speech: manifest of the speech that golden clips come from.
        target: platform to bring wheels for; None leaves the device to a package index.
        has_dockerfile: adds a Dockerfile; needs wheels.
        measured: of a benchmark of the variant.
        model_licence: text of the checkpoint's licence, where it is not known.
        least_rtfx: floor of the self-test.
        most_memory_mb: its limit, resident, in 10^6 bytes; None takes it from `measured`.
        key: private, to sign with; None leaves the bundle unsigned.
    """

    variant: str
    speech: Path
    target: Target | None = None
    has_dockerfile: bool = False
    measured: Measured | None = None
    model_licence: Path | None = None
    least_rtfx: float = REAL_TIME
    most_memory_mb: float | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A bundle that was written."""

    path: Path
    size_bytes: int
    sha256: str
    manifest: BundleManifest
    signature: Path | None = None


def check_spec(spec: BundleSpec) -> None:
    """Refuse what cannot be packed.

    Raises:
        InputError: the text of the licence cannot be read, or the key cannot sign.
        MissingExtraError: a signature is asked for, and the extra `signing` is not installed.
        SpecError: a Dockerfile without the wheels that it installs, or a floor that is no number.
    """
    if spec.has_dockerfile and spec.target is None:
        raise SpecError("--docker needs --wheels PLATFORM: an image is built from the bundle alone")
    if not math.isfinite(spec.least_rtfx) or spec.least_rtfx < 0:
        raise SpecError(f"--min-rtfx is {spec.least_rtfx}, want a number from 0 on")
    if spec.most_memory_mb is not None and not 1 <= spec.most_memory_mb < math.inf:
        raise SpecError(f"--max-memory-mb is {spec.most_memory_mb}, want a number from 1 on")
    if spec.model_licence is not None:
        read_licence(spec.model_licence)
    if spec.key is not None:
        check_key(spec.key)


def build(run: Run, spec: BundleSpec, out: Path, reporter: Reporter, *, force: bool = False) -> Built:
    """Pack a variant of a run.

    Raises:
        OutputExistsError: there is another file or signature of that name, and `force` is not set.
        InputError: the run was changed since it was made, or a part of it is missing.
        MissingExtraError: what runs the variant is not installed here.
        ResourceError: the disk is full.
        SpecError: the options contradict each other.
        StageError: wheels could not be had.
    """
    check_spec(spec)
    check_place(out, is_signed=spec.key is not None, force=force)
    variant = run.variant(spec.variant)
    _check_listed(run, variant)
    check_hashes(variant.folder, variant.manifest)
    _check_name(run, variant)
    _check_cpu(variant)
    with told_plainly(out), output_lock(out, note=reporter.note), _workshop(out) as work:
        wheels, wheel_members, requirements = _wheels(variant, spec, work / WHEELS_FOLDER, reporter)
        with reporter.progress("transcribe golden clips", None):
            golden = expect(Transcriber.load(variant.folder), spec.speech)
        facts = _facts(run, variant, spec, golden, wheels)
        members = [
            *(_model_member(variant, entry) for entry in _model_entries(run, variant)),
            *_golden_members(spec.speech),
            *_text_members(run, variant, spec, facts),
            *wheel_members,
            Member(path=REQUIREMENTS_NAME, source=requirements.encode()),
        ]
        packed = _pack(facts, members, work / "packed", reporter)
        signed = None if spec.key is None else sign(packed.manifest, spec.key, work / "signing")
        put(packed.path, packed.sha256, signed, out, force=force)
        return replace(packed, path=out, signature=None if signed is None else signature_path(out))


def _check_listed(run: Run, variant: Variant) -> None:
    """Refuse a variant whose manifest is not the one that the run lists.

    Raises:
        InputError: it was changed, or put there by something else.
    """
    if _listed_manifest(run, variant).sha256 != sha256_of_file(variant.folder / MANIFEST_NAME):
        raise _unlisted(run, variant)


def _listed_manifest(run: Run, variant: Variant) -> FileEntry:
    """Return what a run lists of the manifest of a variant."""
    path = f"{variant.folder.name}/{MANIFEST_NAME}"
    for entry in run.manifest.files:
        if entry.path == path:
            return entry
    raise _unlisted(run, variant)


def _unlisted(run: Run, variant: Variant) -> InputError:
    return InputError(
        f"{variant.folder / MANIFEST_NAME} is not what {run.folder / MANIFEST_NAME} lists; make the run again"
    )


def _check_name(run: Run, variant: Variant) -> None:
    """Refuse names that no system-independent path can hold: the bundle's folder is called by them.

    Raises:
        InputError: it is such a name, or too long for the files below it.
    """
    name = _name(run, variant)
    if verify.name_problem(name) is not None:
        raise InputError(
            f"a bundle cannot be called {name!r}: want letters, digits and ._+!- only; rename the folder of the checkpoint "
            "and make the run again"
        )
    for entry in _model_entries(run, variant):
        _check_entry(name, _model_member(variant, entry).path, entry.size_bytes)


def _check_cpu(variant: Variant) -> None:
    """Refuse to write down wrong words as golden ones."""
    needed = {"cpu": cpu_of(variant.facts, _recipe(variant).quantize.instruction_set).model_dump(mode="json")}
    problem = verify.cpu_problem(needed, platform.machine(), verify.cpu_flags())
    if problem is not None:
        raise InputError(f"{variant.folder}: {problem}; pack it where its golden clips can be transcribed")


def _name(run: Run, variant: Variant) -> str:
    return f"{run.manifest.name}-{variant.name}"


def _recipe(variant: Variant) -> Recipe:
    return parse_recipe(variant.manifest.recipe or {}, variant.name)


@contextmanager
def _workshop(out: Path) -> Iterator[Path]:
    """Yield a folder beside an output; a fixed one, so that the next command removes what a kill left. The lock is held."""
    work = out.with_name(f".{out.name}.unfinished")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _wheels(
    variant: Variant, spec: BundleSpec, folder: Path, reporter: Reporter
) -> tuple[Wheels | None, list[Member], str]:
    """Return for what wheels there are, their members, and the device's requirements."""
    pinned = (*pin(variant.facts.format, spec.target), OWN)
    wheels, members = None, [Member(path=f"{WHEELS_FOLDER}/{WHEEL_NAME}", source=build_own_wheel())]
    if spec.target is not None:
        with reporter.progress(f"download wheels for {spec.target.platform}", None):
            wheels = download(pinned[:-1], spec.target, folder)
        members += [Member(path=f"{WHEELS_FOLDER}/{path.name}", source=path) for path in folder.iterdir()]
    named = ((member.path.rpartition("/")[2], member.source) for member in members)
    return wheels, members, lock(pinned, named)


def _facts(
    run: Run, variant: Variant, spec: BundleSpec, golden: tuple[GoldenClip, ...], wheels: Wheels | None
) -> BundleManifest:
    """Say everything but the files."""
    return BundleManifest(
        name=_name(run, variant),
        made_by=f"sottovoce bundle {__version__}",
        model=ModelFacts(
            name=run.manifest.name,
            variant=variant.name,
            format=variant.facts.format,
            layout=variant.facts.layout,
            is_multilingual=variant.facts.is_multilingual,
            size_bytes=sum(entry.size_bytes for entry in _model_entries(run, variant)),
            recipe_sha256=variant.manifest.recipe_sha256,
            parents=(_checkpoint(run), *variant.manifest.parents),
        ),
        toolchain=dict(sorted(variant.manifest.versions.items())),
        cpu=cpu_of(variant.facts, _recipe(variant).quantize.instruction_set),
        measured=spec.measured,
        floors=Floors(
            rtfx=spec.least_rtfx, peak_rss_bytes=_memory_limit(spec), token_agreement=TOKEN_AGREEMENT
        ),
        golden=golden,
        wheels=wheels,
        files=(),
    )


def _memory_limit(spec: BundleSpec) -> int | None:
    if spec.most_memory_mb is not None:
        return round(spec.most_memory_mb * 1e6)
    return None if spec.measured is None else int(MEMORY_MARGIN * spec.measured.peak_rss_bytes)


def _checkpoint(run: Run) -> Parent:
    return next(parent for parent in run.manifest.parents if parent.role == "checkpoint")


def _model_entries(run: Run, variant: Variant) -> tuple[FileEntry, ...]:
    """List the files of a variant as they were checked, whatever stands in its folder by now."""
    manifest = _listed_manifest(run, variant).model_copy(update={"path": MANIFEST_NAME})
    return (manifest, *variant.manifest.files)


def _model_member(variant: Variant, entry: FileEntry) -> Member:
    path = f"{MODEL_FOLDER}/{entry.path}"
    return Member(
        path=path, source=variant.folder / entry.path, listed=entry.model_copy(update={"path": path})
    )


def _golden_members(speech: Path) -> list[Member]:
    sources = [speech.parent / str(row["audio"]) for row in golden_rows(speech)]
    return [Member(path=f"{GOLDEN_FOLDER}/{source.name}", source=source) for source in sources]


def _text_members(run: Run, variant: Variant, spec: BundleSpec, facts: BundleManifest) -> list[Member]:
    recipe = yaml.safe_dump(variant.manifest.recipe, sort_keys=False, allow_unicode=True)
    licences = licence_files(_checkpoint(run), spec.model_licence)
    texts = {
        RECIPE_NAME: recipe.encode(),
        **{f"{LICENCES_FOLDER}/{name}": text for name, text in licences.items()},
        **device_files(facts, has_dockerfile=spec.has_dockerfile),
    }
    return [Member(path=path, source=text) for path, text in texts.items()]


def _pack(facts: BundleManifest, members: Sequence[Member], path: Path, reporter: Reporter) -> Built:
    """Hash the members and write the archive.

    Raises:
        InputError: a member has no place in a bundle, or is not what it was when it was checked.
    """
    ordered = sorted(members, key=lambda member: member.path)
    entries = tuple(_checked_entry(facts.name, member) for member in ordered)
    listed = [replace(member, listed=entry) for member, entry in zip(ordered, entries, strict=True)]
    manifest = facts.model_copy(update={"files": entries})
    raw, seal = write_manifest(manifest)
    parse_manifest(raw, seal)  # nothing is written that could not be read
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
