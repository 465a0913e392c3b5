"""The elastic Whisper in PyTorch computes what the exported graphs compute."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import openvino
import pytest
import torch

from sottovoce.optimize.openvino.elastic import make_elastic
from sottovoce.optimize.openvino.export import TorchWhisper
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.elastic import ElasticPlan, PaddingStates
from sottovoce.runtime.model.layout import component_path
from sottovoce.runtime.model.load import load_decoder
from sottovoce.terms import Component, ElasticSpec
from sottovoce.train.heal.parameters import Start
from sottovoce.train.variant.padding import Padding
from sottovoce.train.variant.whisper import ElasticWhisper

N_STATES = 12
TOKENS = np.array([[377, 380, 5, 60, 9, 31]], dtype=np.int64)


@pytest.fixture(scope="module")
def whisper(tiny: Path) -> ElasticWhisper:
    return ElasticWhisper(TorchWhisper(tiny).model)


def features(n_frames: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(n_frames).standard_normal((1, 80, n_frames)).astype(np.float32) * 0.3


@pytest.mark.parametrize("n_frames", [2, 350, 1000, 3000])
def test_the_encoder_is_the_elastic_float_graph(
    baseline: Path, padding: Padding, whisper: ElasticWhisper, n_frames: int
) -> None:
    graph = openvino.Core().read_model(component_path(baseline, Component.ENCODER))
    make_elastic(graph, padding.keys)
    compiled = openvino.Core().compile_model(graph, "CPU", ComputeSpec().properties())
    expected = compiled(features(n_frames))[0]
    found = whisper.encode(torch.from_numpy(features(n_frames)), Start.of(padding).tensors)
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-3)  # the graph has keys in float16


@pytest.mark.parametrize("n_positions", [1, 175, 1500])
def test_the_decoder_attends_to_the_padding_as_the_runtime_does(
    tiny_run: Path, padding: Padding, whisper: ElasticWhisper, tmp_path: Path, n_positions: int
) -> None:
    PaddingStates.save(
        tmp_path, ElasticSpec(silence_centroids=N_STATES), padding.states.astype(np.float16), padding.clusters
    )
    stored = PaddingStates.load(tmp_path)
    assert stored is not None
    states = np.random.default_rng(0).standard_normal((1, n_positions, 64)).astype(np.float32)
    plan = ElasticPlan(n_frames=2 * n_positions, n_positions=n_positions, n_padding=0)
    encoded = stored.append_to(states, plan)
    decoder = load_decoder(tiny_run / "fp32-stateful", ComputeSpec())
    decoder.start(encoded)
    expected = decoder.run(TOKENS)[0]
    rounded = replace(padding, states=padding.states.astype(np.float16).astype(np.float32))
    found = whisper.decode(torch.from_numpy(states), Start.of(rounded).tensors, torch.from_numpy(TOKENS))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)
