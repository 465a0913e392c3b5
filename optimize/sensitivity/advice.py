"""From blocks that are to stay float to what a recipe says of them."""

from collections.abc import Sequence
from typing import Any

import yaml
from pydantic import ValidationError

from sottovoce.optimize.sensitivity.report import Advice, BlockResult, Implication
from sottovoce.recipes.recipe import ComponentQuantization, ComponentSpecs, KeepFloat
from sottovoce.terms import Component

YAML_WIDTH = 110


def advise(
    blocks: Sequence[BlockResult], specs: ComponentSpecs
) -> tuple[tuple[Advice, ...], tuple[str, ...]]:
    """Say what a recipe would keep float, component by component.

    Args:
        blocks: with what they imply.
        specs: of the recipe whose blocks they are.

    Returns:
        The advice, and a sentence for each component whose scheme keeps no weight float.
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
    """Return what the recipe keeps float already."""
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
