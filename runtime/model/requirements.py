"""What a variant needs of a machine, checked before it is loaded.

OpenVINO itself fails late and unclearly on a machine that lacks something, or gives wrong words.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sottovoce.errors import ResourceError
from sottovoce.machine.cpu import ARM, VNNI, architecture, lacks_all, why_lacking
from sottovoce.machine.resources import available_memory_bytes
from sottovoce.runtime.model.layout import format_of
from sottovoce.runtime.model.variant import read_variant_manifest
from sottovoce.terms import RECOMMENDED_RECIPE, Format, InstructionSet

AVX2 = ("avx2",)

PROCESS_BYTES = 200 << 20
WEIGHT_COPIES = 1.5
"""Least memory that a variant needs: Python with OpenVINO, and its weights on disk times this. That is 56 to
91 % of what a clip of 28 s takes with tiny.en and base (docs/lab-notes.md)."""

WEIGHT_SUFFIXES = frozenset({".bin", ".onnx", ".data"})

NO_VNNI_RECIPE = "int8-no-vnni"
ARM_RECIPE = "int8-weights"
NO_VNNI_RECIPES = f"{NO_VNNI_RECIPE} or {ARM_RECIPE}"
"""Their INT8 products are exact on every x86 CPU; `int8-weights` has none, and is right on ARM too (docs/lab-notes.md)."""

NO_AVX2_RECIPE = "ct2-int8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8Needs:
    """What a variant needs of INT8 instructions.

    Attributes:
        has_activations: it multiplies INT8 activations by INT8 weights.
        instruction_set: for which the weights were made.
    """

    has_activations: bool
    instruction_set: InstructionSet = InstructionSet.VNNI


def check_machine(folder: Path) -> None:
    """Refuse a variant that this machine cannot run, or that gives wrong words on it.

    Raises:
        ResourceError: the CPU lacks an instruction set, or memory is short; the message names a recipe that works here.
        InputError: the manifest of the variant is damaged.
    """
    manifest = read_variant_manifest(folder)
    problem = cpu_problem(format_of(folder), _int8_needs(manifest))
    if problem is not None:
        raise ResourceError(f"{folder} cannot run on this machine: {problem}")
    needed, available = least_memory_bytes(folder), available_memory_bytes()
    if needed > available:
        raise ResourceError(
            f"{folder} needs at least {needed / 1e6:.0f} MB of memory, {available / 1e6:.0f} MB are available; close other "
            "programs, or use a smaller model or the recipe int8-fast"
        )


def cpu_problem(format_: Format, needs: Int8Needs) -> str | None:
    """Return why this CPU cannot run a variant, and the recipe to use; None if it can, or its flags are unknown."""
    if format_ is not Format.OPENVINO:
        return None
    if lacks_all(AVX2):
        return f"OpenVINO needs AVX2, which {why_lacking(AVX2)}; a variant of the recipe {NO_AVX2_RECIPE} runs here"
    if needs.has_activations and architecture() == ARM:
        return f"OpenVINO computes INT8 activations wrongly on ARM; the recipe {ARM_RECIPE} works here"
    is_inexact = needs.has_activations and needs.instruction_set is InstructionSet.VNNI
    if is_inexact and lacks_all(VNNI):
        return f"it needs VNNI, which {why_lacking(VNNI)}: its products may overflow, and words be wrong; the recipe {NO_VNNI_RECIPES} works here"
    return None


def recommended_recipe() -> str:
    """Return the name of the recommended recipe for this CPU."""
    if architecture() == ARM:
        return ARM_RECIPE
    return NO_VNNI_RECIPE if lacks_all(VNNI) else RECOMMENDED_RECIPE


def least_memory_bytes(folder: Path) -> int:
    """Forecast the least memory that a process needs to load a variant and transcribe with it."""
    weights = sum(path.stat().st_size for path in folder.iterdir() if path.suffix in WEIGHT_SUFFIXES)
    return int(PROCESS_BYTES + WEIGHT_COPIES * weights)


def _int8_needs(manifest: dict[str, Any]) -> Int8Needs:
    """Read what a variant multiplies in INT8 from its manifest."""
    components = _section(_section(manifest, "facts"), "components")
    quantize = _section(_section(manifest, "recipe"), "quantize")
    is_avx2 = quantize.get("instruction_set") == InstructionSet.AVX2
    return Int8Needs(
        has_activations=any(_section(components, name).get("int8_activations") for name in components),
        instruction_set=InstructionSet.AVX2 if is_avx2 else InstructionSet.VNNI,
    )


def _section(content: dict[str, Any], key: str) -> dict[str, Any]:
    """Return a section of a manifest, which may be a stranger's; empty where it is none."""
    section = content.get(key)
    return section if isinstance(section, dict) else {}
