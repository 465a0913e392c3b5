"""What of a recipe goes together: which keys a variant's format, layout and components can have."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence

from pydantic import BaseModel

from sottovoce.errors import SpecError
from sottovoce.recipes.recipe import ComponentQuantization, FloatVariant, QuantizedVariant, Recipe
from sottovoce.terms import Component, ElasticSpec, Format, Layout, Scheme, Weights


def check_formats(recipe: Recipe, where: str) -> None:
    """Check that each variant can be made in its format.

    Args:
        recipe: its keys are valid one by one.
        where: what the recipe is called in messages.

    Raises:
        SpecError: keys that contradict each other; the message names one and says what to do.
    """
    if recipe.baseline.layout is not Layout.STATELESS or recipe.baseline.weights is not Weights.FP32:
        raise SpecError(
            f"recipe {where}: baseline must be stateless with fp32 weights; list others in exports"
        )
    if recipe.baseline.format is not Format.OPENVINO:
        raise SpecError(
            f"recipe {where}: baseline.format is {recipe.baseline.format}, but the baseline is OpenVINO, which "
            "calibration records; list others in exports"
        )
    _check_exports(recipe, where)
    _CHECKS[recipe.quantize.format](recipe, where)


def _check_exports(recipe: Recipe, where: str) -> None:
    """Check that each float variant has a format, a layout and graphs that go together."""
    for key, variant in (("baseline", recipe.baseline), *_numbered(recipe.exports)):
        if variant.format is Format.CTRANSLATE2:
            raise SpecError(
                f"recipe {where}: {key}.format is ctranslate2; a CTranslate2 variant is made by quantize.format, "
                "with quantize.ctranslate2_type float32 or float16 for a float one"
            )
        if variant.format is Format.ONNX and variant.layout is Layout.STATEFUL:
            raise SpecError(
                f"recipe {where}: {key}.layout is stateful, but ONNX variants are stateless; leave the key out"
            )
        if variant.merged and variant.format is not Format.ONNX:
            raise SpecError(
                f"recipe {where}: {key}.merged is true, but only ONNX variants have merged decoders; set {key}.format "
                "to onnx or leave merged out"
            )


def _numbered(variants: Sequence[FloatVariant]) -> Iterator[tuple[str, FloatVariant]]:
    return ((f"exports.{i}", variant) for i, variant in enumerate(variants))


def _check_openvino(recipe: Recipe, where: str) -> None:
    """Check that there is a variant to quantize, and that the scheme of each component fits its layout."""
    components = recipe.quantize.components
    _refuse_changed(recipe, where, _ONLY_CTRANSLATE2)
    _check_silence(recipe, where)
    _check_dynamic_activations(recipe, where)
    if recipe.quantize.layout is Layout.STATELESS:
        if recipe.quantize.elastic is not None and recipe.quantize.elastic.silence_centroids is not None:
            raise SpecError(
                f"recipe {where}: quantize.elastic.silence_centroids is {recipe.quantize.elastic.silence_centroids}, but "
                "decoders of the stateless layout cannot count silence; set quantize.layout to stateful"
            )
        if recipe.quantize.kv_cache_precision is not None:
            raise SpecError(
                f"recipe {where}: quantize.kv_cache_precision is {recipe.quantize.kv_cache_precision}, but the "
                "stateless layout keeps nothing; set quantize.layout to stateful"
            )
        return
    if not any(
        v.layout is Layout.STATEFUL and v.can_be_quantized_as(Format.OPENVINO) for v in recipe.exports
    ):
        raise SpecError(
            f"recipe {where}: quantize.layout is stateful, but exports has no stateful variant with fp32 weights"
        )
    if components.decoder_with_past.scheme is not Scheme.FLOAT:
        raise SpecError(
            f"recipe {where}: a stateful variant has one decoder; say quantize.components.decoder.scheme, "
            "not decoder_with_past"
        )
    if components.decoder.scheme is Scheme.W8A8:
        raise SpecError(
            f"recipe {where}: the decoder of a stateful variant is w8, w4 or float; name the nodes with INT8 "
            "activations in quantize.components.decoder.int8_activations"
        )


def _check_dynamic_activations(recipe: Recipe, where: str) -> None:
    """Check that activations which are to be quantized on the fly are."""
    if recipe.quantize.dynamic_quantization_group_size > 0:
        return
    for component in Component:
        if recipe.quantize.components.of(component).dynamic_activations:
            raise SpecError(
                f"recipe {where}: quantize.components.{component}.dynamic_activations is set, but nothing is quantized "
                "on the fly; set quantize.dynamic_quantization_group_size to 32, or leave the key out"
            )


def _check_silence(recipe: Recipe, where: str) -> None:
    """Check that an elastic variant has centroids of silence or a tail, not both."""
    elastic = recipe.quantize.elastic
    if elastic is None or elastic.silence_centroids is None:
        return
    for key in ("tail_s", "batch_tail_s", "states_bucket_s"):
        told = getattr(elastic, key)
        if told != getattr(ElasticSpec(), key):
            raise SpecError(
                f"recipe {where}: quantize.elastic.{key} is {told:g}, but there are no tails with silence_centroids; "
                "leave out one of them"
            )


_ONLY_CTRANSLATE2 = {"ctranslate2_type": "only CTranslate2 variants have one"}

_NOT_IN_ONNX = {
    **_ONLY_CTRANSLATE2,
    "layout": "ONNX variants are stateless",
    "inference_precision": "onnxruntime computes in f32 on CPUs",
    "dynamic_quantization_group_size": "onnxruntime quantizes activations of scheme w8 on the fly anyway",
    "kv_cache_precision": "the stateless layout keeps nothing",
    "instruction_set": "ONNX variants have 8-bit weights only",
    "int8_cross_keys": "ONNX variants keep cross-attention's keys float",
}
"""Keys of `quantize` that must not be set for an ONNX variant, and why."""

_NOT_IN_CTRANSLATE2 = {
    "layout": "CTranslate2 has a layout of its own",
    "elastic": "faster-whisper encodes windows of 30 s",
    "components": "CTranslate2 quantizes all of them alike, as ctranslate2_type says",
    "weights": "ctranslate2_type says what weights are on disk",
    "inference_precision": "CTranslate2 chooses it by ctranslate2_type and by the CPU",
    "dynamic_quantization_group_size": "CTranslate2 quantizes activations of INT8 products on the fly anyway",
    "kv_cache_precision": "CTranslate2 keeps keys and values as it computes",
    "instruction_set": "CTranslate2 chooses its kernels by the CPU",
    "int8_cross_keys": "CTranslate2 keeps cross-attention's keys float",
}
"""The same for a CTranslate2 variant."""


def _refuse_changed(recipe: Recipe, where: str, keys: Mapping[str, str]) -> None:
    """Refuse keys of `quantize` that do not have the value that they have when left out."""
    default = QuantizedVariant(format=recipe.quantize.format)
    for key, why in keys.items():
        told, expected = getattr(recipe.quantize, key), getattr(default, key)
        if told != expected:
            raise SpecError(
                f"recipe {where}: quantize.{key}{_short(told)}, but {why}; leave the key out{_instead(expected)}"
            )


def _short(told: object) -> str:
    return " is set" if isinstance(told, BaseModel) else f" is {json.dumps(told)}"


def _instead(expected: object) -> str:
    return "" if isinstance(expected, BaseModel) else f" or set it to {json.dumps(expected)}"


def _check_onnx(recipe: Recipe, where: str) -> None:
    """Check that there is an ONNX variant to quantize, and that nothing is asked for that ONNX variants do not have."""
    _refuse_changed(recipe, where, _NOT_IN_ONNX)
    if recipe.quantize.elastic is not None and recipe.quantize.elastic.silence_centroids is not None:
        raise SpecError(
            f"recipe {where}: quantize.elastic.silence_centroids is {recipe.quantize.elastic.silence_centroids}, but ONNX "
            "variants attend to the speech and a tail alone; leave the key out"
        )
    for component in Component:
        _check_onnx_component(
            recipe.quantize.components.of(component), f"quantize.components.{component}", where
        )
    if not any(variant.can_be_quantized_as(Format.ONNX) for variant in recipe.exports):
        raise SpecError(
            f"recipe {where}: quantize.format is onnx, but exports has no ONNX variant with fp32 weights; add "
            "{name: onnx-fp32, format: onnx} to exports"
        )


def _check_onnx_component(spec: ComponentQuantization, key: str, where: str) -> None:
    if spec.scheme is Scheme.W4:
        raise SpecError(
            f"recipe {where}: {key}.scheme is w4, but ONNX variants have INT8 weights; set it to w8"
        )
    if spec.int8_activations:
        raise SpecError(
            f"recipe {where}: {key}.int8_activations is set, but an ONNX component of scheme w8 quantizes all activations "
            "on the fly; leave the key out"
        )
    if spec.dynamic_activations:
        raise SpecError(
            f"recipe {where}: {key}.dynamic_activations is set, but an ONNX component of scheme w8a8 quantizes all "
            "activations by recorded ranges; leave the key out"
        )
    if not spec.symmetric:
        raise SpecError(
            f"recipe {where}: {key}.symmetric is false, but INT8 weights in ONNX variants have no zero point; leave the "
            "key out"
        )


def _check_ctranslate2(recipe: Recipe, where: str) -> None:
    _refuse_changed(recipe, where, _NOT_IN_CTRANSLATE2)


_CHECKS: Mapping[Format, Callable[[Recipe, str], None]] = {
    Format.OPENVINO: _check_openvino,
    Format.ONNX: _check_onnx,
    Format.CTRANSLATE2: _check_ctranslate2,
}
