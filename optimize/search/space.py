"""The search space: values to try, by the path of a recipe's key."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sottovoce.errors import SpecError
from sottovoce.optimize.search.report import Settings
from sottovoce.recipes.load import parse_recipe
from sottovoce.recipes.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """The choices of a recipe.

    Attributes:
        recipe: without the section `search`.
        choices: at least two values for each key path, the recipe's own first.
    """

    recipe: Recipe
    choices: Mapping[str, tuple[object, ...]]

    @property
    def n_combinations(self) -> int:
        """Number of combinations, valid or not."""
        return math.prod(map(len, self.choices.values()))

    @property
    def own(self) -> Settings:
        """The recipe's own settings: the first trial."""
        return {path: values[0] for path, values in self.choices.items()}

    def with_settings(self, settings: Settings) -> Recipe:
        """Return the recipe with other values.

        Raises:
            SpecError: they contradict each other.
        """
        return _with(self.recipe, settings)


def space_of(recipe: Recipe) -> Space:
    """Read a recipe's choices.

    Raises:
        SpecError: it has none, or one of them is invalid.
    """
    if recipe.search is None:
        raise SpecError(
            f"recipe {recipe.name} has no section search; take --recipe search, or set search.choices in a recipe of your own"
        )
    plain = recipe.model_copy(update={"search": None})
    choices = {path: _values(plain, path, values) for path, values in recipe.search.choices.items()}
    return Space(recipe=_with_transcripts(plain, choices), choices=choices)


def _with_transcripts(recipe: Recipe, choices: Mapping[str, tuple[object, ...]]) -> Recipe:
    """Return a recipe that transcribes all recorded clips where one of its choices needs that."""
    tried = (_with(recipe, {path: value}) for path, values in choices.items() for value in values)
    if not any(each.quantize.needs_transcripts for each in tried):
        return recipe
    calibration = recipe.calibration.model_copy(update={"n_transcribed_clips": recipe.calibration.n_clips})
    return recipe.model_copy(update={"calibration": calibration})


def _values(recipe: Recipe, path: str, choices: tuple[object, ...]) -> tuple[object, ...]:
    """Return a key's distinct values as a resolved recipe has them, its own first."""
    if not path.startswith("quantize."):
        raise SpecError(
            f"recipe {recipe.name}: search.choices.{path}: a search changes keys of the section quantize only"
        )
    own = _look_up(recipe.resolved(), path, recipe.name)
    others = (_look_up(_with(recipe, {path: value}).resolved(), path, recipe.name) for value in choices)
    values = [own, *others]
    unique = {json.dumps(value, sort_keys=True): value for value in values}
    if len(unique) == 1:
        raise SpecError(
            f"recipe {recipe.name}: search.choices.{path} has one value only; give another, or none"
        )
    return tuple(unique.values())


def _look_up(resolved: Mapping[str, Any], path: str, name: str) -> object:
    here: Any = resolved
    for key in path.split("."):
        if not isinstance(here, Mapping) or key not in here:
            raise SpecError(f"recipe {name}: search.choices.{path}: the recipe has no such key")
        here = here[key]
    value: object = here
    return value


def _with(recipe: Recipe, settings: Settings) -> Recipe:
    raw = recipe.resolved()
    for path, value in settings.items():
        parent, last = _parent(raw, path, recipe.name)
        parent[last] = value
    changes = ", ".join(f"{path}={json.dumps(value)}" for path, value in settings.items())
    return parse_recipe(raw, f"{recipe.name} with {changes}")


def _parent(raw: dict[str, Any], path: str, name: str) -> tuple[dict[str, Any], str]:
    *parents, last = path.split(".")
    here: Any = raw
    for key in parents:
        here = here.get(key) if isinstance(here, dict) else None
    if not isinstance(here, dict):
        raise SpecError(f"recipe {name}: search.choices.{path}: the recipe has no such key")
    return here, last


def label(value: object) -> str:
    """Write a value as text for the study; equal values have equal labels."""
    return json.dumps(value, sort_keys=True)
