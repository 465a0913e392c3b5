"""`qat` on the tiny model: it comes nearer to the baseline, resumes, and leaves graphs and the variant that it trains as they were."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest

from sottovoce.errors import SpecError
from sottovoce.optimize.openvino.export import TorchWhisper
from sottovoce.optimize.openvino.graph import count_int8
from sottovoce.progress import Silent
from sottovoce.runs import Run, read_run
from sottovoce.runtime.loading import load
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.layout import component_path
from sottovoce.speech.clips import ClipSet
from sottovoce.storage.resumable import resumable_path
from sottovoce.terms import Component
from sottovoce.train.loop import LoopSpec
from sottovoce.train.qat.graph import read_graph
from sottovoce.train.qat.parameters import TrainedGraph
from sottovoce.train.qat.qat import QatSpec, qat
from sottovoce.train.variant.padding import no_padding, read_padding
from sottovoce.train.variant.report import QAT_REPORT, QatReport, Trained
from sottovoce.train.variant.whisper import ElasticWhisper
from tests.support.interrupts import CtrlC
from tests.support.torture import model_files

N_STEPS = 6
LOOP = LoopSpec(batch_size=2, learning_rate=0.03, n_evaluations=2)
NAME = "int8-qat"

pytestmark = pytest.mark.usefixtures("_little_speech")


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Run:
    """Copy the run, to be changed."""
    folder = tmp_path / "run"
    shutil.copytree(tiny_run, folder)
    return read_run(folder)


def spec(tiny: Path) -> QatSpec:
    return QatSpec(variant="int8", n_steps=N_STEPS, checkpoint=str(tiny), threads=1, loop=LOOP)


@pytest.fixture(scope="module")
def trained(
    tiny_run: Path, tiny: Path, speech: ClipSet, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Run, QatReport]:
    folder = tmp_path_factory.mktemp("qat") / "run"
    shutil.copytree(tiny_run, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sottovoce.train.speech.MIN_AUDIO_S", 10.0)
        report = qat(read_run(folder), [speech], spec(tiny), Silent())
    return read_run(folder), report


def graph_of(run: Run, name: str, component: Component = Component.ENCODER) -> Any:
    return openvino.Core().read_model(component_path(run.folder / name, component))


def test_the_torch_encoder_is_nearer_to_the_graph_than_the_float_one(tiny_run: Path, tiny: Path) -> None:
    import torch

    features = np.random.default_rng(0).standard_normal((1, 80, 3000)).astype(np.float32)
    model = openvino.Core().read_model(component_path(tiny_run / "int8", Component.ENCODER))
    graph = read_graph(model)
    expected = openvino.Core().compile_model(model, "CPU", ComputeSpec().properties())(features)[0]

    def error(*, is_quantized: bool) -> float:
        model = TorchWhisper(tiny).model
        padding = no_padding(model.config)
        if is_quantized:
            trained = TrainedGraph(Component.ENCODER, graph, model.model.encoder, Trained.ALL)
            deltas = {name: torch.zeros_like(each.start) for name, each in trained.parameters.items()}
            trained.install(deltas)
        with torch.no_grad():
            found = ElasticWhisper(model).encode(torch.from_numpy(features), padding).numpy()
        return float(np.sqrt(np.square(found - expected).mean() / np.square(expected).mean()))

    assert error(is_quantized=True) < 0.02 * error(is_quantized=False)


def test_the_variant_is_nearer_to_the_baseline_on_speakers_that_did_not_train(
    trained: tuple[Run, QatReport], speech: ClipSet
) -> None:
    run, report = trained
    assert report.kept
    assert report.after.divergence < report.before.divergence
    assert [each.step for each in report.history] == [0, N_STEPS // 2, N_STEPS]
    assert (run.folder / NAME / QAT_REPORT).read_text(encoding="utf-8") == report.model_dump_json(
        indent=2
    ) + "\n"
    audio = speech.clips[0].audio
    assert isinstance(audio, Path)
    assert load(run.folder / NAME).transcribe(audio).duration_s == pytest.approx(2.0)


def test_graphs_and_the_variant_that_was_trained_stay_as_they_were(
    trained: tuple[Run, QatReport], tiny_run: Path
) -> None:
    run, _ = trained
    assert model_files(run.folder / "int8") == model_files(tiny_run / "int8")
    assert not resumable_path(run.folder / NAME).exists()
    for component in (Component.ENCODER, Component.DECODER_WITH_PAST):
        before, after = (graph_of(run, name, component) for name in ("int8", NAME))
        assert count_int8(after) == count_int8(before)
        old, new = read_graph(before).layers, read_graph(after).layers
        assert any(not np.array_equal(new[name].weights, layer.weights) for name, layer in old.items())
    first = Component.DECODER  # float in this recipe
    assert component_path(run.folder / NAME, first).with_suffix(".bin").read_bytes() == (
        component_path(run.folder / "int8", first).with_suffix(".bin").read_bytes()
    )


def test_without_weights_only_ranges_biases_and_layernorms_change(
    run: Run, tiny: Path, speech: ClipSet
) -> None:
    loop = replace(LOOP, learning_rate=0.1)
    report = qat(run, [speech], replace(spec(tiny), trained=Trained.RANGES, loop=loop), Silent())
    assert report.n_parameters < 10_000
    before, after = (read_graph(graph_of(run, name)) for name in ("int8", NAME))
    for name, layer in before.layers.items():
        np.testing.assert_array_equal(after.layers[name].weights, layer.weights)
    assert any(after.ranges[name].step != kept.step for name, kept in before.ranges.items())


@pytest.mark.large
def test_an_interrupted_training_ends_with_the_same_variant(
    run: Run,
    tiny: Path,
    speech: ClipSet,
    trained: tuple[Run, QatReport],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sottovoce.train.loop.SAVE_S", 0.0)
    with pytest.raises(KeyboardInterrupt):
        qat(run, [speech], spec(tiny), CtrlC(4))
    report = qat(run, [speech], spec(tiny), Silent())
    assert report == trained[1]
    assert model_files(run.folder / NAME) == model_files(trained[0].folder / NAME)


def test_a_variant_without_int8_weights_is_refused(run: Run, tiny: Path, speech: ClipSet) -> None:
    with pytest.raises(
        SpecError, match=r"fp16 has no INT8 weights in OpenVINO to train; .* --variant: int8$"
    ):
        qat(run, [speech], replace(spec(tiny), variant="fp16"), Silent())


@pytest.mark.large
def test_padding_states_are_trained_with_the_graphs(
    fast_run: Path, tiny: Path, speech: ClipSet, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(fast_run, folder)
    loop = replace(LOOP, learning_rate=0.01)
    report = qat(read_run(folder), [speech], replace(spec(tiny), variant="int8-fast", loop=loop), Silent())
    assert report.kept
    before, after = (read_padding(folder / name) for name in ("int8-fast", "int8-fast-qat"))
    assert before is not None
    assert after is not None
    assert not np.array_equal(before.keys.keys, after.keys.keys)
    assert not np.array_equal(before.states, after.states)
    np.testing.assert_array_equal(before.clusters, after.clusters)
