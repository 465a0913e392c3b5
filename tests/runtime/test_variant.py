"""Which folder a model is, and what its manifest says of it, from any author."""

import json
from pathlib import Path

import pytest

from sottovoce.errors import InputError
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.variant import find_variant, has_recorded_ranges, read_compute
from sottovoce.terms import InferencePrecision, KvPrecision

ENCODER = "openvino_encoder_model.xml"


def say(folder: Path, manifest: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / ENCODER).touch()
    return folder


def test_a_run_means_its_quantized_variant(tmp_path: Path) -> None:
    run = say(tmp_path / "run", {"kind": "run", "recipe": {"quantize": {"name": "int8"}}})
    assert find_variant(model(run / "int8")) == run / "int8"
    assert find_variant(run) == run / "int8"


def test_no_manifest_names_a_model_outside_of_its_folder(tmp_path: Path) -> None:
    outside = model(tmp_path / "outside")
    for name in ("../outside", str(outside), "..", ".", "", "int8/../../outside", "..\\outside"):
        run = say(tmp_path / "run", {"kind": "run", "recipe": {"quantize": {"name": name}}})
        with pytest.raises(InputError, match="has no variant that is quantized"):
            find_variant(run)


@pytest.mark.parametrize("recipe", [None, [], {"quantize": None}, {"quantize": {"name": 7}}, {}], ids=str)
def test_a_run_whose_recipe_makes_no_sense_is_refused(recipe: object, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no variant that is quantized"):
        find_variant(say(tmp_path / "run", {"kind": "run", "recipe": recipe}))


def test_what_a_variant_computes_in_is_what_its_manifest_says(tmp_path: Path) -> None:
    facts = {
        "inference_precision": "bf16",
        "dynamic_quantization_group_size": 32,
        "kv_cache_precision": "u8",
    }
    assert read_compute(say(tmp_path, {"facts": facts})) == ComputeSpec(
        precision=InferencePrecision.BF16,
        dynamic_quantization_group_size=32,
        kv_cache_precision=KvPrecision.U8,
    )
    assert read_compute(say(tmp_path, {})) == ComputeSpec()


@pytest.mark.parametrize(
    "facts",
    [
        None,
        [],
        "f32",
        {"inference_precision": "f33"},
        {"inference_precision": None},
        {"inference_precision": []},
        {"kv_cache_precision": {}},
        {"dynamic_quantization_group_size": None},
        {"dynamic_quantization_group_size": float("inf")},
        {"dynamic_quantization_group_size": -1},
    ],
    ids=str,
)
def test_facts_that_make_no_sense_are_refused(facts: object, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"manifest\.json does not say .*make the variant again"):
        read_compute(say(tmp_path, {"facts": facts}))


@pytest.mark.parametrize("text", ["[]", "[" * 100_000, "{", "1" * 5_000], ids=lambda text: text[:2])
def test_a_manifest_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="make the variant again"):
        read_compute(tmp_path)


def test_a_quantized_encoder_has_recorded_ranges(tiny_run: Path, tmp_path: Path) -> None:
    assert has_recorded_ranges(tiny_run / "int8")
    assert not has_recorded_ranges(tiny_run / "fp32")
    assert not has_recorded_ranges(tmp_path)


@pytest.mark.parametrize(
    "facts", [[], {"components": 3}, {"components": {"encoder": {"int8_activations": "many"}}}]
)
def test_a_manifest_without_sense_has_no_ranges(tmp_path: Path, facts: object) -> None:
    assert not has_recorded_ranges(say(tmp_path, {"facts": facts}))
