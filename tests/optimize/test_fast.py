"""The recipe int8-fast on the tiny model: an elastic encoder, one stateful decoder with INT8 weights."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest

from sottovoce.config import load_recipe
from sottovoce.errors import SpecError, StageError
from sottovoce.optimize.elastic import make_elastic
from sottovoce.optimize.graph import count_int8_in_file
from sottovoce.optimize.pipeline import quantize_again
from sottovoce.progress import Silent
from sottovoce.runs import Run, read_run
from sottovoce.runtime.compute import ComputeSpec
from sottovoce.runtime.elastic import FULL_WINDOW
from sottovoce.runtime.encoder import Encoder
from sottovoce.runtime.features import WINDOW_FRAMES
from sottovoce.runtime.layout import component_path
from sottovoce.terms import Component, Scheme

N_CELLS = 13
"""Twelve of 2.5 s, the last one cut by half a second, which is a cell of its own."""


@pytest.fixture(scope="module")
def fast(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("fast") / "run"
    shutil.copytree(tiny_run, folder)
    return quantize_again(read_run(folder), load_recipe("int8-fast"), Silent())


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


@pytest.mark.parametrize("silence_cell_s", [None, 2.5])
def test_an_elastic_float_encoder_is_the_exported_one_at_thirty_seconds(
    baseline: Path, silence_cell_s: float | None
) -> None:
    core, compute = openvino.Core(), ComputeSpec().properties()
    path = component_path(baseline, Component.ENCODER)
    elastic = graph(path)
    make_elastic(elastic, silence_cell_s)
    whole = features(WINDOW_FRAMES)
    expected = core.compile_model(path, "CPU", compute)(whole)[0]
    found = core.compile_model(elastic, "CPU", compute)(whole)[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_cut_to_its_speech_the_encoder_gives_what_the_whole_window_gives(baseline: Path) -> None:
    """Of a clip with real silence behind it: nearer than without the keys of silence, by far."""
    core, compute = openvino.Core(), ComputeSpec().properties()
    path = component_path(baseline, Component.ENCODER)
    n_speech = 700
    whole = np.full((1, 80, WINDOW_FRAMES), -0.8, dtype=np.float32)
    whole[:, :, :n_speech] = np.clip(features(n_speech) + 0.2, -0.8, 1.2)
    whole[0, 0, 0] = 1.2  # the peak tells the level of silence: 2.0 below
    cut = np.ascontiguousarray(whole[:, :, : n_speech + 100])
    expected = core.compile_model(path, "CPU", compute)(whole)[0][:, : n_speech // 2]
    errors = []
    for silence_cell_s in (2.5, None):
        elastic = graph(path)
        make_elastic(elastic, silence_cell_s)
        found = core.compile_model(elastic, "CPU", compute)(cut)[0][:, : n_speech // 2]
        errors.append(float(np.abs(found - expected).mean()))
    assert errors[0] < 0.35 * errors[1]


@pytest.mark.parametrize("n_frames", [2, 250, 1000, WINDOW_FRAMES])
def test_the_encoder_takes_any_even_number_of_frames(fast: Run, n_frames: int) -> None:
    encoder = Encoder.load(fast.folder / "int8-fast", ComputeSpec())
    plan = encoder.plan(n_frames * 160)
    states = encoder.encode(features(plan.n_frames), plan).states
    assert states.shape == (1, plan.n_positions + N_CELLS, 64)
    assert np.isfinite(states).all()


def test_silence_states_are_what_the_encoder_gives_for_silence(fast: Run) -> None:
    folder = fast.folder / "int8-fast"
    encoder = Encoder.load(folder, ComputeSpec(precision=fast.variant("int8-fast").facts.inference_precision))
    silent = np.full((1, 80, WINDOW_FRAMES), -0.8, dtype=np.float32)
    whole = encoder.encode(silent, FULL_WINDOW).states[0]
    cut = np.ascontiguousarray(silent[:, :, :200])
    found = encoder.encode(cut, encoder.plan(16_000)).states[0, 100:]
    first = 0
    for cell, last in zip(found, (*range(125, 1475, 125), 1475, 1500), strict=True):
        np.testing.assert_allclose(cell, whole[first:last].mean(axis=0), atol=0.02)
        first = last


def test_an_encoder_of_another_form_is_refused(baseline: Path) -> None:
    with pytest.raises(StageError, match="position embeddings"):
        make_elastic(graph(component_path(baseline, Component.DECODER)))


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("exports=[]", "no stateful variant"),
        ("quantize.components.decoder.scheme=w8a8", "int8_activations"),
        ("quantize.components.decoder_with_past.scheme=w8a8", "one decoder"),
        ("quantize.components.encoder.scheme=w8", "encoder"),
    ],
)
def test_recipes_that_contradict_their_layout_are_refused(override: str, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        load_recipe("int8-fast", [override])


def test_activations_of_nodes_that_are_not_there_are_refused(tiny_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(tiny_run, folder)
    recipe = load_recipe("int8-fast", ["quantize.components.decoder.int8_activations=[nowhere]"])
    with pytest.raises(SpecError, match="nowhere"):
        quantize_again(read_run(folder), recipe, Silent())
    assert not (folder / "int8-fast").exists()
