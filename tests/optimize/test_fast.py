"""The recipe int8-fast on the tiny model: an elastic encoder, one stateful decoder with INT8 weights."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest

from sottovoce.calibrate.store import CalibrationStore, Call, Calls
from sottovoce.errors import SpecError, StageError
from sottovoce.optimize.openvino.elastic import make_elastic, replace_padding_keys
from sottovoce.optimize.openvino.graph import count_int8_in_file
from sottovoce.optimize.openvino.padding_states import (
    PaddingMeans,
    attentions_of,
    measure_padding,
    padding_keys,
    padding_of,
    speech_frames,
)
from sottovoce.optimize.pipeline import quantize_again
from sottovoce.progress import Silent
from sottovoce.recipes.load import load_recipe
from sottovoce.runs import Run, read_run
from sottovoce.runtime.audio.constants import WINDOW_FRAMES
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.elastic import FULL_WINDOW
from sottovoce.runtime.model.encoder import Encoder
from sottovoce.runtime.model.layout import component_path
from sottovoce.terms import Component, Scheme

N_CENTROIDS = 48


@pytest.fixture(scope="module")
def fast(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("fast") / "run"
    shutil.copytree(tiny_run, folder)
    return quantize_again(read_run(folder), load_recipe("int8-fast"), Silent(), as_own=True)


def graph(path: Path) -> Any:
    return openvino.Core().read_model(path)


def features(n_frames: int) -> Any:
    return np.random.default_rng(0).standard_normal((1, 80, n_frames)).astype(np.float32) * 0.3


def test_the_run_holds_both_quantized_variants(fast: Run) -> None:
    assert {"fp32", "fp32-stateful", "int8", "int8-fast"} <= {variant.name for variant in fast.variants}
    components = fast.variant("int8-fast").facts.components
    assert components[Component.ENCODER].scheme is Scheme.W8A8
    assert components[Component.DECODER].scheme is Scheme.W8
    assert Component.DECODER_WITH_PAST not in components


def test_every_weight_of_the_decoder_is_int8_and_stored_once(fast: Run) -> None:
    path = component_path(fast.folder / "int8-fast", Component.DECODER)
    count = count_int8_in_file(path)
    assert count.weights == count.weighted > 0
    assert count.activations == 1  # the encoder's states, for the keys and values of cross-attention
    assert path.with_suffix(".bin").stat().st_size < 1.05 * (count.int8_bytes + count.float_bytes_fp16)


def padded(n_speech: int, seed: int = 0) -> Any:
    """Make features of a loud part and of padding after it."""
    random = np.random.default_rng(seed)
    whole = np.full((1, 80, WINDOW_FRAMES), -0.8, dtype=np.float32)
    loud = random.standard_normal((1, 80, n_speech)) * 0.3 + 0.2
    whole[:, :, :n_speech] = np.clip(loud, -0.8, 1.2)
    whole[0, 0, 0] = 1.2  # the peak sets the floor of silence: 2.0 below
    return whole


def padding_from(encoder: Any, *lengths: int) -> PaddingMeans:
    def make() -> Iterator[Call]:
        return ({"input_features": padded(n, seed)} for seed, n in enumerate(lengths, 1))

    return measure_padding(encoder, Calls(length=len(lengths), make=make))


@pytest.mark.parametrize("n_centroids", [None, 12])
def test_an_elastic_float_encoder_is_the_exported_one_at_thirty_seconds(
    baseline: Path, n_centroids: int | None
) -> None:
    core, compute = openvino.Core(), ComputeSpec().properties()
    path = component_path(baseline, Component.ENCODER)
    elastic = graph(path)
    make_elastic(elastic, padding_keys(padding_from(graph(path), 600), n_centroids) if n_centroids else None)
    whole = features(WINDOW_FRAMES)
    expected = core.compile_model(path, "CPU", compute)(whole)[0]
    found = core.compile_model(elastic, "CPU", compute)(whole)[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_encoder_of_the_speech_alone_is_near_the_one_of_the_whole_window(baseline: Path) -> None:
    """On a clip with padding the error is much smaller than without the padding keys."""
    core, compute = openvino.Core(), ComputeSpec().properties()
    path = component_path(baseline, Component.ENCODER)
    whole = padded(700)
    cut = np.ascontiguousarray(whole[:, :, :800])
    expected = core.compile_model(path, "CPU", compute)(whole)[0][:, :350]
    padding = padding_from(graph(path), 500, 600, 900)
    errors = []
    for n_centroids in (48, None):
        elastic = graph(path)
        make_elastic(elastic, padding_keys(padding, n_centroids) if n_centroids else None)
        found = core.compile_model(elastic, "CPU", compute)(cut)[0][:, :350]
        errors.append(float(np.abs(found - expected).mean()))
    assert errors[0] < 0.35 * errors[1]


@pytest.mark.parametrize("n_frames", [2, 250, 1000, WINDOW_FRAMES])
def test_the_encoder_takes_any_even_number_of_frames(fast: Run, n_frames: int) -> None:
    encoder = Encoder.load(fast.folder / "int8-fast", ComputeSpec())
    plan = encoder.plan(n_frames * 160)
    states = encoder.encode(features(plan.n_frames), plan).states
    assert states.shape == (1, plan.n_positions + plan.n_padding + N_CENTROIDS, 64)
    assert np.isfinite(states).all()


def test_the_states_after_speech_are_the_means_of_the_float_encoder(fast: Run) -> None:
    """Means over the recorded clips, which are all shorter than 15 s."""
    folder = fast.folder
    calls = CalibrationStore(folder / "calibration").calls(Component.ENCODER, folder / "fp32")
    assert all(speech_frames(call["input_features"]) < 1500 for call in calls)
    variant = Encoder.load(folder / "int8-fast", ComputeSpec())
    plan = variant.plan(15 * 16_000)
    encoded = variant.encode(features(plan.n_frames), plan)
    assert encoded.log_counts is not None
    counts = np.exp(encoded.log_counts[0, plan.n_positions :])
    found = (counts[:, None] * encoded.states[0, plan.n_positions :]).sum(axis=0) / counts.sum()
    encoder = Encoder.load(folder / "fp32", ComputeSpec())
    whole = [encoder.encode(call["input_features"], FULL_WINDOW).states[0] for call in calls]
    expected = np.mean([states[plan.n_positions :].mean(axis=0) for states in whole], axis=0)
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_an_encoder_of_another_form_is_refused(baseline: Path) -> None:
    with pytest.raises(StageError, match="position embeddings"):
        make_elastic(graph(component_path(baseline, Component.DECODER)))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("exports=[]", "no stateful variant"),
        ("quantize.components.decoder.scheme=w8a8", "int8_activations"),
        ("quantize.components.decoder_with_past.scheme=w8a8", "one decoder"),
        ("quantize.components.encoder.scheme=w8", "encoder"),
        ("quantize.dynamic_quantization_group_size=0", "dynamic_activations is set"),
    ],
)
def test_recipes_that_contradict_their_layout_are_refused(override: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load_recipe("int8-fast", [override])


def test_activations_of_nodes_that_are_not_there_are_refused(tiny_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(tiny_run, folder)
    recipe = load_recipe("int8-fast", ["quantize.components.decoder.int8_activations=[nowhere]"])
    with pytest.raises(SpecError, match="nowhere"):
        quantize_again(read_run(folder), recipe, Silent())
    assert not (folder / "int8-fast").exists()


def test_counts_of_padding_keys_are_not_rounded(fast: Run) -> None:
    """Softmax weighs a key by its count: in INT8 a logarithm would be off by up to a quarter of a nat."""
    encoder = graph(component_path(fast.folder / "int8-fast", Component.ENCODER))
    store = CalibrationStore(fast.folder / "calibration")
    expected = padding_keys(padding_of(fast.folder / "fp32", store), N_CENTROIDS).counts
    for layer, attention in enumerate(attentions_of(encoder)):
        table = attention.input_value(3).get_node().input_value(1).get_node().input_value(0)
        (scores,) = openvino.compile_model(openvino.Model([table], []), "CPU")({}).values()
        np.testing.assert_allclose(np.exp(scores[0]), expected[layer], rtol=0.005, atol=1e-6)


def test_an_encoder_with_replaced_padding_keys_is_one_that_was_made_with_them(baseline: Path) -> None:
    path, compute = component_path(baseline, Component.ENCODER), ComputeSpec().properties()
    first, second = (padding_keys(padding_from(graph(path), n), 12) for n in (600, 900))
    made, replaced = graph(path), graph(path)
    make_elastic(made, second)
    make_elastic(replaced, first)
    replace_padding_keys(replaced, second)
    core, speech = openvino.Core(), features(400)
    expected = core.compile_model(made, "CPU", compute)(speech)[0]
    np.testing.assert_array_equal(core.compile_model(replaced, "CPU", compute)(speech)[0], expected)


def test_an_encoder_without_padding_keys_has_none_to_replace(baseline: Path) -> None:
    path = component_path(baseline, Component.ENCODER)
    with pytest.raises(StageError, match="has no padding keys"):
        replace_padding_keys(graph(path), padding_keys(padding_from(graph(path), 600), 12))
