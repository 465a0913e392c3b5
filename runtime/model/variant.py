"""Where a variant lies, and what it was made to compute in.

Both come from a `manifest.json` that may be a stranger's: a bundle's bytes are checked, its sense is not.
"""

import json
import re
from pathlib import Path
from typing import Any

from sottovoce.errors import InputError, SpecError
from sottovoce.runtime.live.options import CommitRule
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.layout import component_path
from sottovoce.terms import Component, InferencePrecision, KvPrecision, MemoryUse

MANIFEST_NAME = "manifest.json"

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*\Z")
"""Of a variant, as in recipes (`recipes.recipe.VariantName`): a single part of a path, so that none leads out of the run."""


def find_variant(path: Path) -> Path:
    """Return the folder of the variant that a path means.

    Args:
        path: folder of a variant, or of a run.

    Raises:
        InputError: it is neither.
    """
    if component_path(path, Component.ENCODER).is_file():
        return path
    manifest = read_variant_manifest(path)
    if manifest.get("kind") != "run":
        raise InputError(f"{path} holds no variant; give the folder of a run or of a variant in it")
    name = _quantized_name(manifest)
    if name is None or not component_path(path / name, Component.ENCODER).is_file():
        raise InputError(f"{path} has no variant {name or 'that is quantized'}; name one of its folders")
    return path / name


def variant_name(folder: Path) -> str:
    """Return the name of a variant, by its manifest or else its folder.

    Raises:
        InputError: its manifest is damaged.
    """
    name = read_variant_manifest(folder).get("name")
    return name if isinstance(name, str) and _NAME.match(name) else folder.name


def _quantized_name(manifest: dict[str, Any]) -> str | None:
    """Return the name of a run's quantized variant; None where there is none, or it is no name."""
    recipe = manifest.get("recipe")
    quantize = recipe.get("quantize") if isinstance(recipe, dict) else None
    name = quantize.get("name") if isinstance(quantize, dict) else None
    return name if isinstance(name, str) and _NAME.match(name) else None


def has_recorded_ranges(folder: Path) -> bool:
    """Return whether activations of a variant's encoder are in INT8, within ranges recorded in calibration.

    Raises:
        InputError: its manifest is damaged.
    """
    facts = read_variant_manifest(folder).get("facts")
    for key in ("components", Component.ENCODER, "int8_activations"):
        facts = facts.get(key) if isinstance(facts, dict) else None
    return isinstance(facts, int) and facts > 0


def read_compute(folder: Path) -> ComputeSpec:
    """Return what a variant was made to compute in; f32 where nothing says.

    Raises:
        InputError: its manifest is damaged.
    """
    facts = read_variant_manifest(folder).get("facts", {})
    try:
        return _compute(facts)
    except (TypeError, ValueError) as cause:
        raise InputError(
            f"{folder / MANIFEST_NAME} does not say what the variant computes in: {cause}; make the variant again"
        ) from cause


def _compute(facts: object) -> ComputeSpec:
    if not isinstance(facts, dict):
        raise TypeError(f"its facts are {facts!a:.80}")
    group_size = facts.get("dynamic_quantization_group_size", 0)
    if not isinstance(group_size, int) or group_size < 0:
        raise TypeError(f"{group_size!a:.80} is no size of groups")
    kv_cache = facts.get("kv_cache_precision")
    return ComputeSpec(
        precision=InferencePrecision(facts.get("inference_precision", InferencePrecision.F32)),
        dynamic_quantization_group_size=group_size,
        kv_cache_precision=None if kv_cache is None else KvPrecision(kv_cache),
        memory=MemoryUse(facts.get("memory", MemoryUse.NORMAL)),
    )


def read_commit_rule(folder: Path) -> CommitRule | None:
    """Return when words of a live transcription are final, as it was measured for a variant; None where it was not.

    Raises:
        InputError: its manifest is damaged.
    """
    facts = read_variant_manifest(folder).get("facts")
    found = facts.get("live") if isinstance(facts, dict) else None
    if found is None:
        return None
    try:
        return CommitRule(policy=found["policy"], guard_s=float(found["guard_s"]))
    except (LookupError, TypeError, ValueError, SpecError) as cause:
        raise InputError(
            f"{folder / MANIFEST_NAME} does not say when live words are final: {cause}; run `sottovoce tune-live` again"
        ) from cause


def read_variant_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest in a folder; empty where there is none.

    Raises:
        InputError: the folder does not exist, or the manifest is damaged.
    """
    path = folder / MANIFEST_NAME
    if not folder.exists():
        raise InputError(f"{folder} does not exist; give the folder of a run or of a variant in it")
    if not path.is_file():
        return {}
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as cause:
        raise InputError(f"{path} cannot be read ({cause}); make the variant again") from cause
    if not isinstance(manifest, dict):
        raise InputError(f"{path} is no manifest; make the variant again")
    return manifest
