"""The keys of a recipe: a YAML file that says how a model is exported, calibrated and quantized.

Ready recipes are in `configs/`, with the JSON schema that editors use.
"""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from sottovoce.storage.artifacts import canonical_sha256
from sottovoce.terms import (
    BiasCorrection,
    Component,
    Ctranslate2Type,
    ElasticSpec,
    Format,
    InferencePrecision,
    InstructionSet,
    KvPrecision,
    Layout,
    MemoryUse,
    Preset,
    RangeEstimator,
    Scheme,
    Weights,
)


class Spec(BaseModel):
    """Base of the sections of a recipe: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class KeepFloat(Spec):
    """Nodes that stay float, and the reason."""

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
        """Return whether a node is one of these, by its friendly name and its operation type."""
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
"""Keys that are allowed in these schemes only. Keys of w8a8 and w8 may stay where `scheme` is set to float."""


CROSS_ATTENTION_PATTERN = r".*encoder_attn\.[kv]_proj.*"
"""The projections of a decoder whose input is the encoder's output, whatever the tokens are."""

N_CHECKED_TRANSCRIPTS = 8
"""Clips that are transcribed where no range depends on tokens: they show whether the baseline works."""


class ComponentQuantization(Spec):
    """How one component becomes INT8."""

    scheme: Scheme = Scheme.FLOAT
    """float; w8a8: INT8 weights and activations; w8: INT8 weights only; w4: INT4 weights only."""
    preset: Preset = Preset.MIXED
    """mixed: asymmetric activations; performance: symmetric ones."""
    smooth_quant_alpha: float | None = Field(default=0.5, ge=0, le=1)
    """SmoothQuant's migration strength for matrix products; null turns SmoothQuant off."""
    bias_correction: BiasCorrection = BiasCorrection.FAST
    """For w8a8. fast corrects biases from layer-wise statistics, accurate by running the model."""
    activation_range: RangeEstimator = RangeEstimator.DEFAULT
    """For w8a8: how the ranges of activations are estimated."""
    weight_range: RangeEstimator = RangeEstimator.DEFAULT
    """For w8a8: how the ranges of weights are estimated."""
    symmetric: bool = True
    """For w8 and w4: weights without a zero point."""
    group_size: int = Field(default=128, ge=-1, le=4096)
    """For w4: number of weights that share a scale; -1: all of a channel."""
    ratio: float = Field(default=1.0, ge=0, le=1)
    """For w4: share of the weights that become INT4, the least sensitive ones; the rest is INT8."""
    awq: bool = False
    """For w4: scale channels by their activations first (activation-aware quantization)."""
    scale_estimation: bool = False
    """For w4: choose scales that keep the outputs of recorded calls."""
    keep_float: tuple[KeepFloat, ...] = ()
    """Nodes that stay float."""
    int8_activations: tuple[str, ...] = ()
    """For w8: regular expressions over friendly names of nodes whose activations are INT8 too."""
    dynamic_activations: tuple[str, ...] = ()
    """For w8a8: the same, for nodes whose activations are quantized on the fly, not by recorded ranges."""

    @model_validator(mode="after")
    def _fits_its_scheme(self) -> Self:
        if self.int8_activations and self.scheme not in (Scheme.W8, Scheme.FLOAT):
            raise ValueError("int8_activations only where scheme is w8")
        if self.dynamic_activations and self.scheme in WEIGHT_ONLY:
            raise ValueError("dynamic_activations only where scheme is w8a8")
        if self.keep_float and self.scheme in WEIGHT_ONLY:
            raise ValueError(f"keep_float only where scheme is w8a8; {self.scheme} leaves no weight float")
        for key, schemes in SCHEMES_OF_KEYS.items():
            if self.scheme not in schemes and getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key} only where scheme is {' or '.join(schemes)}")
        return self

    @property
    def depends_on_tokens(self) -> bool:
        """Whether a decoder of this section is quantized by recorded tokens, not by the encoder's output alone.

        Of the patterns of `int8_activations` only `CROSS_ATTENTION_PATTERN` counts as independent of tokens.
        """
        has_token_ranges = set(self.int8_activations) - {CROSS_ATTENTION_PATTERN}
        return (
            self.scheme is Scheme.W8A8
            or (self.scheme is Scheme.W8 and bool(has_token_ranges))
            or self.awq
            or self.scale_estimation
        )

    def has_recorded_range(self, name: str, type_name: str) -> bool:
        """Return whether the input of a node is quantized by a recorded range: not float, not on the fly."""
        return (
            self.scheme is Scheme.W8A8
            and not any(keep.fits(name, type_name) for keep in self.keep_float)
            and not any(re.match(pattern, name) for pattern in self.dynamic_activations)
        )


class ComponentSpecs(Spec):
    """How each component of the quantized variant is quantized."""

    encoder: ComponentQuantization = ComponentQuantization()
    decoder: ComponentQuantization = ComponentQuantization()
    """The first pass over the prompt. The classic recipe leaves it float."""
    decoder_with_past: ComponentQuantization = ComponentQuantization()
    """Each later step: one token."""

    def of(self, component: Component) -> ComponentQuantization:
        """Return the section of a component."""
        spec: ComponentQuantization = getattr(self, component)
        return spec


RESERVED_NAMES = frozenset({"calibration", "search", "sensitivity", "recipe.yaml", "manifest.json"})
"""Other entries of a run folder, which no variant may be named after."""


def _not_reserved(name: str) -> str:
    if name in RESERVED_NAMES:
        raise ValueError(f"a name other than {name}, which a run folder uses itself")
    return name


VariantName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$"), AfterValidator(_not_reserved)]


class FloatVariant(Spec):
    """A variant that is exported and not quantized."""

    name: VariantName
    format: Format = Format.OPENVINO
    """openvino or onnx; CTranslate2 variants are made by `quantize`."""
    weights: Weights = Weights.FP32
    layout: Layout = Layout.STATELESS
    merged: bool = False
    """For ONNX: also write both decoders as one graph, which transformers.js needs."""

    def can_be_quantized_as(self, format_: Format) -> bool:
        """Return whether an INT8 variant of a format can be made from it."""
        return self.format is format_ and self.weights is Weights.FP32


class CalibrationSpec(Spec):
    """What is recorded to estimate the ranges of activations."""

    n_clips: int = Field(default=64, ge=1, le=10_000)
    """Clips to record; each gives one call of the encoder and one of the decoder, for its prompt."""
    n_transcribed_clips: int | None = Field(default=None, ge=1, le=10_000)
    """The first of those, which are transcribed: each token is a further call. null: all where the recipe quantizes by
    tokens, otherwise 8."""
    max_clip_s: float = Field(default=30.0, gt=0, le=30)
    """Longer clips are left out: Whisper's window is 30 s."""
    seed: int = 0
    """Seed of the choice of clips."""


class QuantizedVariant(Spec):
    """The quantized variant."""

    name: VariantName = "int8"
    format: Format = Format.OPENVINO
    """openvino; onnx: made from the ONNX export with fp32 weights; ctranslate2: made from the checkpoint, without `components`."""
    ctranslate2_type: Ctranslate2Type = Ctranslate2Type.INT8
    """For CTranslate2: type of the weights on disk."""
    layout: Layout = Layout.STATELESS
    """stateless, like the baseline; stateful needs a stateful export with fp32 weights."""
    elastic: ElasticSpec | None = None
    """Encode only the speech of a window; null encodes 30 s. Needs the runtime of sottovoce."""
    components: ComponentSpecs = ComponentSpecs()
    weights: Weights = Weights.FP16
    """The type on disk of the weights that stay float inside quantized components."""
    inference_precision: InferencePrecision = InferencePrecision.F32
    """What the nodes that stay float compute in; f32 where the CPU cannot compute in bf16 or f16."""
    dynamic_quantization_group_size: int = Field(default=0, ge=0, le=65_536)
    """Activations before INT8 weights are quantized on the fly, in groups of this many; 0: they stay float."""
    kv_cache_precision: KvPrecision | None = None
    """Type of self-attention's keys and values in a stateful decoder; null: the type that float nodes compute in."""
    instruction_set: InstructionSet = InstructionSet.VNNI
    """Of the target CPU; avx2 gives weights 7 bits, so that INT8 products do not saturate there."""
    memory: MemoryUse = MemoryUse.NORMAL
    """What a process takes that transcribes with the variant, unless `--memory` says otherwise; low is for small devices."""
    int8_cross_keys: bool = True
    """Quantize the keys of cross-attention once for each clip, in the first decoder pass, not in each step. OpenVINO only;
    false by default in other formats."""

    @property
    def needs_transcripts(self) -> bool:
        """Whether a component is quantized by the tokens after the prompt."""
        takes_tokens = Component.DECODER if self.layout is Layout.STATEFUL else Component.DECODER_WITH_PAST
        return self.components.of(takes_tokens).depends_on_tokens

    @model_validator(mode="before")
    @classmethod
    def _keeps_cross_keys_float_in_other_formats(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and raw.get("format", Format.OPENVINO) != Format.OPENVINO:
            return {"int8_cross_keys": False, **raw}
        return raw


class SearchSection(Spec):
    """What `sottovoce search` tries, and on how many clips it compares."""

    choices: dict[str, tuple[object, ...]] = Field(min_length=1)
    """Values to try in addition to the recipe's own, by the path of a key: `quantize.components.encoder.smooth_quant_alpha`."""
    judge_clips: int = Field(default=48, ge=1, le=10_000)
    """Calibration clips that were not recorded, on which the tokens of each trial are compared with the baseline's."""
    timed_clips: int = Field(default=12, ge=1, le=1_000)
    """How many of those each trial is timed on against the baseline."""
    confirm_clips: int = Field(default=120, ge=1, le=10_000)
    """Further held-out calibration clips, on which word errors are counted."""


class Recipe(Spec):
    """How a Whisper is made small."""

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
    """What `sottovoce search` tries; such a recipe is for `search` only."""

    @property
    def quantized_from(self) -> FloatVariant:
        """The float variant that is quantized: the baseline, or the stateful or ONNX export.

        A CTranslate2 variant is made from the checkpoint and compared with the baseline.
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
    def n_transcribed_clips(self) -> int:
        """Recorded clips that are transcribed; of the others only the prompt is recorded."""
        n_clips = self.calibration.n_clips
        usual = n_clips if self.quantize.needs_transcripts else N_CHECKED_TRANSCRIPTS
        return min(self.calibration.n_transcribed_clips or usual, n_clips)

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


def recipe_schema() -> str:
    """Return the JSON schema of recipes, for editors."""
    return json.dumps(Recipe.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":  # writes configs/recipe.schema.json: python -m sottovoce.recipes.recipe
    import sys

    sys.stdout.write(recipe_schema())
