"""Recipes: what a person writes to say how a model is made small.

A recipe is a YAML file, read into `Recipe`. Unknown keys, wrong types and bad choices are errors
that name the file, the path of the key and the nearest valid name. Ready recipes are in
`configs/`, with the JSON schema that editors use.
"""

import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from sottovoce.errors import SpecError, nearest
from sottovoce.recipes.rules import check_formats
from sottovoce.storage.artifacts import canonical_sha256
from sottovoce.terms import (
    BiasCorrection,
    Component,
    Ctranslate2Type,
    Format,
    InferencePrecision,
    InstructionSet,
    KvPrecision,
    Layout,
    Preset,
    RangeEstimator,
    Scheme,
    Weights,
)

RECIPE_SUFFIX = ".yaml"


class Spec(BaseModel):
    """Base of what a person writes: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class KeepFloat(Spec):
    """Nodes that stay float, and why."""

    reason: str
    """Why these nodes are not quantized."""
    names: tuple[str, ...] = ()
    """Friendly names of nodes."""
    types: tuple[str, ...] = ()
    """Operation types, such as `ScaledDotProductAttention`."""
    patterns: tuple[str, ...] = ()
    """Regular expressions over friendly names."""

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if not (self.names or self.types or self.patterns):
            raise ValueError("at least one of names, types and patterns")
        return self

    def fits(self, name: str, type_name: str) -> bool:
        """Tell whether a node is one of these, by its friendly name and its operation type."""
        return (
            name in self.names
            or type_name in self.types
            or any(re.match(pattern, name) for pattern in self.patterns)
        )


WEIGHT_ONLY = (Scheme.W8, Scheme.W4)
"""Schemes that leave activations float."""

SCHEMES_OF_KEYS: Mapping[str, tuple[Scheme, ...]] = {
    "symmetric": WEIGHT_ONLY,
    "group_size": (Scheme.W4,),
    "ratio": (Scheme.W4,),
    "awq": (Scheme.W4,),
    "scale_estimation": (Scheme.W4,),
}
"""Keys that mean something in these schemes only. Those of w8a8 may stand where a component is float for a while."""


class ComponentQuantization(Spec):
    """How one component becomes INT8."""

    scheme: Scheme = Scheme.FLOAT
    """float; w8a8: INT8 weights and activations; w8: INT8 weights only; w4: INT4 weights only."""
    preset: Preset = Preset.MIXED
    """mixed: asymmetric activations; performance: symmetric ones."""
    smooth_quant_alpha: float | None = Field(default=0.5, ge=0, le=1)
    """SmoothQuant's migration strength for matrix products; null turns SmoothQuant off."""
    bias_correction: BiasCorrection = BiasCorrection.FAST
    """Of a w8a8 component: fast corrects biases from layer-wise statistics, accurate by running the model."""
    activation_range: RangeEstimator = RangeEstimator.DEFAULT
    """Of a w8a8 component: how the ranges of activations are estimated."""
    weight_range: RangeEstimator = RangeEstimator.DEFAULT
    """Of a w8a8 component: how the ranges of weights are estimated."""
    symmetric: bool = True
    """Of a w8 or w4 component: weights without a zero point."""
    group_size: int = Field(default=128, ge=-1, le=4096)
    """Of a w4 component: weights that share a scale; -1: all of a channel."""
    ratio: float = Field(default=1.0, ge=0, le=1)
    """Of a w4 component: share of the weights that become INT4, the least sensitive ones; the rest is INT8."""
    awq: bool = False
    """Of a w4 component: scale channels by their activations first (activation-aware quantization)."""
    scale_estimation: bool = False
    """Of a w4 component: choose scales that keep the outputs of recorded calls."""
    keep_float: tuple[KeepFloat, ...] = ()
    """Nodes that stay float."""
    int8_activations: tuple[str, ...] = ()
    """Of a w8 component: regular expressions over friendly names, of nodes whose activations are INT8 too."""
    dynamic_activations: tuple[str, ...] = ()
    """Of a w8a8 component: the same, of nodes whose activations are quantized on the fly, not by recorded ranges."""

    @model_validator(mode="after")
    def _fits_its_scheme(self) -> Self:
        if self.int8_activations and self.scheme is not Scheme.W8:
            raise ValueError("int8_activations only where scheme is w8")
        if self.dynamic_activations and self.scheme in WEIGHT_ONLY:
            raise ValueError("dynamic_activations only where scheme is w8a8")
        if self.keep_float and self.scheme in WEIGHT_ONLY:
            raise ValueError(f"keep_float only where scheme is w8a8; of {self.scheme} no weight stays float")
        for key, schemes in SCHEMES_OF_KEYS.items():
            if self.scheme not in schemes and getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key} only where scheme is {' or '.join(schemes)}")
        return self

    def has_recorded_range(self, name: str, type_name: str) -> bool:
        """Tell whether what a node takes is quantized by a recorded range: not float, and not on the fly."""
        return (
            self.scheme is Scheme.W8A8
            and not any(keep.fits(name, type_name) for keep in self.keep_float)
            and not any(re.match(pattern, name) for pattern in self.dynamic_activations)
        )


class ComponentSpecs(Spec):
    """How each component of the INT8 variant is quantized."""

    encoder: ComponentQuantization = ComponentQuantization()
    decoder: ComponentQuantization = ComponentQuantization()
    """The first pass over the prompt. The classic recipe leaves it float."""
    decoder_with_past: ComponentQuantization = ComponentQuantization()
    """Every later step: one token each."""

    def of(self, component: Component) -> ComponentQuantization:
        """Return the specification of a component."""
        return {
            Component.ENCODER: self.encoder,
            Component.DECODER: self.decoder,
            Component.DECODER_WITH_PAST: self.decoder_with_past,
        }[component]


RESERVED_NAMES = frozenset({"calibration", "search", "sensitivity", "recipe.yaml", "manifest.json"})
"""What else stands in a run folder beside its variants."""


def _not_reserved(name: str) -> str:
    if name in RESERVED_NAMES:
        raise ValueError(f"a name other than {name}, which a run folder uses itself")
    return name


VariantName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$"), AfterValidator(_not_reserved)]


class FloatVariant(Spec):
    """A variant that is exported as it is."""

    name: VariantName
    format: Format = Format.OPENVINO
    """openvino or onnx; CTranslate2 variants are made by `quantize`."""
    weights: Weights = Weights.FP32
    layout: Layout = Layout.STATELESS
    merged: bool = False
    """Of an ONNX variant: write both decoders as one graph as well, which transformers.js wants."""

    def can_be_quantized_as(self, kind: Format) -> bool:
        """Tell whether an INT8 variant of a format can be made of it."""
        return self.format is kind and self.weights is Weights.FP32


class CalibrationSpec(Spec):
    """What is recorded for the ranges of activations."""

    n_clips: int = Field(default=64, ge=1, le=10_000)
    """Clips recorded; each gives one call of the encoder and one of the decoder for each token."""
    max_clip_s: float = Field(default=30.0, gt=0, le=30)
    """Longer clips are left out: Whisper's window is 30 s."""
    seed: int = 0
    """Which clips of the set are chosen."""


class ElasticSection(Spec):
    """How an elastic encoder cuts a window: encode the speech, append what silence would have given."""

    margin_s: float = Field(default=0.5, ge=0, le=30)
    """Padding that is encoded behind the speech, in seconds."""
    tail_s: float = Field(default=10.0, ge=0, le=30)
    """States of silence that are appended at least, in seconds of audio."""
    batch_tail_s: float = Field(default=5.0, ge=0, le=30)
    """The same where several windows are decoded together, as in long audio."""
    bucket_s: float = Field(default=1.0, gt=0, le=30)
    """Encoded lengths are rounded up to a multiple, above 10 s to one of twice as much: each takes memory."""
    states_bucket_s: float = Field(default=5.0, gt=0, le=30)
    """As much silence more is appended as makes a multiple: each number of states takes memory."""
    silence_centroids: int | None = Field(default=None, ge=1, le=255)
    """Keys of silence in each of the encoder's layers, and states for the decoder, that stand for all that was cut off:
    all 30 s are heard, and there are no tails. Needs the stateful layout; null gives tails."""


class QuantizedVariant(Spec):
    """The variant that the recipe is about."""

    name: VariantName = "int8"
    format: Format = Format.OPENVINO
    """openvino; onnx: made of the ONNX export with fp32 weights; ctranslate2: made of the checkpoint, components left out."""
    ctranslate2_type: Ctranslate2Type = Ctranslate2Type.INT8
    """Of a CTranslate2 variant: what its weights are on disk."""
    layout: Layout = Layout.STATELESS
    """stateless, as the baseline; stateful needs a stateful export with fp32 weights."""
    elastic: ElasticSection | None = None
    """Encode the speech of a window only; null encodes 30 s. Needs the runtime of sottovoce."""
    components: ComponentSpecs = ComponentSpecs()
    weights: Weights = Weights.FP16
    """The type on disk of the weights that stay float inside quantized components."""
    inference_precision: InferencePrecision = InferencePrecision.F32
    """What the nodes that stay float compute in; f32 where the CPU cannot compute in bf16 or f16."""
    dynamic_quantization_group_size: int = Field(default=0, ge=0, le=65_536)
    """Activations before INT8 weights are quantized on the fly, in groups of so many; 0: they stay float."""
    kv_cache_precision: KvPrecision | None = None
    """What a stateful decoder keeps self-attention's keys and values in; null: as float nodes compute."""
    instruction_set: InstructionSet = InstructionSet.VNNI
    """Of the CPU that it is for; avx2 gives weights 7 bits, so that INT8 products do not saturate there."""
    int8_cross_keys: bool = True
    """Quantize the keys of cross-attention once a clip, in the first decoder pass, not in each step; OpenVINO only,
    false by default in other formats."""

    @model_validator(mode="before")
    @classmethod
    def _keeps_cross_keys_float_in_other_formats(cls, told: Any) -> Any:
        if isinstance(told, dict) and told.get("format", Format.OPENVINO) != Format.OPENVINO:
            return {"int8_cross_keys": False, **told}
        return told


class SearchSection(Spec):
    """What `sottovoce search` tries, and on how many clips it judges."""

    choices: dict[str, tuple[object, ...]] = Field(min_length=1)
    """Values to try beside the recipe's own, by the path of a key: `quantize.components.encoder.smooth_quant_alpha`."""
    judge_clips: int = Field(default=48, ge=1, le=10_000)
    """Calibration clips that were not recorded, on which the tokens of each trial are compared with the baseline's."""
    timed_clips: int = Field(default=12, ge=1, le=1_000)
    """Of those, the clips on which each trial is timed against the baseline."""
    confirm_clips: int = Field(default=120, ge=1, le=10_000)
    """Further calibration clips, held back, on which word errors are counted."""


class Recipe(Spec):
    """A way to make a Whisper small."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    description: str
    """One or two sentences for people."""
    baseline: FloatVariant = FloatVariant(name="fp32")
    """What the benchmark compares with, and what calibration records."""
    exports: tuple[FloatVariant, ...] = ()
    """Further float variants."""
    calibration: CalibrationSpec = CalibrationSpec()
    quantize: QuantizedVariant = QuantizedVariant()
    search: SearchSection | None = None
    """What `sottovoce search` tries; for `search` only."""

    @property
    def quantized_from(self) -> FloatVariant:
        """The float variant that is quantized: the baseline, or the stateful or ONNX export.

        A CTranslate2 variant is made of the checkpoint and compared with the baseline.
        """
        if self.quantize.format is Format.ONNX:
            return next(variant for variant in self.exports if variant.can_be_quantized_as(Format.ONNX))
        if self.quantize.layout is Layout.STATELESS:
            return self.baseline
        return next(
            variant
            for variant in self.exports
            if variant.can_be_quantized_as(Format.OPENVINO) and variant.layout is Layout.STATEFUL
        )

    @property
    def float_variants(self) -> tuple[FloatVariant, ...]:
        """The baseline and the further float variants."""
        return (self.baseline, *self.exports)

    def resolved(self) -> dict[str, Any]:
        """Return the recipe with every default written out, as JSON values."""
        return self.model_dump(mode="json")

    def sha256(self) -> str:
        """Hash the resolved recipe."""
        return canonical_sha256(self.resolved())


def ready_recipes() -> dict[str, str]:
    """Return the text of each recipe that comes with sottovoce, by name."""
    return {
        entry.name.removesuffix(RECIPE_SUFFIX): entry.read_text(encoding="utf-8")
        for entry in files("sottovoce").joinpath("configs").iterdir()
        if entry.name.endswith(RECIPE_SUFFIX)
    }


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe by name or from a file, with single keys replaced.

    Args:
        name_or_path: a ready recipe (`int8`) or the path of a YAML file.
        overrides: `key.path=value`, the value in YAML; the last one wins.

    Raises:
        SpecError: unknown recipe, YAML that cannot be read, or a key that means nothing.
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
        SpecError: a key that means nothing, or a value that does not fit.
    """
    raw = recipe.resolved()
    for override in overrides:
        _override(raw, override)
    return parse_recipe(raw, f"{recipe.name} with --set")


def parse_recipe(raw: Mapping[str, Any], where: str) -> Recipe:
    """Check what a recipe file says.

    Raises:
        SpecError: an unknown key, a wrong type or a bad choice; all of them in one message.
    """
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as cause:
        told = "; ".join(_explain(error) for error in cause.errors())
        raise SpecError(f"recipe {where}: {told}") from cause
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
    if error["type"] == "extra_forbidden":
        known = _known_keys(location[:-1])
        return f"unknown key {path}{nearest(str(location[-1]), known)}"
    if error["type"] == "missing":
        return f"{path} is missing"
    if error["type"] == "enum":
        choices = [choice.strip(" '") for choice in error["ctx"]["expected"].replace(" or ", ",").split(",")]
        return (
            f"{path} is {error['input']}, want {' or '.join(choices)}{nearest(str(error['input']), choices)}"
        )
    told = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ").removeprefix("a ")
    return f"{path} is {json.dumps(error['input'], default=str)}, want {told}"


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    """Name the keys that the schema allows at a place of the recipe."""
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


def recipe_schema() -> str:
    """Return the JSON schema of recipes, for editors."""
    return json.dumps(Recipe.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":  # writes configs/recipe.schema.json: python -m sottovoce.recipes.recipe
    import sys

    sys.stdout.write(recipe_schema())
