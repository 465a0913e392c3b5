"""Read recipes: by name or from a file, with single keys overridden, and with errors that a person can act on.

An unknown key, a wrong type or a bad choice is an error that names the file, the path of the key and the nearest
valid name.
"""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from sottovoce.errors import SpecError, nearest
from sottovoce.recipes.recipe import Recipe
from sottovoce.recipes.rules import check_formats

RECIPE_SUFFIX = ".yaml"

MAX_SHOWN = 5
"""Errors of a recipe in one message."""


def ready_recipes() -> dict[str, str]:
    """Return the text of each recipe that sottovoce ships, by name."""
    return {
        entry.name.removesuffix(RECIPE_SUFFIX): entry.read_text(encoding="utf-8")
        for entry in files("sottovoce").joinpath("configs").iterdir()
        if entry.name.endswith(RECIPE_SUFFIX)
    }


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe by name or from a file, with single keys replaced.

    Args:
        name_or_path: name of a ready recipe (`int8`) or path of a YAML file.
        overrides: `key.path=value`, the value in YAML; the last one wins.

    Raises:
        SpecError: unknown recipe, a file that is not YAML, or an invalid key or value.
    """
    text, where = _recipe_text(name_or_path)
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as cause:
        line = " ".join(str(cause).split())
        raise SpecError(f"recipe {where} is not YAML: {line}") from cause
    if not isinstance(raw, dict):
        raise SpecError(f"recipe {where} holds no keys; want name, description, quantize and so on")
    for override in overrides:
        _override(raw, override)
    return parse_recipe(raw, where)


def override_recipe(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """Return a recipe with single keys replaced (`key.path=value`, the value in YAML).

    Raises:
        SpecError: an invalid key or value.
    """
    raw = recipe.resolved()
    for override in overrides:
        _override(raw, override)
    return parse_recipe(raw, f"{recipe.name} with --set")


def parse_recipe(raw: Mapping[str, Any], where: str) -> Recipe:
    """Validate a recipe.

    Raises:
        SpecError: unknown keys, wrong types or bad choices, the first five in one message; or keys that contradict each other.
    """
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as cause:
        errors = cause.errors()
        more = f"; and {len(errors) - MAX_SHOWN} more" if len(errors) > MAX_SHOWN else ""
        message = "; ".join(map(_explain, errors[:MAX_SHOWN])) + more
        raise SpecError(f"recipe {where}: {message}") from cause
    names = [variant.name for variant in recipe.float_variants] + [recipe.quantize.name]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SpecError(f"recipe {where}: two variants are named {twice}; each needs a name of its own")
    check_formats(recipe, where)
    return recipe


def _recipe_text(name_or_path: str) -> tuple[str, str]:
    ready = ready_recipes()
    if name_or_path in ready:
        return ready[name_or_path], name_or_path
    path = Path(name_or_path)
    if path.is_file():
        try:
            return path.read_text(encoding="utf-8"), name_or_path
        except UnicodeDecodeError as cause:
            raise SpecError(f"recipe {name_or_path} is not a text file") from cause
    names = ", ".join(sorted(ready))
    raise SpecError(
        f"unknown recipe {name_or_path}{nearest(name_or_path, ready)} "
        f"(ready recipes: {names}; or give the path of a YAML file)"
    )


def _override(raw: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise SpecError(f"--set {override}: want KEY=VALUE, such as quantize.components.encoder.preset=mixed")
    *parents, last = key.split(".")
    here = raw
    for parent in parents:
        inner = here.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise SpecError(f"--set {override}: {parent} holds a value, not further keys")
        here = inner
    try:
        here[last] = yaml.safe_load(value)
    except yaml.YAMLError as cause:
        raise SpecError(f"--set {override}: the value is not YAML") from cause


def _explain(error: Any) -> str:
    location = tuple(error["loc"])
    path = ".".join(map(str, location))
    if error["type"] in {"extra_forbidden", "unexpected_keyword_argument"}:
        known = _known_keys(location[:-1])
        return f"unknown key {path}{nearest(str(location[-1]), known)}"
    if error["type"] == "missing":
        return f"{path} is missing"
    if error["type"] == "enum":
        choices = [choice.strip(" '") for choice in error["ctx"]["expected"].replace(" or ", ",").split(",")]
        return (
            f"{path} is {error['input']}, want {' or '.join(choices)}{nearest(str(error['input']), choices)}"
        )
    wanted = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ").removeprefix("a ")
    return f"{path} is {json.dumps(error['input'], default=str)}, want {wanted}"


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    """List the keys that the schema allows at a location of the recipe."""
    schema = Recipe.model_json_schema()
    node: dict[str, Any] = schema
    for step in location:
        node = _resolve(node, schema)
        node = node.get("items", {}) if isinstance(step, int) else node.get("properties", {}).get(step, {})
    return list(_resolve(node, schema).get("properties", {}))


def _resolve(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    reference = node.get("$ref")
    if reference is None:
        return node
    found: dict[str, Any] = schema["$defs"][reference.rsplit("/", 1)[-1]]
    return found
