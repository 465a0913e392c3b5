"""Recipes: valid keys, and error messages for others."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.errors import SpecError
from sottovoce.recipes.load import load_recipe, override_recipe, parse_recipe, ready_recipes
from sottovoce.recipes.recipe import Recipe
from sottovoce.terms import BiasCorrection, Component, Scheme

SCHEMA = Path(__file__).parents[1] / "configs" / "recipe.schema.json"
MINIMAL = {"name": "mine", "description": "Mine."}
TEXT = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=20)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,10}", fullmatch=True)
QUANTIZE = st.fixed_dictionaries(
    {
        "scheme": st.sampled_from(["float", "w8a8"]),
        "preset": st.sampled_from(["mixed", "performance"]),
        "smooth_quant_alpha": st.none() | st.floats(0, 1),
        "bias_correction": st.sampled_from([kind.value for kind in BiasCorrection]),
        "keep_float": st.lists(
            st.fixed_dictionaries({"reason": TEXT, "names": st.lists(TEXT, min_size=1, max_size=3)}),
            max_size=2,
        ),
    }
)
RECIPES = st.fixed_dictionaries(
    {
        "name": NAMES,
        "description": TEXT,
        "calibration": st.fixed_dictionaries({"n_clips": st.integers(1, 10_000), "seed": st.integers()}),
        "quantize": st.fixed_dictionaries(
            {"components": st.fixed_dictionaries({"encoder": QUANTIZE, "decoder_with_past": QUANTIZE})}
        ),
    }
)


def recipe_file(folder: Path, content: object) -> Path:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def shuffled(value: object, draw: st.DataObject) -> object:
    if not isinstance(value, dict):
        return value
    keys = draw.draw(st.permutations(list(value)))
    return {key: shuffled(value[key], draw) for key in keys}


@pytest.mark.parametrize("name", sorted(ready_recipes()))
def test_every_ready_recipe_loads_under_its_own_name(name: str) -> None:
    assert load_recipe(name).name == name


def test_the_ready_recipe_int8_is_the_classic_one() -> None:
    recipe = load_recipe("int8")
    schemes = {component: recipe.quantize.components.of(component).scheme for component in Component}
    assert schemes == {
        Component.ENCODER: Scheme.W8A8,
        Component.DECODER: Scheme.FLOAT,
        Component.DECODER_WITH_PAST: Scheme.W8,
    }
    assert recipe.quantize.dynamic_quantization_group_size > 0, "activations of the steps are INT8, too"
    assert recipe.baseline.name == "fp32"
    assert recipe.calibration.n_clips >= 1


@pytest.mark.parametrize(
    ("name", "overrides", "n_transcribed"),
    [
        ("int8", (), 64),
        ("int4-decoder", (), 64),
        ("int8-fast", (), 8),
        ("int8-no-vnni", (), 8),
        ("int8-weights", (), 8),
        ("onnx-int8", (), 8),
        ("ct2-int8", (), 8),
        ("onnx-int8", ("quantize.components.decoder.scheme=w8a8",), 8),
        ("onnx-int8", ("quantize.components.decoder_with_past.scheme=w8a8",), 64),
        ("int8-fast", ("quantize.components.decoder.int8_activations=['.*fc1.*']",), 64),
        ("int8-fast", ("quantize.components.decoder.scheme=float",), 8),
        ("int8-fast", ("calibration.n_transcribed_clips=20",), 20),
        ("int8-fast", ("calibration.n_clips=5",), 5),
    ],
)
def test_all_clips_are_transcribed_where_the_decoder_is_quantized_by_tokens(
    name: str, overrides: tuple[str, ...], n_transcribed: int
) -> None:
    assert load_recipe(name, overrides).n_transcribed_clips == n_transcribed


def test_two_keys_are_enough_for_a_recipe(tmp_path: Path) -> None:
    recipe = load_recipe(str(recipe_file(tmp_path, MINIMAL)))
    assert recipe.calibration.n_clips == 64
    assert [variant.name for variant in recipe.float_variants] == ["fp32"]


def test_an_unknown_recipe_lists_the_ready_ones_and_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"^unknown recipe int9; did you mean int8\? \(ready recipes: .*int8"):
        load_recipe("int9")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"calibraton": {}}, "unknown key calibraton; did you mean calibration?"),
        ({"calibration": {"nclips": 3}}, "unknown key calibration.nclips; did you mean n_clips?"),
        (
            {"quantize": {"components": {"encoder": {"presets": "mixed"}}}},
            "unknown key quantize.components.encoder.presets; did you mean preset?",
        ),
        (
            {"quantize": {"components": {"encoder": {"preset": "mixd"}}}},
            "quantize.components.encoder.preset is mixd, want performance or mixed; did you mean mixed?",
        ),
        ({"exports": [{"weights": "fp32"}]}, "exports.0.name is missing"),
        ({"exports": [{"name": "x", "layuot": 1}]}, "unknown key exports.0.layuot; did you mean layout?"),
        ({"calibration": {"n_clips": 0}}, "calibration.n_clips is 0, want "),
        ({"calibration": {"n_clips": "many"}}, 'calibration.n_clips is "many", want valid integer'),
        (
            {"quantize": {"components": {"decoder": {"smooth_quant_alpha": 1.5}}}},
            "quantize.components.decoder.smooth_quant_alpha is 1.5, want less than or equal to 1",
        ),
        ({"baseline": {"name": "fp32", "weights": "int8"}}, "baseline.weights is int8, want fp32 or fp16"),
    ],
)
def test_an_invalid_key_is_named_with_file_key_and_expected_value(
    tmp_path: Path, raw: dict[str, object], expected: str
) -> None:
    path = recipe_file(tmp_path, MINIMAL | raw)
    with pytest.raises(SpecError) as caught:
        load_recipe(str(path))
    assert str(caught.value).startswith(f"recipe {path}: ")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_errors_are_reported_at_once(tmp_path: Path) -> None:
    path = recipe_file(tmp_path, {"nam": "x", "calibration": {"seeds": 1}})
    with pytest.raises(SpecError) as caught:
        load_recipe(str(path))
    for part in ("name is missing", "description is missing", "unknown key nam", "calibration.seeds"):
        assert part in str(caught.value)


@pytest.mark.parametrize("text", ["a: [", "\t- x", "name: {", "@"])
def test_a_file_that_is_not_yaml_is_an_error_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match=r"broken\.yaml is not YAML: .*line 1") as caught:
        load_recipe(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "just words", "- a\n- b", "3"])
def test_yaml_without_keys_is_no_recipe(tmp_path: Path, text: str) -> None:
    path = tmp_path / "list.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match="holds no keys"):
        load_recipe(str(path))


def test_a_file_that_is_no_text_is_no_recipe(tmp_path: Path) -> None:
    (tmp_path / "image.yaml").write_bytes(b"\x89PNG\xff\xfe\x00")
    with pytest.raises(SpecError, match="is not a text file"):
        load_recipe(str(tmp_path / "image.yaml"))


def test_yaml_runs_no_code(tmp_path: Path) -> None:
    path = tmp_path / "evil.yaml"
    path.write_text("name: !!python/object/apply:os.getcwd []", encoding="utf-8")
    with pytest.raises(SpecError, match="is not YAML"):
        load_recipe(str(path))


@pytest.mark.parametrize(
    "raw",
    [
        {"exports": [{"name": "fp32"}]},
        {"exports": [{"name": "int8", "weights": "fp16"}]},
        {"exports": [{"name": "a"}, {"name": "a", "weights": "fp16"}]},
        {"quantize": {"name": "fp32"}},
    ],
)
def test_two_variants_cannot_have_one_name(raw: dict[str, object]) -> None:
    with pytest.raises(SpecError, match="two variants are named"):
        parse_recipe(MINIMAL | raw, "mine")


@pytest.mark.parametrize("name", ["calibration", "manifest.json", "recipe.yaml"])
def test_a_variant_cannot_have_the_name_of_another_part_of_a_run(name: str) -> None:
    with pytest.raises(SpecError, match=name):
        parse_recipe(MINIMAL | {"quantize": {"name": name}}, "mine")


@pytest.mark.parametrize("name", ["../int8", "", "a/b", ".hidden", "Int8"])
def test_a_variant_is_named_like_a_folder(name: str) -> None:
    with pytest.raises(SpecError, match=r"quantize\.name"):
        parse_recipe(MINIMAL | {"quantize": {"name": name}}, "mine")


@pytest.mark.parametrize("baseline", [{"weights": "fp16"}, {"layout": "stateful"}])
def test_the_baseline_is_stateless_float32(baseline: dict[str, str]) -> None:
    with pytest.raises(SpecError, match="baseline must be stateless with fp32 weights"):
        parse_recipe(MINIMAL | {"baseline": {"name": "b"} | baseline}, "mine")


def test_set_replaces_a_key_of_a_recipe() -> None:
    recipe = load_recipe(
        "int8",
        [
            "calibration.n_clips=3",
            "quantize.components.encoder.smooth_quant_alpha=null",
            "quantize.components.decoder.scheme=w8a8",
            "exports=[]",
        ],
    )
    assert recipe.calibration.n_clips == 3
    assert recipe.quantize.components.encoder.smooth_quant_alpha is None
    assert recipe.quantize.components.decoder.scheme is Scheme.W8A8
    assert recipe.exports == ()


def test_the_last_set_wins() -> None:
    assert load_recipe("int8", ["calibration.seed=1", "calibration.seed=2"]).calibration.seed == 2


def test_set_leaves_other_keys_as_they_were() -> None:
    before, after = load_recipe("int8"), load_recipe("int8", ["calibration.seed=7"])
    assert after.model_copy(update={"calibration": before.calibration}) == before


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("calibration.n_clips", "want KEY=VALUE"),
        ("=3", "want KEY=VALUE"),
        ("name.first=x", "name holds a value, not further keys"),
        ("calibration.n_clip=3", "unknown key calibration.n_clip; did you mean n_clips?"),
        ("calibration.n_clips=[", "the value is not YAML"),
        ("calibration.n_clips=none", "calibration.n_clips is"),
    ],
)
def test_an_invalid_set_gives_the_reason(override: str, expected: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_recipe("int8", [override])
    assert expected in str(caught.value)


def test_set_works_on_the_recipe_of_a_run() -> None:
    recipe = load_recipe("int8")
    changed = override_recipe(recipe, ["quantize.name=int8-a8"])
    assert changed.quantize.name == "int8-a8"
    assert recipe.quantize.name == "int8"
    assert override_recipe(recipe, []) == recipe


@given(RECIPES)
def test_a_recipe_survives_being_written_and_read(raw: dict[str, object]) -> None:
    recipe = parse_recipe(raw, "given")
    text = yaml.safe_dump(recipe.resolved(), sort_keys=False, allow_unicode=True)
    again = parse_recipe(yaml.safe_load(text), "again")
    assert again == recipe
    assert again.sha256() == recipe.sha256()


@given(RECIPES, st.data())
def test_the_hash_does_not_depend_on_the_order_of_keys(raw: dict[str, object], data: st.DataObject) -> None:
    other = shuffled(raw, data)
    assert isinstance(other, dict)
    assert parse_recipe(other, "b").sha256() == parse_recipe(raw, "a").sha256()


def test_defaults_written_out_change_no_hash() -> None:
    recipe = load_recipe("int8")
    assert parse_recipe(recipe.resolved(), "resolved").sha256() == recipe.sha256()


def test_another_setting_is_another_hash() -> None:
    assert load_recipe("int8", ["calibration.seed=1"]).sha256() != load_recipe("int8").sha256()


def test_the_schema_for_editors_is_current() -> None:
    if not SCHEMA.is_file():
        pytest.skip("configs/recipe.schema.json is not here")
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == Recipe.model_json_schema(), (
        "recipes have changed; run: python -m sottovoce.recipes.recipe > configs/recipe.schema.json"
    )


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (
            {"components": {"encoder": {"scheme": "w8", "group_size": 64}}},
            "group_size only where scheme is w4",
        ),
        (
            {"components": {"encoder": {"scheme": "w8a8", "symmetric": False}}},
            "symmetric only where scheme is w8",
        ),
        ({"components": {"decoder": {"scheme": "w8", "awq": True}}}, "awq only where scheme is w4"),
        (
            {"elastic": {"silence_centroids": 48}},
            "silence_centroids is 48, but decoders of the stateless layout",
        ),
        (
            {"elastic": {"silence_centroids": 48, "tail_s": 20}},
            "tail_s is 20, but there are no tails with silence_centroids",
        ),
        ({"elastic": {"silence_centroids": 256}}, "silence_centroids"),
        ({"kv_cache_precision": "u8"}, "kv_cache_precision is u8, but the stateless layout keeps nothing"),
        ({"kv_cache_precision": "u9"}, "kv_cache_precision is u9, want"),
        ({"instruction_set": "avx"}, "instruction_set is avx, want vnni or avx2; did you mean avx2"),
    ],
)
def test_keys_that_fit_no_such_scheme_are_refused(raw: dict[str, object], error: str) -> None:
    with pytest.raises(SpecError, match=error):
        parse_recipe({**MINIMAL, "quantize": raw}, "mine.yaml")


def test_weights_alone_can_be_int8_in_both_layouts() -> None:
    parts = {"encoder": {"scheme": "w8"}, "decoder": {"scheme": "w8"}}
    with_past = {**parts, "decoder_with_past": {"scheme": "w4", "group_size": 64}}
    parse_recipe({**MINIMAL, "quantize": {"components": with_past}}, "mine.yaml")
    stateful = {"name": "fp32-stateful", "layout": "stateful"}
    quantize = {"layout": "stateful", "components": parts, "kv_cache_precision": "u8"}
    parse_recipe({**MINIMAL, "exports": [stateful], "quantize": quantize}, "mine.yaml")
