"""The rule which blocks are to stay float, and the keys of a recipe that follow from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import ValidationError

from sottovoce.optimize.sensitivity.report import Advice, BlockResult, Implication
from sottovoce.recipes.recipe import ComponentQuantization, ComponentSpecs, KeepFloat
from sottovoce.terms import Component

YAML_WIDTH = 110

MIN_DIVERGENCE_SHARE = 0.05
"""A block with a smaller share of the divergence of all blocks changes little, float or not."""

MIN_COST_RATIO = 3.0
"""Share of the divergence divided by share of the time saved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a block costs and saves when it alone is quantized.

    Attributes:
        divergence: nats per token, finite, not below 0.
        saved_s: seconds per clip; below 0 where it takes longer.
    """

    divergence: float
    saved_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """A block's shares of what all blocks cost and save, and what they imply.

    Attributes:
        divergence_share: of the sum of the divergences.
        saving_share: of the sum of the time saved; a block that saves none counts as 0.
    """

    divergence_share: float
    saving_share: float
    implies: Implication


def imply(costs: Sequence[Cost]) -> tuple[Assessment, ...]:
    """Assess each block.

    A block is to stay float where it causes at least 5 % of the divergence of all blocks, and where that share is at
    least three times its share of the time saved. So the blocks that stay float give up at most a third of the time
    that single blocks save. A block with as much divergence and a larger share of the time is worth it. One with less
    divergence is harmless, or no gain where it saves no time.
    """
    divergence = sum(cost.divergence for cost in costs)
    saved = sum(max(0.0, cost.saved_s) for cost in costs)
    return tuple(
        _assess(cost, _share(cost.divergence, divergence), _share(max(0.0, cost.saved_s), saved))
        for cost in costs
    )


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0


def _assess(cost: Cost, divergence_share: float, saving_share: float) -> Assessment:
    return Assessment(
        divergence_share=divergence_share,
        saving_share=saving_share,
        implies=_implication(cost, divergence_share, saving_share),
    )


def _implication(cost: Cost, divergence_share: float, saving_share: float) -> Implication:
    if divergence_share >= MIN_DIVERGENCE_SHARE:
        costs_too_much = divergence_share >= MIN_COST_RATIO * saving_share
        return Implication.KEEP_FLOAT if costs_too_much else Implication.WORTH_IT
    return Implication.HARMLESS if cost.saved_s > 0 else Implication.NO_GAIN


def advise(
    blocks: Sequence[BlockResult], specs: ComponentSpecs
) -> tuple[tuple[Advice, ...], tuple[str, ...]]:
    """Advise what a recipe should keep float, component by component.

    Returns:
        The advice, and a note for each component whose scheme keeps no weight float.
    """
    advice, notes = [], []
    for component in Component:
        kept = [b for b in blocks if b.component is component and b.implies is Implication.KEEP_FLOAT]
        if not kept:
            continue
        spec = specs.of(component)
        entries = [*_entries(spec), *(_entry(block) for block in kept)]
        if _is_accepted(spec, entries):
            advice.append(_advice(component, kept, entries))
        else:
            named = ", ".join(block.label for block in kept)
            notes.append(
                f"{component}: a {spec.scheme} component keeps no weight float, so nothing for {named}"
            )
    return tuple(advice), tuple(notes)


def _entries(spec: ComponentQuantization) -> list[dict[str, Any]]:
    """Return what the recipe keeps float now."""
    return [keep.model_dump(mode="json", exclude_defaults=True) for keep in spec.keep_float]


def _entry(block: BlockResult) -> dict[str, Any]:
    reason = (
        f"sensitivity: {block.label} causes {100 * block.divergence_share:.0f} % of the divergence of all blocks "
        f"and {100 * block.saving_share:.0f} % of the time saved"
    )
    return KeepFloat(reason=reason, patterns=(block.pattern,)).model_dump(mode="json", exclude_defaults=True)


def _is_accepted(spec: ComponentQuantization, entries: list[dict[str, Any]]) -> bool:
    try:
        ComponentQuantization.model_validate(spec.model_dump(mode="json") | {"keep_float": entries})
    except ValidationError:
        return False
    return True


def _advice(component: Component, kept: Sequence[BlockResult], entries: list[dict[str, Any]]) -> Advice:
    in_one_line = yaml.safe_dump(
        entries, default_flow_style=True, sort_keys=False, allow_unicode=True, width=float("inf")
    )
    nested = {"quantize": {"components": {str(component): {"keep_float": entries}}}}
    return Advice(
        component=component,
        blocks=tuple(block.label for block in kept),
        recipe=yaml.safe_dump(nested, sort_keys=False, allow_unicode=True, width=YAML_WIDTH),
        override=f"quantize.components.{component}.keep_float={in_one_line.strip()}",
    )
