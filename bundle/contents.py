"""What goes into a bundle: model files, golden clips, texts and the facts of `bundle.json`."""

import json
from dataclasses import dataclass
from pathlib import Path

import yaml

from sottovoce import __version__
from sottovoce.bundle.archive import Member
from sottovoce.bundle.manifest import (
    GOLDEN_FOLDER,
    LICENCES_FOLDER,
    MODEL_FOLDER,
    BundleManifest,
    Cpu,
    Floors,
    GoldenClip,
    Measured,
    ModelFacts,
    Wheels,
)
from sottovoce.bundle.self_test import tokens_of, transcribe_golden
from sottovoce.bundle.texts import device_files, licence_files
from sottovoce.bundle.wheels import Target
from sottovoce.errors import InputError
from sottovoce.machine.cpu import ARM, VNNI, X86
from sottovoce.recipes.load import parse_recipe
from sottovoce.recipes.recipe import Recipe
from sottovoce.runs import RECIPE_NAME, Run, Variant, VariantFacts
from sottovoce.runtime.protocol import Transcriber
from sottovoce.storage.artifacts import MANIFEST_NAME, FileEntry, Parent, sha256_of_file
from sottovoce.terms import Format, InstructionSet, Scheme

FAST_X86 = (*VNNI, "avx2")
FAST_ARM = ("i8mm", "asimddp")

GOLDEN_IDS = ("e01", "e11", "e19")
"""Demo clips of 3.5, 6.6 and 14.4 s from the evaluation split: a question, a list, names."""

MEMORY_MARGIN = 1.5
"""Memory limit of the self-test, relative to the benchmark: libraries and allocators differ."""

REAL_TIME = 1.0
TOKEN_AGREEMENT = 0.9
"""Kernels of other instruction sets round differently, which changes a word now and then; a broken model agrees in
under half of the tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleSpec:
    """The options of a bundle.

    Attributes:
        speech: manifest of the demo speech, which holds the golden clips.
        target: platform of the wheels; None: the device installs from a package index.
        model_licence: text of the checkpoint's licence, if sottovoce does not know it.
        least_rtfx: least speed in the self-test.
        most_memory_mb: largest resident set in the self-test, in 10^6 bytes; None: derived from `measured`.
        key: private key of the signature; None: unsigned.
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
class Packed:
    """The variant to pack, with the names that its files get.

    Attributes:
        entries: its files as they were checked, whatever its folder holds now.
    """

    run: Run
    variant: Variant
    entries: tuple[FileEntry, ...]

    @property
    def name(self) -> str:
        """Name of the bundle and of the folder at the top of its archive."""
        return f"{self.run.manifest.name}-{self.variant.name}"

    @property
    def recipe(self) -> Recipe:
        """Recipe of the variant."""
        return parse_recipe(self.variant.manifest.recipe or {}, self.variant.name)

    @property
    def checkpoint(self) -> Parent:
        """Checkpoint of the run."""
        return next(parent for parent in self.run.manifest.parents if parent.role == "checkpoint")

    @property
    def cpu(self) -> Cpu:
        """What the variant needs of a CPU."""
        return cpu_of(self.variant.facts, self.recipe.quantize.instruction_set)

    def members(self) -> list[Member]:
        """Return the files of the model."""
        return [
            Member(
                path=f"{MODEL_FOLDER}/{entry.path}",
                source=self.variant.folder / entry.path,
                listed=entry.model_copy(update={"path": f"{MODEL_FOLDER}/{entry.path}"}),
            )
            for entry in self.entries
        ]


def open_variant(run: Run, variant: Variant) -> Packed:
    """Take a variant whose manifest is the one that its run lists.

    Raises:
        InputError: the manifest was changed, or something else put it there.
    """
    path = f"{variant.folder.name}/{MANIFEST_NAME}"
    listed = next((entry for entry in run.manifest.files if entry.path == path), None)
    manifest = None if listed is None else listed.model_copy(update={"path": MANIFEST_NAME})
    if manifest is None or manifest.sha256 != sha256_of_file(variant.folder / MANIFEST_NAME):
        raise InputError(
            f"{variant.folder / MANIFEST_NAME} is not what {run.folder / MANIFEST_NAME} lists; make the run again"
        )
    return Packed(run=run, variant=variant, entries=(manifest, *variant.manifest.files))


def cpu_of(facts: VariantFacts, instruction_set: InstructionSet) -> Cpu:
    """Return what a variant needs of a CPU."""
    is_exact_only = (
        facts.format is Format.OPENVINO
        and instruction_set is InstructionSet.VNNI
        and any(part.int8_activations > 0 for part in facts.components.values())
    )
    is_quantized = any(part.scheme is not Scheme.FLOAT for part in facts.components.values())
    return Cpu(
        needed={X86: VNNI} if is_exact_only else {},
        recommended={X86: VNNI if is_quantized else FAST_X86, ARM: FAST_ARM},
    )


def bundle_facts(
    packed: Packed, spec: BundleSpec, golden: tuple[GoldenClip, ...], wheels: Wheels | None
) -> BundleManifest:
    """Return the manifest without its files."""
    variant = packed.variant
    return BundleManifest(
        name=packed.name,
        made_by=f"sottovoce bundle {__version__}",
        model=ModelFacts(
            name=packed.run.manifest.name,
            variant=variant.name,
            format=variant.facts.format,
            layout=variant.facts.layout,
            is_multilingual=variant.facts.is_multilingual,
            size_bytes=sum(entry.size_bytes for entry in packed.entries),
            recipe_sha256=variant.manifest.recipe_sha256,
            parents=(packed.checkpoint, *variant.manifest.parents),
        ),
        toolchain=dict(sorted(variant.manifest.versions.items())),
        cpu=packed.cpu,
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


def transcribe_golden_clips(transcriber: Transcriber, speech: Path) -> tuple[GoldenClip, ...]:
    """Transcribe the golden clips: a device has to give the same tokens."""
    return tuple(_golden_clip(transcriber, speech.parent, row) for row in _golden_rows(speech))


def _golden_rows(speech: Path) -> list[dict[str, object]]:
    rows = [json.loads(line) for line in speech.read_text(encoding="utf-8").splitlines()]
    by_id = {row["id"]: row for row in rows}
    return [by_id[clip_id] for clip_id in GOLDEN_IDS]


def _golden_clip(transcriber: Transcriber, folder: Path, row: dict[str, object]) -> GoldenClip:
    source, language = folder / str(row["audio"]), str(row["language"])
    transcript = transcribe_golden(transcriber, source, language)
    return GoldenClip(
        path=f"{GOLDEN_FOLDER}/{source.name}",
        language=language,
        duration_s=transcript.duration_s,
        reference=str(row["text"]),
        text=transcript.text,
        tokens=tokens_of(transcript),
    )


def golden_members(speech: Path) -> list[Member]:
    """Return the audio of the golden clips."""
    sources = [speech.parent / str(row["audio"]) for row in _golden_rows(speech)]
    return [Member(path=f"{GOLDEN_FOLDER}/{source.name}", source=source) for source in sources]


def text_members(packed: Packed, spec: BundleSpec, facts: BundleManifest) -> list[Member]:
    """Return recipe, licences and the files of `device/`."""
    recipe = yaml.safe_dump(packed.variant.manifest.recipe, sort_keys=False, allow_unicode=True)
    licences = licence_files(packed.checkpoint, spec.model_licence)
    texts = {
        RECIPE_NAME: recipe.encode(),
        **{f"{LICENCES_FOLDER}/{name}": text for name, text in licences.items()},
        **device_files(facts, has_dockerfile=spec.has_dockerfile),
    }
    return [Member(path=path, source=text) for path, text in texts.items()]
