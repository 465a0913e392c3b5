"""What a variant needs of a machine, checked before it is loaded.

OpenVINO itself fails late and unclearly on a machine that lacks something, or gives wrong words.
"""

from pathlib import Path
from typing import Any

from sottovoce.errors import ResourceError
from sottovoce.machine.cpu import VNNI, lacks_all, why_lacking
from sottovoce.machine.resources import available_memory_bytes
from sottovoce.runtime.model.layout import format_of
from sottovoce.runtime.model.variant import read_variant_manifest
from sottovoce.terms import Format, InstructionSet

AVX2 = ("avx2",)

PROCESS_BYTES = 200 << 20
WEIGHT_COPIES = 1.5
"""Least memory that a variant needs: Python with OpenVINO, and its weights on disk times this. That is 56 to
91 % of what a clip of 28 s takes with tiny.en and base (docs/lab-notes.md)."""

WEIGHT_SUFFIXES = frozenset({".bin", ".onnx", ".data"})

NO_VNNI_RECIPES = "int8-no-vnni or int8-weights"
"""Recipes whose INT8 products are exact on every x86 CPU."""

NO_AVX2_RECIPE = "ct2-int8"


def check_machine(folder: Path) -> None:
    """Refuse a variant that this machine cannot run, or that gives wrong words on it.

    Raises:
        ResourceError: the CPU lacks an instruction set, or memory is short; the message names a recipe that works here.
        InputError: the manifest of the variant is damaged.
    """
    manifest = read_variant_manifest(folder)
    problem = cpu_problem(format_of(folder), needs_vnni=_needs_vnni(manifest))
    if problem is not None:
        raise ResourceError(f"{folder} cannot run on this machine: {problem}")
    needed, available = least_memory_bytes(folder), available_memory_bytes()
    if needed > available:
        raise ResourceError(
            f"{folder} needs at least {needed / 1e6:.0f} MB of memory, {available / 1e6:.0f} MB are available; close other "
            "programs, or use a smaller model or the recipe int8-fast"
        )


def cpu_problem(format_: Format, *, needs_vnni: bool) -> str | None:
    """Return what this CPU lacks for a variant, and the recipe to use; None if it lacks nothing.

    Only x86 CPUs are examined: OpenVINO has no such limits on ARM.

    Args:
        needs_vnni: it multiplies INT8 activations by weights of 8 bits.
    """
    if format_ is not Format.OPENVINO:
        return None
    if lacks_all(AVX2):
        return f"OpenVINO needs AVX2, which {why_lacking(AVX2)}; a variant of the recipe {NO_AVX2_RECIPE} runs here"
    if needs_vnni and lacks_all(VNNI):
        return f"it needs VNNI, which {why_lacking(VNNI)}, and its words would be wrong; the recipe {NO_VNNI_RECIPES} works here"
    return None


def least_memory_bytes(folder: Path) -> int:
    """Forecast the least memory that a process needs to load a variant and transcribe with it."""
    weights = sum(path.stat().st_size for path in folder.iterdir() if path.suffix in WEIGHT_SUFFIXES)
    return int(PROCESS_BYTES + WEIGHT_COPIES * weights)


def _needs_vnni(manifest: dict[str, Any]) -> bool:
    """Return whether a variant has INT8 activations and weights of 8 bits, by its manifest."""
    components = _section(_section(manifest, "facts"), "components")
    has_activations = any(_section(components, name).get("int8_activations") for name in components)
    quantize = _section(_section(manifest, "recipe"), "quantize")
    return has_activations and quantize.get("instruction_set", InstructionSet.VNNI) == InstructionSet.VNNI


def _section(content: dict[str, Any], key: str) -> dict[str, Any]:
    """Return a section of a manifest, which may be a stranger's; empty where it is none."""
    section = content.get(key)
    return section if isinstance(section, dict) else {}
