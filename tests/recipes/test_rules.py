"""Rules between keys, by format: each error names the key and says what to do."""

import re
from collections.abc import Mapping

import pytest

from sottovoce.errors import SpecError
from sottovoce.recipes.load import load_recipe, override_recipe, parse_recipe
from sottovoce.recipes.recipe import QuantizedVariant, Recipe
from sottovoce.terms import Ctranslate2Type, Format

ONNX_EXPORT = {"name": "onnx-fp32", "format": "onnx"}


def parsed(quantize: Mapping[str, object], *exports: Mapping[str, object], **others: object) -> Recipe:
    raw = {"name": "mine", "description": "Mine.", "quantize": quantize, "exports": list(exports), **others}
    return parse_recipe(raw, "mine.yaml")


def onnx(**keys: object) -> dict[str, object]:
    return {"format": "onnx", **keys}


def ctranslate2(**keys: object) -> dict[str, object]:
    return {"format": "ctranslate2", **keys}


def test_an_onnx_variant_is_made_of_the_onnx_export_with_fp32_weights() -> None:
    half = {"name": "onnx-fp16", "format": "onnx", "weights": "fp16"}
    recipe = parsed(onnx(), {"name": "openvino-fp32"}, half, ONNX_EXPORT)
    assert recipe.quantized_from.name == "onnx-fp32"


def test_a_ctranslate2_variant_needs_no_export() -> None:
    recipe = parsed(ctranslate2(ctranslate2_type="bfloat16"))
    assert recipe.quantized_from.name == recipe.baseline.name
    assert recipe.quantize.ctranslate2_type is Ctranslate2Type.BFLOAT16


def test_a_stateful_export_in_another_format_is_not_what_openvino_quantizes() -> None:
    recipe = parsed({"layout": "stateful"}, ONNX_EXPORT, {"name": "s", "layout": "stateful"})
    assert recipe.quantized_from.name == "s"


@pytest.mark.parametrize("kind", [Format.ONNX, Format.CTRANSLATE2])
def test_keys_of_cross_attention_stay_float_in_other_formats(kind: Format) -> None:
    assert QuantizedVariant().int8_cross_keys
    assert not QuantizedVariant(format=kind).int8_cross_keys
    recipe = parsed({"format": kind.value}, ONNX_EXPORT)
    assert parse_recipe(recipe.resolved(), "again").sha256() == recipe.sha256()


@pytest.mark.parametrize(
    ("keys", "key", "advice"),
    [
        ({"layout": "stateful"}, 'quantize.layout is "stateful"', 'or set it to "stateless"'),
        ({"inference_precision": "bf16"}, 'quantize.inference_precision is "bf16"', 'or set it to "f32"'),
        (
            {"dynamic_quantization_group_size": 32},
            "quantize.dynamic_quantization_group_size is 32",
            "set it to 0",
        ),
        ({"kv_cache_precision": "u8"}, 'quantize.kv_cache_precision is "u8"', "or set it to null"),
        ({"instruction_set": "avx2"}, 'quantize.instruction_set is "avx2"', 'or set it to "vnni"'),
        ({"int8_cross_keys": True}, "quantize.int8_cross_keys is true", "or set it to false"),
        ({"ctranslate2_type": "float16"}, 'quantize.ctranslate2_type is "float16"', "leave the key out"),
        (
            {"elastic": {"silence_centroids": 48}},
            "quantize.elastic.silence_centroids is 48",
            "leave the key out",
        ),
        (
            {"components": {"decoder": {"scheme": "w4"}}},
            "quantize.components.decoder.scheme is w4",
            "set it to w8",
        ),
        (
            {"components": {"decoder": {"scheme": "w8", "int8_activations": [".*"]}}},
            "quantize.components.decoder.int8_activations is set",
            "leave the key out",
        ),
        (
            {"components": {"encoder": {"scheme": "w8a8", "dynamic_activations": [".*fc2.*"]}}},
            "quantize.components.encoder.dynamic_activations is set",
            "leave the key out",
        ),
        (
            {"components": {"encoder": {"scheme": "w8", "symmetric": False}}},
            "quantize.components.encoder.symmetric is false",
            "leave the key out",
        ),
    ],
)
def test_what_an_onnx_variant_does_not_have_is_refused(
    keys: dict[str, object], key: str, advice: str
) -> None:
    with pytest.raises(
        SpecError, match=f"^recipe mine.yaml: {re.escape(key)}, but .*{re.escape(advice)}"
    ) as caught:
        parsed(onnx(**keys), ONNX_EXPORT)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "key"),
    [
        ({"components": {"encoder": {"scheme": "w8"}}}, "quantize.components is set"),
        ({"elastic": {}}, "quantize.elastic is set"),
        ({"layout": "stateful"}, "quantize.layout is"),
        ({"weights": "fp32"}, "quantize.weights is"),
        ({"inference_precision": "bf16"}, "quantize.inference_precision is"),
        ({"dynamic_quantization_group_size": 32}, "quantize.dynamic_quantization_group_size is"),
        ({"kv_cache_precision": "u8"}, "quantize.kv_cache_precision is"),
        ({"instruction_set": "avx2"}, "quantize.instruction_set is"),
        ({"int8_cross_keys": True}, "quantize.int8_cross_keys is"),
    ],
)
def test_what_a_ctranslate2_variant_does_not_have_is_refused(keys: dict[str, object], key: str) -> None:
    with pytest.raises(SpecError, match=f"^recipe mine.yaml: {re.escape(key)}.*, but .*leave the key out"):
        parsed(ctranslate2(**keys))


def test_an_openvino_variant_has_no_ctranslate2_type() -> None:
    with pytest.raises(SpecError, match=r"quantize\.ctranslate2_type .* only CTranslate2 variants have one"):
        parsed({"ctranslate2_type": "int16"})


@pytest.mark.parametrize("exports", [(), ({"name": "onnx-fp16", "format": "onnx", "weights": "fp16"},)])
def test_an_onnx_variant_needs_an_onnx_export_with_fp32_weights(
    exports: tuple[dict[str, object], ...],
) -> None:
    with pytest.raises(
        SpecError, match=r"quantize.format is onnx, but exports has no .* add \{name: onnx-fp32"
    ):
        parsed(onnx(), *exports)


@pytest.mark.parametrize(
    ("export", "message"),
    [
        (
            {"name": "x", "format": "ctranslate2"},
            "exports.1.format is ctranslate2; .* made by quantize.format",
        ),
        ({"name": "x", "format": "onnx", "layout": "stateful"}, "exports.1.layout is stateful, but ONNX"),
        ({"name": "x", "merged": True}, "exports.1.merged is true, but only ONNX .* set exports.1.format"),
        ({"name": "x", "format": "onxx"}, "exports.1.format is onxx, want .*did you mean onnx"),
    ],
)
def test_exports_that_contradict_themselves_are_refused(export: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parsed({}, ONNX_EXPORT, export)


def test_the_baseline_is_openvino() -> None:
    with pytest.raises(SpecError, match=r"baseline\.format is onnx, but the baseline is OpenVINO"):
        parsed({}, baseline=ONNX_EXPORT)


def test_a_recipe_can_be_turned_into_another_format_key_by_key() -> None:
    recipe = override_recipe(load_recipe("onnx-int8"), ["quantize.elastic=null"])
    assert recipe.quantize.elastic is None
    with pytest.raises(SpecError, match=r"quantize\.inference_precision"):
        override_recipe(load_recipe("int8"), ["quantize.format=onnx"])
