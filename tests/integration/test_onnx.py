"""ONNX variants of a real checkpoint: what PyTorch says, and what INT8 leaves of it."""

from pathlib import Path

import jiwer
import numpy as np
import pytest

from sottovoce.calibrate.store import CalibrationStore
from sottovoce.optimize.checkpoint.resolve import resolve_checkpoint
from sottovoce.optimize.checks.parity import ParityClip, check_onnx_parity
from sottovoce.optimize.onnx.export import export_onnx
from sottovoce.optimize.onnx.graph import size_bytes
from sottovoce.optimize.onnx.quantize import quantize_onnx_variant
from sottovoce.optimize.openvino.export import TorchWhisper
from sottovoce.progress import Silent
from sottovoce.recipes.recipe import ComponentQuantization, ComponentSpecs, QuantizedVariant
from sottovoce.runtime import TranscribeOptions, load
from sottovoce.runtime.audio.constants import WINDOW_FRAMES
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.audio.features import log_mel
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.encoder import Encoder
from sottovoce.runtime.model.layout import onnx_path
from sottovoce.speech.clips import Clip, filter_clips
from sottovoce.speech.loading import load_clips
from sottovoce.speech.sets import read_speech
from sottovoce.speech.synthetic import demo_speech
from sottovoce.statistics.accuracy import normalize
from sottovoce.terms import Component, ElasticSpec, Scheme, Weights
from tests.characterization.frozen import Golden, check_transcripts, count_operators

pytestmark = pytest.mark.slow

PLAIN = TranscribeOptions(without_timestamps=True, temperature=0.0)

W8A8, W8 = (
    ComponentQuantization(scheme=Scheme.W8A8, smooth_quant_alpha=0.8),
    ComponentQuantization(scheme=Scheme.W8),
)


@pytest.fixture(scope="module")
def clips() -> list[tuple[Clip, Wave]]:
    loaded = load_clips(filter_clips(read_speech(str(demo_speech())), ["split=eval"]).clips, wanted=8)
    return [(clip.clip, clip.wave) for clip in loaded.loaded]


@pytest.fixture(scope="module")
def whisper(tiny_run: Path) -> TorchWhisper:
    assert tiny_run.is_dir()  # skips where the checkpoint is not installed
    return TorchWhisper(resolve_checkpoint("tiny.en").folder)


@pytest.fixture(scope="module")
def fp32(whisper: TorchWhisper, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("onnx") / "fp32"
    export_onnx(whisper, folder, Silent())
    return folder


@pytest.fixture(scope="module")
def int8(tiny_run: Path, fp32: Path) -> Path:
    """The encoder calibrated and elastic, the decoders with INT8 weights."""
    folder = fp32.with_name("int8")
    variant = QuantizedVariant(
        elastic=ElasticSpec(), components=ComponentSpecs(encoder=W8A8, decoder=W8, decoder_with_past=W8)
    )
    store = CalibrationStore(tiny_run / "calibration")
    quantize_onnx_variant(fp32, store, variant, folder, Silent(), baseline=tiny_run / "fp32")
    return folder


def test_the_variant_generates_the_tokens_of_pytorch(
    whisper: TorchWhisper, fp32: Path, clips: list[tuple[Clip, Wave]]
) -> None:
    chosen = [ParityClip(clip_id=clip.clip_id, wave=wave, language=None) for clip, wave in clips[:3]]
    parity = check_onnx_parity(fp32, whisper.references(chosen, Weights.FP32), ComputeSpec())
    assert parity.encoder_max_difference < 1e-4


def texts(folder: Path, clips: list[tuple[Clip, Wave]]) -> list[str]:
    transcriber = load(folder)
    return [transcriber.transcribe(wave, PLAIN).text for _, wave in clips]


@pytest.fixture(scope="module")
def float_texts(fp32: Path, clips: list[tuple[Clip, Wave]]) -> list[str]:
    return texts(fp32, clips)


def test_both_formats_transcribe_alike(
    tiny_run: Path, float_texts: list[str], clips: list[tuple[Clip, Wave]]
) -> None:
    assert float_texts == texts(tiny_run / "fp32", clips)
    assert all(float_texts)


def test_int8_transcribes_what_float_transcribes(
    float_texts: list[str], int8: Path, clips: list[tuple[Clip, Wave]]
) -> None:
    references = [normalize(clip.text or "", "en") for clip, _ in clips]
    before, after = (
        jiwer.wer(references, [normalize(text, "en") for text in said])
        for said in (float_texts, texts(int8, clips))
    )
    assert after <= before + 0.05


def test_int8_takes_a_third_of_the_disk(fp32: Path, int8: Path) -> None:
    totals = [sum(size_bytes(onnx_path(folder, part)) for part in Component) for folder in (fp32, int8)]
    assert totals[1] < totals[0] / 3


def test_int8_encodes_the_speech_only(int8: Path, clips: list[tuple[Clip, Wave]]) -> None:
    encoder = Encoder.load(int8, ComputeSpec())
    wave = min((wave for _, wave in clips), key=np.size)
    plan = encoder.plan(len(wave))
    assert plan.n_frames < WINDOW_FRAMES
    states = encoder.encode(log_mel(wave, n_mels=encoder.n_mels, n_frames=plan.n_frames), plan).states
    assert states.shape == (1, plan.n_positions + plan.n_padding, 384)
    assert np.isfinite(states).all()


def test_optimum_loads_the_int8_variant(
    tiny_run: Path, fp32: Path, clips: list[tuple[Clip, Wave]], tmp_path: Path
) -> None:
    """Not the elastic one: only our runtime appends the states of silence."""
    optimum = pytest.importorskip("optimum.onnxruntime", reason="optimum-onnx is not installed")
    from transformers import AutoProcessor

    variant = QuantizedVariant(components=ComponentSpecs(encoder=W8A8, decoder=W8, decoder_with_past=W8))
    store = CalibrationStore(tiny_run / "calibration")
    folder = tmp_path / "int8"
    quantize_onnx_variant(fp32, store, variant, folder, Silent(), baseline=tiny_run / "fp32")
    model, processor = (
        optimum.ORTModelForSpeechSeq2Seq.from_pretrained(folder),
        AutoProcessor.from_pretrained(folder),
    )
    features = processor(clips[0][1], sampling_rate=16_000, return_tensors="pt").input_features
    said = processor.batch_decode(model.generate(features), skip_special_tokens=True)[0]
    assert normalize(said, "en") == normalize(clips[0][0].text or "", "en")


def test_the_int8_nodes_are_those_of_before(int8: Path, golden: Golden) -> None:
    graphs = sorted(int8.rglob("*.onnx"))

    golden.check_json("int8_nodes-onnx-int8.json", {graph.stem: count_operators(graph) for graph in graphs})


def test_real_speech_is_transcribed_as_before(
    int8: Path, real_speech: Path, golden: Golden, tmp_path: Path
) -> None:
    check_transcripts(golden, "onnx-int8", int8, real_speech, tmp_path)
