"""Exported variants compute the same as PyTorch, and errors are found."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from sottovoce.errors import InputError, ParityError
from sottovoce.optimize.checkpoint.identity import read_identity
from sottovoce.optimize.checks.parity import ParityClip, Reference, check_parity, relative_difference
from sottovoce.optimize.openvino.export import TorchWhisper, check_variant, export_variant
from sottovoce.recipes.recipe import FloatVariant
from sottovoce.reference_pipeline import OptimumPipeline
from sottovoce.runs import read_run
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.layout import components_of, layout_of
from sottovoce.terms import Layout, Weights
from tests.support.checkpoints import tiny_checkpoint
from tests.support.tones import tone


def clips(language: str | None) -> tuple[ParityClip, ...]:
    return tuple(
        ParityClip(clip_id=f"tone-{i}", wave=tone(1.0 + 3 * i, pitch_hz=150.0 + 190 * i), language=language)
        for i in range(3)
    )


@pytest.fixture(scope="module")
def references(tiny: Path) -> tuple[Reference, ...]:
    return TorchWhisper(tiny).references(clips("fr"), Weights.FP32)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_checkpoint_whose_training_diverged_is_refused(tiny: Path, tmp_path: Path, value: float) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "mine"))
    tensors = dict(load_file(folder / "model.safetensors"))
    name = "model.encoder.layers.0.fc1.weight"
    tensors[name][3, 5] = value
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=rf"{name} has values that are infinite or no numbers"):
        TorchWhisper(folder)


def test_the_tiny_model_transcribes_different_tones_differently(references: Sequence[Reference]) -> None:
    assert len({reference.tokens for reference in references}) == 3
    assert all(len(set(reference.tokens)) > 1 for reference in references)


@pytest.mark.parametrize("variant", ["fp32", "fp32-stateful"])
def test_a_float32_variant_computes_what_pytorch_computes(
    tiny_run: Path, references: Sequence[Reference], variant: str
) -> None:
    parity = check_parity(tiny_run / variant, references, ComputeSpec())
    assert parity.identical_tokens
    assert parity.encoder_max_difference < 1e-4


def test_a_float16_variant_computes_what_pytorch_computes_with_rounded_weights(
    tiny: Path, tiny_run: Path
) -> None:
    rounded = TorchWhisper(tiny).references(clips("fr"), Weights.FP16)
    assert check_parity(tiny_run / "fp16", rounded, ComputeSpec()).encoder_max_difference < 1e-4


def test_the_processor_of_a_variant_is_that_of_its_checkpoint(
    tiny_run: Path, references: Sequence[Reference]
) -> None:
    variant = OptimumPipeline.load(tiny_run / "fp32", ComputeSpec())
    for reference in references:
        np.testing.assert_allclose(variant.features(reference.clip.wave), reference.features, atol=1e-6)


def test_float16_halves_the_weights(tiny_run: Path) -> None:
    for component in components_of(tiny_run / "fp32"):
        name = f"openvino_{component}_model.bin"
        ratio = (tiny_run / "fp16" / name).stat().st_size / (tiny_run / "fp32" / name).stat().st_size
        assert 0.49 < ratio < 0.52


def test_a_layout_is_recognized_by_its_files(tiny_run: Path) -> None:
    assert layout_of(tiny_run / "fp32") is Layout.STATELESS
    assert layout_of(tiny_run / "fp32-stateful") is Layout.STATEFUL


def test_the_stateful_variant_loads_in_openvino_genai(tiny_run: Path) -> None:
    genai = pytest.importorskip("openvino_genai", reason="comes with the extra peers")
    pipeline = genai.WhisperPipeline(str(tiny_run / "fp32-stateful"), "CPU")
    transcript = pipeline.generate(tone(2.0).tolist(), max_new_tokens=5, language="<|en|>", task="transcribe")
    assert len(transcript.texts) == 1


@pytest.mark.parametrize(
    ("component", "expected"), [("encoder", "the encoder differs"), ("decoder", "greedy token")]
)
def test_a_tampered_weight_is_found(
    baseline: Path, references: Sequence[Reference], tmp_path: Path, component: str, expected: str
) -> None:
    folder = Path(shutil.copytree(baseline, tmp_path / "tampered"))
    path = folder / f"openvino_{component}_model.bin"
    data = np.fromfile(path, dtype=np.float32)
    start = len(data) // 2
    data[start : start + 8192] = 0
    data.tofile(path)
    with pytest.raises(ParityError, match=f"^tampered: {expected}"):
        check_parity(folder, references, ComputeSpec())


def test_a_distilled_english_model_with_128_mel_bins_is_exported(tmp_path: Path) -> None:
    source = tiny_checkpoint(tmp_path / "large-v3.en", n_mels=128, decoder_layers=1, multilingual=False)
    whisper, identity = TorchWhisper(source), read_identity(source)
    assert (identity.n_mels, identity.decoder_layers, identity.is_multilingual) == (128, 1, False)
    variant = FloatVariant(name="fp16", weights=Weights.FP16, layout=Layout.STATEFUL)
    export_variant(whisper, variant, tmp_path / "fp16", same=None)
    assert list(tmp_path.glob("**/.*")) == []
    references = whisper.references(clips(None), Weights.FP16)
    found = check_variant(tmp_path / "fp16", variant, identity, references, ComputeSpec())
    assert found.n_clips == 3


def test_a_run_records_its_parity(tiny_run: Path) -> None:
    parities = {variant.name: variant.facts.parity for variant in read_run(tiny_run).variants}
    assert {name for name, parity in parities.items() if parity is not None} == {
        "fp32",
        "fp16",
        "fp32-stateful",
    }


def test_outputs_of_another_shape_differ_infinitely() -> None:
    assert relative_difference(np.zeros((1, 2), np.float32), np.zeros((2, 1), np.float32)) == float("inf")


def test_a_difference_is_relative_to_the_largest_output() -> None:
    expected = np.array([10.0, -100.0], dtype=np.float32)
    assert relative_difference(expected + np.float32(1), expected) == pytest.approx(0.01)
