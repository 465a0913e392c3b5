"""Rules between the keys of a recipe: what the format, layout and schemes of a variant allow."""

import json
from collections.abc import Callable, Iterator, Mapping

from pydantic import BaseModel

from sottovoce.errors import SpecError
from sottovoce.recipes.recipe import ComponentQuantization, QuantizedVariant, Recipe
from sottovoce.terms import Component, ElasticSpec, Format, Layout, Scheme, Weights

Problems = Iterator[str]
"""Each names a key and says what to do."""


def check_formats(recipe: Recipe, where: str) -> None:
    """Check that each variant can be made in its format.

    Raises:
        SpecError: keys contradict each other; the message gives the first problem.
    """
    problem = next(_problems(recipe), None)
    if problem is not None:
        raise SpecError(f"recipe {where}: {problem}")


def _problems(recipe: Recipe) -> Problems:
    if recipe.baseline.layout is not Layout.STATELESS or recipe.baseline.weights is not Weights.FP32:
        yield "baseline must be stateless with fp32 weights; list others in exports"
    if recipe.baseline.format is not Format.OPENVINO:
        yield (
            f"baseline.format is {recipe.baseline.format}, but the baseline is OpenVINO, which "
            "calibration records; list others in exports"
        )
    yield from _in_exports(recipe)
    yield from _IN_FORMATS[recipe.quantize.format](recipe)


def _in_exports(recipe: Recipe) -> Problems:
    exports = ((f"exports.{i}", variant) for i, variant in enumerate(recipe.exports))
    for key, variant in (("baseline", recipe.baseline), *exports):
        if variant.format is Format.CTRANSLATE2:
            yield (
                f"{key}.format is ctranslate2; a CTranslate2 variant is made by quantize.format, "
                "with quantize.ctranslate2_type float32 or float16 for a float one"
            )
        if variant.format is Format.ONNX and variant.layout is Layout.STATEFUL:
            yield f"{key}.layout is stateful, but ONNX variants are stateless; leave the key out"
        if variant.merged and variant.format is not Format.ONNX:
            yield (
                f"{key}.merged is true, but only ONNX variants have merged decoders; set {key}.format "
                "to onnx or leave merged out"
            )


def _in_openvino(recipe: Recipe) -> Problems:
    yield from _in_changed_keys(recipe, _ONLY_CTRANSLATE2)
    yield from _in_tails(recipe.quantize.elastic)
    yield from _in_dynamic_activations(recipe.quantize)
    if recipe.quantize.layout is Layout.STATELESS:
        yield from _in_stateless(recipe.quantize)
    else:
        yield from _in_stateful(recipe)


def _in_tails(elastic: ElasticSpec | None) -> Problems:
    if elastic is None or elastic.silence_centroids is None:
        return
    for key in ("tail_s", "batch_tail_s"):
        value = getattr(elastic, key)
        if value != getattr(ElasticSpec(), key):
            yield (
                f"quantize.elastic.{key} is {value:g}, but there are no tails with silence_centroids; "
                "leave out one of them"
            )


def _in_dynamic_activations(variant: QuantizedVariant) -> Problems:
    for component in Component:
        patterns = variant.components.of(component).dynamic_activations
        if patterns and variant.dynamic_quantization_group_size == 0:
            yield (
                f"quantize.components.{component}.dynamic_activations is set, but nothing is quantized "
                "on the fly; set quantize.dynamic_quantization_group_size to 32, or leave the key out"
            )


def _in_stateless(variant: QuantizedVariant) -> Problems:
    if variant.elastic is not None and variant.elastic.silence_centroids is not None:
        yield (
            f"quantize.elastic.silence_centroids is {variant.elastic.silence_centroids}, but decoders of the "
            "stateless layout have no weight for each state; set quantize.layout to stateful"
        )
    if variant.kv_cache_precision is not None:
        yield (
            f"quantize.kv_cache_precision is {variant.kv_cache_precision}, but the "
            "stateless layout keeps nothing; set quantize.layout to stateful"
        )


def _in_stateful(recipe: Recipe) -> Problems:
    exports = (v for v in recipe.exports if v.layout is Layout.STATEFUL)
    if not any(variant.can_be_quantized_as(Format.OPENVINO) for variant in exports):
        yield "quantize.layout is stateful, but exports has no stateful variant with fp32 weights"
    components = recipe.quantize.components
    if components.decoder_with_past.scheme is not Scheme.FLOAT:
        yield (
            "a stateful variant has one decoder; set quantize.components.decoder.scheme, not decoder_with_past"
        )
    if components.decoder.scheme is Scheme.W8A8:
        yield (
            "the decoder of a stateful variant is w8, w4 or float; name the nodes with INT8 "
            "activations in quantize.components.decoder.int8_activations"
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
"""Keys of `quantize` that must not be set for an ONNX variant, and the reason."""

_NOT_IN_CTRANSLATE2 = {
    "layout": "CTranslate2 has a layout of its own",
    "elastic": "faster-whisper encodes windows of 30 s",
    "components": "CTranslate2 quantizes all of them alike, by ctranslate2_type",
    "weights": "ctranslate2_type is the type of the weights on disk",
    "inference_precision": "CTranslate2 chooses it by ctranslate2_type and by the CPU",
    "dynamic_quantization_group_size": "CTranslate2 quantizes activations of INT8 products on the fly anyway",
    "kv_cache_precision": "CTranslate2 keeps keys and values in the type that it computes in",
    "instruction_set": "CTranslate2 chooses its kernels by the CPU",
    "memory": "CTranslate2 has its own allocator",
    "int8_cross_keys": "CTranslate2 keeps cross-attention's keys float",
}
"""The same for a CTranslate2 variant."""


def _in_changed_keys(recipe: Recipe, reasons: Mapping[str, str]) -> Problems:
    """Yield the keys of `quantize` that do not have the format's default value."""
    default = QuantizedVariant(format=recipe.quantize.format)
    for key, why in reasons.items():
        value, expected = getattr(recipe.quantize, key), getattr(default, key)
        if value == expected:
            continue
        is_section = isinstance(value, BaseModel | ElasticSpec)
        found = "is set" if is_section else f"is {json.dumps(value)}"
        advice = "" if is_section else f" or set it to {json.dumps(expected)}"
        yield f"quantize.{key} {found}, but {why}; leave the key out{advice}"


def _in_onnx(recipe: Recipe) -> Problems:
    yield from _in_changed_keys(recipe, _NOT_IN_ONNX)
    elastic = recipe.quantize.elastic
    if elastic is not None and elastic.silence_centroids is not None:
        yield (
            f"quantize.elastic.silence_centroids is {elastic.silence_centroids}, but ONNX "
            "variants attend to the speech and a tail alone; leave the key out"
        )
    for component in Component:
        yield from _in_onnx_component(
            recipe.quantize.components.of(component), f"quantize.components.{component}"
        )
    if not any(variant.can_be_quantized_as(Format.ONNX) for variant in recipe.exports):
        yield (
            "quantize.format is onnx, but exports has no ONNX variant with fp32 weights; add "
            "{name: onnx-fp32, format: onnx} to exports"
        )


def _in_onnx_component(spec: ComponentQuantization, key: str) -> Problems:
    if spec.scheme is Scheme.W4:
        yield f"{key}.scheme is w4, but ONNX variants have INT8 weights; set it to w8"
    if spec.int8_activations:
        yield (
            f"{key}.int8_activations is set, but an ONNX component of scheme w8 quantizes all activations "
            "on the fly; leave the key out"
        )
    if spec.dynamic_activations:
        yield (
            f"{key}.dynamic_activations is set, but an ONNX component of scheme w8a8 quantizes all "
            "activations by recorded ranges; leave the key out"
        )
    if not spec.symmetric:
        yield (
            f"{key}.symmetric is false, but INT8 weights in ONNX variants have no zero point; leave the key out"
        )


def _in_ctranslate2(recipe: Recipe) -> Problems:
    yield from _in_changed_keys(recipe, _NOT_IN_CTRANSLATE2)


_IN_FORMATS: Mapping[Format, Callable[[Recipe], Problems]] = {
    Format.OPENVINO: _in_openvino,
    Format.ONNX: _in_onnx,
    Format.CTRANSLATE2: _in_ctranslate2,
}
