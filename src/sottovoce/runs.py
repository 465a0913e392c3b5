"""A run: the folder that `optimize` writes and every later stage reads.

RUN/manifest.json      checkpoint, recipe, host and versions; the hashes of the manifests below
RUN/recipe.yaml        the resolved recipe
RUN/fp32/ int8/ ...    one folder for each variant, with its own manifest
RUN/calibration/       recorded calls, with their own manifest
RUN/sensitivity/       what each block costs, with its own manifest; only after `sottovoce sensitivity`
"""

from dataclasses import dataclass
from pathlib import Path

import yaml

from sottovoce.errors import InputError, nearest
from sottovoce.recipes.load import parse_recipe
from sottovoce.recipes.recipe import RESERVED_NAMES, Recipe
from sottovoce.runtime.live.options import CommitPolicy
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.storage.artifacts import MANIFEST_NAME, Manifest, describe, is_artifact, read_manifest
from sottovoce.storage.documents import Document
from sottovoce.terms import (
    Component,
    Ctranslate2Type,
    Format,
    InferencePrecision,
    KvPrecision,
    Layout,
    MemoryUse,
    Scheme,
    Weights,
)

RECIPE_NAME = "recipe.yaml"
CALIBRATION_NAME = "calibration"
SEARCH_NAME = "search"
SENSITIVITY_NAME = "sensitivity"


class Fidelity(Document):
    """How near a quantized component's first output is to the float one's on recorded calls."""

    n_calls: int
    """Calls compared, spread over the record."""
    relative_error: float
    """Mean absolute error divided by mean absolute value, over all calls."""
    token_agreement: float
    """Share of calls whose last position has the same largest output; for a decoder, the next token."""


class ComponentFacts(Document):
    """Scheme, size and INT8 counts of a component."""

    scheme: Scheme
    size_bytes: int
    int8_weights: int
    int4_weights: int = 0
    int8_activations: int
    weighted_nodes: int
    fidelity: Fidelity | None = None


class Parity(Document):
    """How far an exported variant is from PyTorch when it is made."""

    n_clips: int
    encoder_max_difference: float
    """Largest absolute difference of encoder outputs, divided by the largest output."""
    identical_tokens: bool


class LiveRule(Document):
    """When words of a live transcription are final, as `sottovoce tune-live` measured it."""

    policy: CommitPolicy
    guard_s: float


class VariantFacts(Document):
    """Properties of a variant, in its manifest."""

    format: Format = Format.OPENVINO
    ctranslate2_type: Ctranslate2Type | None = None
    layout: Layout
    weights: Weights | None
    inference_precision: InferencePrecision
    dynamic_quantization_group_size: int = 0
    kv_cache_precision: KvPrecision | None = None
    memory: MemoryUse = MemoryUse.NORMAL
    is_multilingual: bool
    components: dict[Component, ComponentFacts]
    parity: Parity | None = None
    live: LiveRule | None = None

    @property
    def compute(self) -> ComputeSpec:
        """The precisions that the variant computes in, on all cores."""
        return ComputeSpec(
            precision=self.inference_precision,
            dynamic_quantization_group_size=self.dynamic_quantization_group_size,
            kv_cache_precision=self.kv_cache_precision,
            memory=self.memory,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A variant of a run, from its manifest."""

    name: str
    folder: Path
    manifest: Manifest
    facts: VariantFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished run on disk."""

    folder: Path
    manifest: Manifest
    recipe: Recipe
    variants: tuple[Variant, ...]
    calibration: Manifest | None

    @property
    def baseline(self) -> Variant:
        """The float32 variant that others are compared with."""
        return self.variant(self.recipe.baseline.name)

    @property
    def calibration_folder(self) -> Path:
        """The folder of the calibration record.

        Raises:
            InputError: the run has no record.
        """
        if self.calibration is None:
            raise InputError(
                f"{self.folder} has no calibration record; run `sottovoce calibrate {self.folder} --data SPEECH` first"
            )
        return self.folder / CALIBRATION_NAME

    def variant(self, name: str) -> Variant:
        """Return a variant by name.

        Raises:
            InputError: the run has no such variant.
        """
        for variant in self.variants:
            if variant.name == name:
                return variant
        names = [variant.name for variant in self.variants]
        raise InputError(
            f"{self.folder} has no variant {name}{nearest(name, names)} (it has {', '.join(names)})"
        )


def read_run(folder: Path) -> Run:
    """Read a run.

    Raises:
        InputError: the folder is not a finished run, or a part of it is damaged or missing.
    """
    if not folder.exists():
        raise InputError(
            f"{folder} does not exist; make a run with `sottovoce optimize MODEL --out {folder}`"
        )
    manifest = read_manifest(folder)
    if manifest.kind != "run":
        wanted = "the run that was measured" if manifest.kind == "results" else "the run folder above it"
        raise InputError(f"{folder} {describe(folder)}, want {wanted}")
    recipe = parse_recipe(_read_yaml(folder / RECIPE_NAME), str(folder / RECIPE_NAME))
    variants = tuple(_read_variant(folder / name) for name in _variant_names(folder, recipe))
    if not variants or variants[0].name != recipe.baseline.name:
        raise InputError(f"{folder} has lost its baseline {recipe.baseline.name}; make the run again")
    calibration = folder / CALIBRATION_NAME
    return Run(
        folder=folder,
        manifest=manifest,
        recipe=recipe,
        variants=variants,
        calibration=read_manifest(calibration) if is_artifact(calibration) else None,
    )


def _variant_names(folder: Path, recipe: Recipe) -> list[str]:
    """List the variants of a run: those of its recipe in their order, then others by name."""
    parts = {path.parent.name for path in folder.glob(f"[!.]*/{MANIFEST_NAME}")} - RESERVED_NAMES
    # Users may put results into a run.
    found = {name for name in parts if read_manifest(folder / name).kind == "variant"}
    ordered = [
        name for name in (*(v.name for v in recipe.float_variants), recipe.quantize.name) if name in found
    ]
    return ordered + sorted(found - set(ordered))


def _read_yaml(path: Path) -> dict[str, object]:
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as cause:
        raise InputError(f"{path} cannot be read ({cause}); make the run again") from cause
    return raw if isinstance(raw, dict) else {}


def _read_variant(folder: Path) -> Variant:
    manifest = read_manifest(folder)
    check_files(folder, manifest)
    return Variant(
        name=manifest.name,
        folder=folder,
        manifest=manifest,
        facts=VariantFacts.model_validate(manifest.facts, strict=False),
    )


def check_files(folder: Path, manifest: Manifest) -> None:
    """Check that an artifact's files exist with their sizes; `verify` checks their hashes.

    Raises:
        InputError: a file is missing or has another size.
    """
    for entry in manifest.files:
        path = folder / entry.path
        size = path.stat().st_size if path.is_file() else None
        if size != entry.size_bytes:
            found = "is missing" if size is None else f"has {size} bytes"
            raise InputError(
                f"{path} {found}, {MANIFEST_NAME} lists {entry.size_bytes} bytes; the folder is damaged, make it again"
            )
