"""What a variant computes, reads and keeps for each weight: of a ready recipe, or of a variant on disk."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sottovoce.errors import InputError
from sottovoce.machine.cpu import ARM, VNNI, X86
from sottovoce.machine.environment import Host
from sottovoce.runtime.model.elastic import PADDING_STATES_NAME
from sottovoce.runtime.model.layout import COMPONENT_FILES, format_of, layout_of
from sottovoce.runtime.model.shape import WhisperShape
from sottovoce.runtime.model.variant import read_variant_manifest
from sottovoce.runtime.planning.device import INT8
from sottovoce.terms import Component, Format, InferencePrecision, Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantCosts:
    """What decides on a variant's time and memory, for each of its weights.

    Attributes:
        name: of the recipe or the variant.
        encoder_kind: type of the encoder's products with weights: int8, bf16 or f32.
        float_kind: type of the other products.
        encoder_bytes: of a weight of the encoder.
        decoder_bytes: of a weight of the decoder.
        is_elastic: only the speech of a window is encoded.
        layout: of the decoder.
    """

    name: str
    encoder_kind: str
    float_kind: str
    encoder_bytes: float
    decoder_bytes: float
    is_elastic: bool
    layout: Layout


_FAST = VariantCosts(
    name="int8-fast",
    encoder_kind=INT8,
    float_kind="bf16",
    encoder_bytes=1,
    decoder_bytes=1,
    is_elastic=True,
    layout=Layout.STATEFUL,
)

RECIPES: Mapping[str, VariantCosts] = {
    costs.name: costs
    for costs in (
        _FAST,
        replace(_FAST, name="int8-no-vnni", float_kind="f32"),
        replace(_FAST, name="int8-weights", encoder_kind="bf16", is_elastic=False),
    )
}


def recipes_for(host: Host) -> tuple[VariantCosts, ...]:
    """Return the recipes that give right words on a machine: `int8-fast` needs VNNI, and nothing INT8 activations on ARM."""
    has_vnni = not set(VNNI).isdisjoint(host.instruction_sets)
    if host.machine in {ARM, "arm64"}:
        names: tuple[str, ...] = ("int8-weights",)
    elif host.machine in {X86, "AMD64"} and not has_vnni:
        names = ("int8-no-vnni", "int8-weights")
    else:
        names = ("int8-fast", "int8-weights")
    return tuple(RECIPES[name] for name in names)


def read_costs(folder: Path, shape: WhisperShape) -> VariantCosts:
    """Read what a variant costs from its files.

    Raises:
        InputError: it is no OpenVINO variant, or its manifest is damaged.
    """
    if format_of(folder) is not Format.OPENVINO:
        raise InputError(f"{folder} is no OpenVINO variant; others are not predicted")
    facts = read_variant_manifest(folder).get("facts", {})
    precision = str(facts.get("inference_precision", InferencePrecision.F32))
    layout = layout_of(folder)
    n_tables = 1 if layout is Layout.STATEFUL else 2
    decoder = sum(_size(folder, part) for part in (Component.DECODER, Component.DECODER_WITH_PAST))
    n_decoder = n_tables * (shape.step_weights + shape.table_weights) + shape.cross_weights
    return VariantCosts(
        name=folder.name,
        encoder_kind=INT8 if _n_int8_activations(facts) else precision,
        float_kind=precision,
        encoder_bytes=_size(folder, Component.ENCODER) / shape.encoder_weights,
        decoder_bytes=decoder / n_decoder,
        is_elastic=(folder / PADDING_STATES_NAME).is_file(),
        layout=layout,
    )


def _size(folder: Path, component: Component) -> int:
    path = folder / f"{COMPONENT_FILES[component]}.bin"
    return path.stat().st_size if path.is_file() else 0


def _n_int8_activations(facts: Any) -> int:
    for key in ("components", Component.ENCODER, "int8_activations"):
        facts = facts.get(key) if isinstance(facts, dict) else None
    return facts if isinstance(facts, int) else 0
