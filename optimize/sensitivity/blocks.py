"""The blocks of a component, and the recipe that quantizes one of them alone."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sottovoce.calibrate.extremes import constant_weight, weighted_operations
from sottovoce.errors import StageError
from sottovoce.optimize.openvino.graph import quantized_weight_names
from sottovoce.optimize.openvino.quantize_graph import kept_names, quantizable_names
from sottovoce.optimize.sensitivity.report import BlockKind
from sottovoce.recipes.recipe import ComponentQuantization, KeepFloat
from sottovoce.terms import Component, Scheme

LAYER = re.compile(r".*[.]layers[.](\d+)[.]")

CONVOLUTIONS_PATTERN = r".*[.]conv[12]/.*"

IN_LAYERS = {
    BlockKind.SELF_ATTENTION: r".*[.]layers[.]{layer}[.]self_attn[./].*",
    BlockKind.CROSS_ATTENTION: r".*[.]layers[.]{layer}[.]encoder_attn[./].*",
    BlockKind.FFN: r".*[.]layers[.]{layer}[.]fc[12]/.*",
}

OUTPUT_PATTERN = r".*[.](proj_out|embed_tokens|embed_positions)/.*"
"""The output layer with the embeddings; it shares its weights with the token embedding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelBlock:
    """A block of a component, which is quantized alone.

    Attributes:
        layer: from 0; None outside the layers.
        pattern: regular expression that matches the start of its nodes' friendly names and of no others.
        names: friendly names of its nodes that NNCF can quantize.
        weights: names of its convolutions and matrix products with a weight that the recipe quantizes.
    """

    component: Component
    kind: BlockKind
    layer: int | None
    pattern: str
    names: frozenset[str]
    weights: frozenset[str]


def find_blocks(model: Any, component: Component, spec: ComponentQuantization) -> tuple[ModelBlock, ...]:
    """Find the blocks of a component that a recipe quantizes, in the order of execution.

    Args:
        model: `openvino.Model` in float32, of either layout.

    Raises:
        StageError: a weight belongs to no block.
    """
    names = frozenset(quantizable_names(model))
    weights = _weight_names(model) - kept_names(model, spec)
    found = [
        ModelBlock(
            component=component,
            kind=kind,
            layer=layer,
            pattern=pattern,
            names=_matching(pattern, names),
            weights=_matching(pattern, weights),
        )
        for kind, layer, pattern in _patterns(component, _layers(names))
    ]
    left = weights - {name for block in found for name in block.weights}
    if left:
        raise StageError(
            f"{component}: {min(left)} belongs to no block of the model; this version of optimum-intel "
            "is not supported"
        )
    return tuple(block for block in found if block.weights)


def _weight_names(model: Any) -> frozenset[str]:
    return frozenset(
        operation.get_friendly_name()
        for operation in weighted_operations(model)
        if constant_weight(operation) is not None
    )


def _layers(names: frozenset[str]) -> list[int]:
    return sorted({int(found[1]) for name in names if (found := LAYER.match(name))})


def _patterns(component: Component, layers: list[int]) -> Iterator[tuple[BlockKind, int | None, str]]:
    if component is Component.ENCODER:
        yield BlockKind.CONVOLUTIONS, None, CONVOLUTIONS_PATTERN
    for layer in layers:
        for kind, pattern in IN_LAYERS.items():
            yield kind, layer, pattern.format(layer=layer)
    if component is not Component.ENCODER:
        yield BlockKind.OUTPUT, None, OUTPUT_PATTERN


def _matching(pattern: str, names: frozenset[str]) -> frozenset[str]:
    return frozenset(name for name in names if re.match(pattern, name))


def _fitting(patterns: Sequence[str], names: frozenset[str]) -> tuple[str, ...]:
    return tuple(pattern for pattern in patterns if _matching(pattern, names))


def alone(model: Any, block: ModelBlock, spec: ComponentQuantization) -> ComponentQuantization:
    """Return how a recipe quantizes a component, with every other block kept float.

    In a w4 component the output layer becomes INT8, as in the whole model; a ratio below 1 is a share of the block's
    own weights.
    """
    others = tuple(name for name in quantizable_names(model) if name not in block.names)
    changed: dict[str, object] = {
        "keep_float": (*spec.keep_float, KeepFloat(reason="another block", names=others)),
        "int8_activations": _fitting(spec.int8_activations, block.names),
        "dynamic_activations": _fitting(spec.dynamic_activations, block.names),
    }
    if spec.scheme is Scheme.W4 and block.kind is BlockKind.OUTPUT:
        changed |= {"scheme": Scheme.W8, "symmetric": False}  # as NNCF's backup mode
    return spec.model_copy(update=changed)


def check_alone(block: ModelBlock, quantized: Any) -> None:
    """Check that exactly the block's weights are quantized.

    Raises:
        StageError: a weight is quantized that should not be, or the other way round.
    """
    found = quantized_weight_names(quantized)
    if found != block.weights:
        wrong = sorted(found ^ block.weights)
        raise StageError(
            f"{block.component}: quantizing {block.pattern} alone made {len(found)} weights INT8, want "
            f"{len(block.weights)}; the first that differs is {wrong[0]}; this version of NNCF is not supported"
        )
