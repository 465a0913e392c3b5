"""The cache of quantized components: which keys of a recipe make another component."""

from dataclasses import fields, replace
from enum import Enum
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from pydantic import BaseModel

from sottovoce.optimize.openvino.component_cache import IGNORED_ELASTIC_KEYS, IGNORED_KEYS, keys_of
from sottovoce.recipes.recipe import ComponentQuantization, ComponentSpecs, KeepFloat, QuantizedVariant
from sottovoce.terms import Component, ElasticSpec

VARIANT = QuantizedVariant(elastic=ElasticSpec())
OF_THE_VARIANT = sorted(set(QuantizedVariant.model_fields) - {"components", "elastic"})
COMPONENTS = list(Component)


def other(kind: Any, value: Any) -> Any:
    """Return another value of a key's type."""
    if get_origin(kind) in {Union, UnionType}:
        return other(next(part for part in get_args(kind) if part is not type(None)), value)
    if get_origin(kind) is tuple:
        return (KeepFloat(reason="test", names=("x",)),) if get_args(kind)[0] is KeepFloat else ("x",)
    if issubclass(kind, Enum):
        return next(choice for choice in kind if choice is not value)
    if kind is bool:
        return not value
    return f"{value}x" if kind is str else kind((value or 0) + 1)


def changed(model: BaseModel, key: str) -> Any:
    """Return a model with another value of a key."""
    kind = type(model).model_fields[key].annotation
    return model.model_copy(update={key: other(kind, getattr(model, key))})


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize("key", OF_THE_VARIANT)
def test_each_key_of_a_variant_makes_another_component_unless_it_is_ignored(
    key: str, component: Component
) -> None:
    is_same = keys_of(component, changed(VARIANT, key)) == keys_of(component, VARIANT)
    assert is_same == (key in IGNORED_KEYS)


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize("key", ComponentQuantization.model_fields)
def test_each_key_of_a_component_makes_another_one_and_leaves_the_others(
    key: str, component: Component
) -> None:
    spec = changed(VARIANT.components.of(component), key)
    variant = VARIANT.model_copy(
        update={"components": VARIANT.components.model_copy(update={component.value: spec})}
    )
    differing = [part for part in Component if keys_of(part, variant) != keys_of(part, VARIANT)]
    assert differing == [component]


@pytest.mark.parametrize("key", [field.name for field in fields(ElasticSpec)])
def test_each_key_of_an_elastic_encoder_makes_another_encoder_unless_it_is_ignored(key: str) -> None:
    value = other(get_type_hints(ElasticSpec)[key], getattr(ElasticSpec(), key))
    variant = VARIANT.model_copy(update={"elastic": replace(ElasticSpec(), **{key: value})})
    differing = [part for part in Component if keys_of(part, variant) != keys_of(part, VARIANT)]
    assert differing == ([] if key in IGNORED_ELASTIC_KEYS else [Component.ENCODER])


def test_an_encoder_of_the_whole_window_is_another_one() -> None:
    whole = VARIANT.model_copy(update={"elastic": None})
    assert keys_of(Component.ENCODER, whole) != keys_of(Component.ENCODER, VARIANT)
    assert keys_of(Component.DECODER, whole) == keys_of(Component.DECODER, VARIANT)


def test_a_key_that_a_later_version_adds_makes_another_component() -> None:
    class LaterSpec(ComponentQuantization):
        new_key: int = 0

    class LaterVariant(QuantizedVariant):
        new_key: int = 0

    def keys(variant: int, encoder: int) -> dict[str, object]:
        specs = ComponentSpecs(encoder=LaterSpec(new_key=encoder))
        return keys_of(Component.ENCODER, LaterVariant(new_key=variant, components=specs))

    assert len({str(keys(0, 0)), str(keys(1, 0)), str(keys(0, 1))}) == 3
