"""The checkpoint in PyTorch: the tokens of transformers, and its quantized linear layers."""

from pathlib import Path

import pytest
import torch
from torch.ao.nn.quantized.dynamic import Linear as DynamicLinear
from transformers import WhisperForConditionalGeneration, WhisperProcessor

from sottovoce.benchmark.engines.torch import DynamicTorchEngine, TorchEngine, with_processor
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.terms import Stage
from tests.support.checkpoints import TINY_MAX_TOKENS, tiny_checkpoint
from tests.support.tones import tone

ONE_THREAD = ComputeSpec(threads=1)

LINEARS_OF_A_LAYER = {"encoder": 4 + 2, "decoder": 2 * 4 + 2}
"""Of its attentions, and of its feed-forward network."""

N_LAYERS = 2


@pytest.fixture(scope="module")
def english(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny.en", multilingual=False)


def generated(folder: Path, wave: Wave, **options: str) -> tuple[list[int], str]:
    """Return the tokens and the text that transformers generates for a wave."""
    model = WhisperForConditionalGeneration.from_pretrained(folder).eval()
    processor = WhisperProcessor.from_pretrained(folder)
    features = processor(wave, sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt").input_features
    tokens = model.generate(features, num_beams=1, do_sample=False, **options)[0].tolist()
    text = processor.decode(tokens, skip_special_tokens=True).strip()
    return [token for token in tokens if token != model.generation_config.eos_token_id], text


@pytest.mark.parametrize("duration_s", [0.5, 2.0, 7.0])
def test_torch_transcribes_as_transformers_does(tiny: Path, duration_s: float) -> None:
    wave = tone(duration_s)
    tokens, text = generated(tiny, wave, language="de", task="transcribe")
    timed = TorchEngine(tiny, ONE_THREAD).transcribe(wave, "de")
    assert (timed.text, timed.n_tokens) == (text, len(tokens))
    whisper = with_processor(TorchEngine.load_model(tiny, ONE_THREAD), tiny)
    assert list(whisper.generate(whisper.features(wave), "de")) == tokens


def test_an_english_only_checkpoint_is_given_no_language(english: Path) -> None:
    _, text = generated(english, tone(2.0))
    assert TorchEngine(english, ONE_THREAD).transcribe(tone(2.0), "en").text == text


def test_every_pass_is_counted(tiny: Path) -> None:
    engine = TorchEngine(tiny, ONE_THREAD)
    timed = engine.transcribe(tone(2.0), "en")
    assert timed.calls[Stage.ENCODER] == timed.calls[Stage.DECODER] == 1
    assert timed.calls[Stage.DECODER_WITH_PAST] in (timed.n_tokens - 1, timed.n_tokens)
    assert all(timed.stage_s[stage] > 0 for stage in timed.calls)
    assert 0 < timed.n_tokens <= TINY_MAX_TOKENS


def test_detecting_a_language_is_another_prefill(tiny: Path) -> None:
    timed = TorchEngine(tiny, ONE_THREAD).transcribe(tone(2.0), None)
    assert timed.calls[Stage.DECODER] == 2


def test_dynamic_quantization_leaves_no_linear_layer_float(tiny: Path) -> None:
    modules = list(DynamicTorchEngine.load_model(tiny, ONE_THREAD).modules())
    assert not any(isinstance(module, torch.nn.Linear) for module in modules)
    quantized = [module for module in modules if isinstance(module, DynamicLinear)]
    assert len(quantized) == N_LAYERS * sum(LINEARS_OF_A_LAYER.values()) + 1
    assert {module.weight().dtype for module in quantized} == {torch.qint8}


@pytest.mark.parametrize("engine", [TorchEngine, DynamicTorchEngine])
def test_every_layer_is_counted_with_its_type(tiny: Path, engine: type[TorchEngine]) -> None:
    is_dynamic = engine is DynamicTorchEngine
    precision = engine(tiny, ONE_THREAD).precision()
    n_encoder = N_LAYERS * LINEARS_OF_A_LAYER["encoder"]
    n_decoder = N_LAYERS * LINEARS_OF_A_LAYER["decoder"] + 1
    # Beside linear layers: two convolutions and an attention in each layer; two attentions in each.
    floats = {"encoder": 2 + N_LAYERS, "decoder": 2 * N_LAYERS}
    nodes = {part: component.nodes for part, component in precision.components.items()}
    if is_dynamic:
        assert nodes == {
            "encoder": {"i8": n_encoder, "f32": floats["encoder"]},
            "decoder": {"i8": n_decoder, "f32": floats["decoder"]},
        }
    else:
        assert nodes == {
            "encoder": {"f32": n_encoder + floats["encoder"]},
            "decoder": {"f32": n_decoder + floats["decoder"]},
        }
    assert precision.label == ("int8+f32" if is_dynamic else "f32")
    assert {part.dynamic_quantization_group_size != 0 for part in precision.components.values()} == {
        is_dynamic
    }


def test_torch_uses_the_requested_threads(tiny: Path) -> None:
    before = torch.get_num_threads()
    try:
        assert TorchEngine(tiny, ComputeSpec(threads=2)).precision().threads == 2
    finally:
        torch.set_num_threads(before)
