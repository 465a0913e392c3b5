"""ONNX graphs of the tiny model: names, validity, outputs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from sottovoce.errors import ParityError, StageError
from sottovoce.optimize.checks.parity import ParityClip, Reference, check_onnx_parity
from sottovoce.optimize.onnx.export import export_component, export_onnx
from sottovoce.optimize.onnx.graph import EXTERNAL_SUFFIX, save_graph, size_bytes
from sottovoce.optimize.onnx.merge import MERGED_NAME, merge_decoders
from sottovoce.optimize.openvino.export import TorchWhisper
from sottovoce.progress import Silent
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.layout import components_of, format_of, layout_of, onnx_path
from sottovoce.terms import Component, Format, Layout, Weights
from tests.support.checkpoints import tiny_checkpoint
from tests.support.tones import tone

LAYERS, HEADS, WIDTH, HEAD = 2, 2, 64, 32

Arrays = Mapping[str, np.ndarray[Any, Any]]


def caches(prefix: str, *parts: str) -> list[str]:
    """Return the names of keys and values in optimum's ORTModelForSpeechSeq2Seq and transformers.js."""
    return [
        f"{prefix}.{i}.{part}.{kind}" for i in range(LAYERS) for part in parts for kind in ("key", "value")
    ]


NAMES = {
    "encoder_model.onnx": (["input_features"], ["last_hidden_state"]),
    "decoder_model.onnx": (
        ["input_ids", "encoder_hidden_states"],
        ["logits", *caches("present", "decoder", "encoder")],
    ),
    "decoder_with_past_model.onnx": (
        ["input_ids", *caches("past_key_values", "decoder", "encoder")],
        ["logits", *caches("present", "decoder")],
    ),
    "decoder_model_merged.onnx": (
        [
            "input_ids",
            "encoder_hidden_states",
            *caches("past_key_values", "decoder", "encoder"),
            "use_cache_branch",
        ],
        ["logits", *caches("present", "decoder", "encoder")],
    ),
}


@pytest.fixture(scope="module")
def whisper(tiny: Path) -> TorchWhisper:
    return TorchWhisper(tiny)


@pytest.fixture(scope="module")
def references(whisper: TorchWhisper) -> tuple[Reference, ...]:
    clips = [
        ParityClip(clip_id=f"tone-{i}", wave=tone(1.0 + 3 * i, pitch_hz=150.0 + 190 * i), language="fr")
        for i in range(3)
    ]
    return whisper.references(clips, Weights.FP32)


def session(path: Path) -> Any:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def run(path: Path, given: Arrays) -> Arrays:
    opened = session(path)
    names = [output.name for output in opened.get_outputs()]
    return dict(zip(names, opened.run(names, dict(given)), strict=True))


def states(batch: int = 1, n_positions: int = 40) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(0).standard_normal((batch, n_positions, WIDTH)).astype(np.float32)


def past_of(outputs: Arrays) -> Arrays:
    return {
        name.replace("present", "past_key_values"): value
        for name, value in outputs.items()
        if name.startswith("present")
    }


@pytest.mark.parametrize("name", list(NAMES))
def test_a_graph_has_the_tensor_names_that_optimum_looks_for(tiny_onnx: Path, name: str) -> None:
    opened = session(tiny_onnx / name)
    inputs, outputs = NAMES[name]
    assert sorted(value.name for value in opened.get_inputs()) == sorted(inputs)
    assert [value.name for value in opened.get_outputs()] == outputs


@pytest.mark.parametrize("name", list(NAMES))
def test_a_graph_is_valid_and_of_an_opset_that_others_read(tiny_onnx: Path, name: str) -> None:
    graph = onnx.load(tiny_onnx / name)
    onnx.checker.check_model(graph, full_check=True)
    assert {opset.domain: opset.version for opset in graph.opset_import} == {"": 20}


@pytest.mark.parametrize("name", list(NAMES))
def test_a_graph_contains_nothing_of_the_machine_that_made_it(tiny_onnx: Path, name: str) -> None:
    stored = (tiny_onnx / name).read_bytes()
    assert b".py" not in stored
    assert str(Path.home()).encode() + b"/" not in stored


def test_nodes_are_named_after_their_modules(tiny_onnx: Path) -> None:
    names = [node.name for node in onnx.load(tiny_onnx / "encoder_model.onnx").graph.node]
    assert "encoder.layers.1.fc2/MatMul" in names
    assert len(set(names)) == len(names)


def test_a_folder_with_an_onnx_encoder_is_a_stateless_variant(tiny_onnx: Path, baseline: Path) -> None:
    assert (format_of(tiny_onnx), layout_of(tiny_onnx)) == (Format.ONNX, Layout.STATELESS)
    assert components_of(tiny_onnx) == tuple(Component)
    assert format_of(baseline) is Format.OPENVINO


def test_the_variant_generates_the_tokens_of_pytorch(
    tiny_onnx: Path, references: tuple[Reference, ...]
) -> None:
    assert len({reference.tokens for reference in references}) == 3
    parity = check_onnx_parity(tiny_onnx, references, ComputeSpec())
    assert parity.n_clips == 3
    assert parity.encoder_max_difference < 1e-4


@pytest.mark.parametrize(
    ("component", "constant", "expected"),
    [
        (Component.ENCODER, "encoder.conv2.weight", "the encoder differs"),
        (Component.DECODER_WITH_PAST, "decoder.embed_positions.weight", "greedy token"),
    ],
)
def test_a_tampered_weight_is_found(
    tiny_onnx: Path,
    references: tuple[Reference, ...],
    tmp_path: Path,
    component: Component,
    constant: str,
    expected: str,
) -> None:
    folder = copied(tiny_onnx, tmp_path / "tampered")
    graph = onnx.load(onnx_path(folder, component))
    tensor = next(each for each in graph.graph.initializer if each.name == constant)
    values = onnx.numpy_helper.to_array(tensor)
    tensor.CopyFrom(onnx.numpy_helper.from_array(values[::-1].copy(), constant))
    onnx.save(graph, onnx_path(folder, component))
    with pytest.raises(ParityError, match=f"^tampered: {expected}"):
        check_onnx_parity(folder, references, ComputeSpec())


def copied(folder: Path, into: Path) -> Path:
    import shutil

    return Path(shutil.copytree(folder, into))


def test_logits_and_keys_are_those_of_pytorch(tiny_onnx: Path, whisper: TorchWhisper) -> None:
    import torch

    prompt, token = np.array([[5, 6, 7], [8, 9, 10]]), np.array([[11], [12]])
    given = states(2)
    with torch.no_grad():
        first = whisper.model(
            encoder_outputs=(torch.from_numpy(given),), decoder_input_ids=torch.from_numpy(prompt)
        )
        keys = first.past_key_values.self_attention_cache.layers[1].keys.numpy().copy()
        second = whisper.model(
            encoder_outputs=(torch.from_numpy(given),),
            decoder_input_ids=torch.from_numpy(token),
            past_key_values=first.past_key_values,
        )
    found = run(tiny_onnx / "decoder_model.onnx", {"input_ids": prompt, "encoder_hidden_states": given})
    np.testing.assert_allclose(found["logits"], first.logits.numpy(), atol=1e-4)
    np.testing.assert_allclose(found["present.1.decoder.key"], keys, atol=1e-4)
    stepped = run(tiny_onnx / "decoder_with_past_model.onnx", {"input_ids": token, **past_of(found)})
    np.testing.assert_allclose(stepped["logits"], second.logits.numpy(), atol=1e-4)
    assert stepped["present.0.decoder.value"].shape == (2, HEADS, 4, HEAD)


@pytest.mark.parametrize("n_frames", [2, 350, 3000])
def test_the_encoder_takes_any_number_of_frames(
    tiny_onnx: Path, whisper: TorchWhisper, n_frames: int
) -> None:
    import torch

    features = np.random.default_rng(1).standard_normal((3, 80, n_frames)).astype(np.float32)
    found = run(tiny_onnx / "encoder_model.onnx", {"input_features": features})["last_hidden_state"]
    assert found.shape == (3, n_frames // 2, WIDTH)
    if n_frames == 3000:
        with torch.no_grad():
            expected = whisper.model.model.encoder(torch.from_numpy(features)).last_hidden_state.numpy()
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_export_leaves_the_checkpoints_attention_as_it_was(whisper: TorchWhisper) -> None:
    before = whisper.model.config._attn_implementation  # noqa: SLF001 - transformers has no public name for it
    export_component(whisper.model, Component.ENCODER)
    assert whisper.model.config._attn_implementation == before  # noqa: SLF001


def test_the_token_table_is_stored_once(tiny_onnx: Path, whisper: TorchWhisper) -> None:
    table = whisper.model.model.decoder.embed_tokens.weight.shape
    for name in ("decoder_model.onnx", "decoder_with_past_model.onnx", MERGED_NAME):
        tensors = onnx.load(tiny_onnx / name).graph.initializer
        assert sum(sorted(tensor.dims) == sorted(table) for tensor in tensors) == 1


def test_the_merged_decoder_is_hardly_larger_than_one_of_the_two(tiny_onnx: Path) -> None:
    graph = onnx.load(tiny_onnx / MERGED_NAME)
    merged = sum(len(tensor.raw_data) for tensor in graph.graph.initializer)
    single = onnx.load(tiny_onnx / "decoder_model.onnx").graph.initializer
    assert merged == pytest.approx(sum(len(tensor.raw_data) for tensor in single), rel=0.01)


def test_the_merged_decoder_computes_what_the_two_compute(tiny_onnx: Path) -> None:
    prompt = {"input_ids": np.array([[5, 6, 7]]), "encoder_hidden_states": states()}
    nothing = {
        name: np.zeros((1, HEADS, 0, HEAD), np.float32)
        for name in caches("past_key_values", "decoder", "encoder")
    }
    first = run(tiny_onnx / "decoder_model.onnx", prompt)
    merged = run(tiny_onnx / MERGED_NAME, {**prompt, **nothing, "use_cache_branch": np.array([False])})
    for name, expected in first.items():
        np.testing.assert_allclose(merged[name], expected, atol=1e-6)

    token = {"input_ids": np.array([[8]]), **past_of(first)}
    expected_step = run(tiny_onnx / "decoder_with_past_model.onnx", token)
    step = run(
        tiny_onnx / MERGED_NAME,
        {**token, "encoder_hidden_states": states(), "use_cache_branch": np.array([True])},
    )
    for name, value in expected_step.items():
        np.testing.assert_allclose(step[name], value, atol=1e-6)
    assert step["present.0.encoder.key"].size == 0


def test_decoders_of_two_opsets_are_not_merged(tiny_onnx: Path) -> None:
    first, steps = (
        onnx.load(tiny_onnx / name) for name in ("decoder_model.onnx", "decoder_with_past_model.onnx")
    )
    steps.opset_import[0].version = 21
    with pytest.raises(StageError, match="one ONNX opset"):
        merge_decoders(first, steps)


def test_float16_halves_the_weights_and_keeps_the_text(
    whisper: TorchWhisper, tiny_onnx: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "fp16"
    export_onnx(whisper, folder, Silent(), weights=Weights.FP16)
    for component in Component:
        constants = onnx.load(onnx_path(folder, component)).graph.initializer
        assert [
            t.name for t in constants if t.data_type == onnx.TensorProto.FLOAT and len(t.raw_data) > 65_536
        ] == []
        assert size_bytes(onnx_path(folder, component)) < 0.8 * size_bytes(onnx_path(tiny_onnx, component))
    clip = ParityClip(clip_id="tone", wave=tone(2.0), language="en")
    rounded = whisper.references([clip], Weights.FP16)
    assert check_onnx_parity(folder, rounded, ComputeSpec()).encoder_max_difference < 1e-3


def test_a_graph_over_the_limit_has_its_weights_beside_it(tiny_onnx: Path, tmp_path: Path) -> None:
    source = tiny_onnx / "decoder_model.onnx"
    path = tmp_path / source.name
    for _ in range(2):  # writing again replaces the weights, it does not append
        save_graph(onnx.load(source), path, max_file_bytes=100_000)
    beside = path.with_name(path.name + EXTERNAL_SUFFIX)
    assert beside.stat().st_size > 100_000 > path.stat().st_size
    assert size_bytes(path) == pytest.approx(source.stat().st_size, rel=0.05)
    given = {"input_ids": np.array([[5, 6]]), "encoder_hidden_states": states()}
    np.testing.assert_array_equal(run(path, given)["logits"], run(source, given)["logits"])


def test_a_graph_within_the_limit_is_one_file(tiny_onnx: Path) -> None:
    assert [path.name for path in tiny_onnx.glob(f"*{EXTERNAL_SUFFIX}")] == []


def test_a_graph_that_is_not_valid_is_not_accepted(tiny_onnx: Path, tmp_path: Path) -> None:
    graph = onnx.load(tiny_onnx / "encoder_model.onnx")
    graph.graph.node[3].input[0] = "missing"
    with pytest.raises(StageError, match=r"broken\.onnx is no valid ONNX graph"):
        save_graph(graph, tmp_path / "broken.onnx")


def test_an_english_model_with_128_mel_bins_and_one_decoder_layer_is_exported(tmp_path: Path) -> None:
    source = tiny_checkpoint(tmp_path / "v3.en", n_mels=128, decoder_layers=1, multilingual=False)
    english = TorchWhisper(source)
    export_onnx(english, tmp_path / "onnx", Silent())
    clip = ParityClip(clip_id="tone", wave=tone(2.0), language=None)
    references = english.references([clip], Weights.FP32)
    assert check_onnx_parity(tmp_path / "onnx", references, ComputeSpec()).n_clips == 1
