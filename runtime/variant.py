"""Where a variant lies, and what it was made to compute in."""

import json
from pathlib import Path
from typing import Any

from sottovoce.errors import InputError
from sottovoce.runtime.compute import ComputeSpec
from sottovoce.runtime.layout import component_path
from sottovoce.terms import Component, InferencePrecision, KvPrecision

MANIFEST_NAME = "manifest.json"


def find_variant(path: Path) -> Path:
    """Return the folder of the variant that a path means.

    Args:
        path: folder of a variant, or of a run.

    Raises:
        InputError: it is neither.
    """
    if component_path(path, Component.ENCODER).is_file():
        return path
    manifest = _read_manifest(path)
    if manifest.get("kind") != "run":
        raise InputError(f"{path} holds no variant; give the folder of a run or of a variant in it")
    name = str(manifest.get("recipe", {}).get("quantize", {}).get("name", ""))
    if not component_path(path / name, Component.ENCODER).is_file():
        raise InputError(f"{path} has no variant {name or 'that is quantized'}; name one of its folders")
    return path / name


def told_compute(folder: Path) -> ComputeSpec:
    """Return what a variant was made to compute in; f32 where nothing says."""
    facts = _read_manifest(folder).get("facts", {})
    kv_cache = facts.get("kv_cache_precision")
    return ComputeSpec(
        precision=InferencePrecision(facts.get("inference_precision", InferencePrecision.F32)),
        dynamic_quantization_group_size=int(facts.get("dynamic_quantization_group_size", 0)),
        kv_cache_precision=None if kv_cache is None else KvPrecision(kv_cache),
    )


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST_NAME
    if not folder.exists():
        raise InputError(f"{folder} does not exist; give the folder of a run or of a variant in it")
    if not path.is_file():
        return {}
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as cause:
        raise InputError(f"{path} cannot be read ({cause}); make the variant again") from cause
    return told if isinstance(told, dict) else {}
