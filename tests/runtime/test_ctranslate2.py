"""CTranslate2 variants in the runtime: faster-whisper behind the same calls, and nothing of torch."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sottovoce.benchmark.engines.engine import EngineSpec
from sottovoce.benchmark.engines.registry import make_engine
from sottovoce.errors import InputError, MissingExtraError, SpecError
from sottovoce.runtime import Task, TranscribeOptions, Transcriber, load
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.transcript import Phase
from sottovoce.terms import Component, Ctranslate2Type, Stage
from tests.support.checkpoints import tiny_checkpoint
from tests.support.tones import tone

pytest.importorskip("faster_whisper", reason="the extra `ct2` is not installed")

GREEDY = TranscribeOptions(language="en", temperature=0.0)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> dict[Ctranslate2Type, Path]:
    from sottovoce.optimize.ctranslate2.export import export_ctranslate2

    folder = tmp_path_factory.mktemp("ctranslate2")
    source = tiny_checkpoint(folder / "tiny.en", multilingual=False)
    for kind in Ctranslate2Type:
        export_ctranslate2(source, folder / kind, kind)
    return {kind: folder / kind for kind in Ctranslate2Type}


@pytest.fixture(scope="module")
def int8(converted: dict[Ctranslate2Type, Path]) -> Transcriber:
    return load(converted[Ctranslate2Type.INT8], threads=1)


def long_wave() -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.concatenate([tone(25.0), tone(25.0, pitch_hz=500.0), tone(20.0, pitch_hz=300.0)])


@pytest.mark.parametrize("kind", list(Ctranslate2Type))
def test_every_type_loads_and_transcribes(
    converted: dict[Ctranslate2Type, Path], kind: Ctranslate2Type
) -> None:
    transcriber = load(converted[kind])
    assert transcriber.transcribe(tone(3.0), GREEDY).segments
    assert transcriber.compiled(Component.ENCODER) is transcriber.compiled(Component.DECODER)


def test_a_transcript_has_all_that_another_variant_s_has(int8: Transcriber) -> None:
    done: list[float] = []
    transcript = int8.transcribe(tone(3.0), GREEDY, progress=done.append)
    assert transcript.duration_s == pytest.approx(3.0)
    assert (transcript.language, transcript.language_probability) == ("en", 1.0)
    assert transcript.text
    assert transcript.n_tokens > 0
    assert all(0 <= segment.start_s <= segment.end_s <= 3.0 for segment in transcript.segments)
    assert all(segment.text == segment.text.strip() for segment in transcript.segments)
    assert {Phase.FEATURES, Phase.ENCODER} <= set(transcript.timings.phase_s)
    assert transcript.timings.calls[Phase.ENCODER] == 1
    assert done[-1] == pytest.approx(3.0)


def test_words_have_places_inside_their_segments(int8: Transcriber) -> None:
    transcript = int8.transcribe(tone(3.0), replace(GREEDY, word_timestamps=True))
    words = [word for segment in transcript.segments for word in segment.words]
    assert words
    assert all(0 <= word.start_s <= word.end_s <= 3.0 and 0 <= word.probability <= 1 for word in words)


@pytest.mark.parametrize(
    "options",
    [
        GREEDY,
        replace(GREEDY, condition_on_previous_text=True),
        replace(GREEDY, vad_filter=False),
        replace(GREEDY, without_timestamps=True, beam_size=2, initial_prompt="boats", hotwords="harbor"),
    ],
    ids=["batches", "sequential", "without voice activity", "beams and hints"],
)
def test_long_audio_is_transcribed_to_its_end(int8: Transcriber, options: TranscribeOptions) -> None:
    transcript = int8.transcribe(long_wave(), options)
    assert transcript.duration_s == pytest.approx(70.0)
    assert transcript.segments
    assert all(segment.end_s <= 70.0 for segment in transcript.segments)


@pytest.mark.parametrize("n_samples", [0, 100, 32_000])
def test_silence_has_no_text(int8: Transcriber, n_samples: int) -> None:
    assert int8.transcribe(np.zeros(n_samples, np.float32)).segments == ()


def test_noise_without_speech_has_no_text(int8: Transcriber) -> None:
    noise = (0.01 * np.random.default_rng(0).standard_normal(80_000)).astype(np.float32)
    transcript = int8.transcribe(noise, TranscribeOptions(vad_filter=True))
    assert transcript.segments == ()
    assert transcript.voice_activity is not None
    assert transcript.voice_activity.startswith("silero of faster-whisper 1.")
    assert int8.transcribe(noise).voice_activity is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (TranscribeOptions(language="de"), "an English-only model cannot transcribe de"),
        (TranscribeOptions(task=Task.TRANSLATE), "an English-only model cannot translate"),
    ],
)
def test_what_the_model_cannot_do_is_refused(
    int8: Transcriber, options: TranscribeOptions, message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        int8.transcribe(tone(1.0), options)


def test_a_damaged_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"no model")
    with pytest.raises(InputError, match=f"{tmp_path} cannot be read: .*make the variant again"):
        load(tmp_path)


def test_without_the_extra_it_says_which_to_install(
    converted: dict[Ctranslate2Type, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(MissingExtraError, match=r"sottovoce\[ct2\]"):
        load(converted[Ctranslate2Type.INT8])


def test_it_loads_no_torch_and_says_nothing(converted: dict[Ctranslate2Type, Path]) -> None:
    code = """
import sys
from sottovoce.runtime import load
from tests.support.tones import tone
load(sys.argv[1]).transcribe(tone(1.0))
print(sorted({"torch", "transformers", "onnx"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(converted[Ctranslate2Type.FLOAT16])],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""


@pytest.mark.parametrize("engine", ["sottovoce", "faster-whisper"])
@pytest.mark.parametrize(
    ("kind", "label"), [(Ctranslate2Type.INT8, "int8_float32"), (Ctranslate2Type.FLOAT32, "float32")]
)
def test_engines_report_what_the_variant_computes_in(
    converted: dict[Ctranslate2Type, Path], engine: str, kind: Ctranslate2Type, label: str
) -> None:
    spec = EngineSpec(engine=engine, variant=kind, folder=converted[kind], compute=ComputeSpec(threads=1))
    made = make_engine(spec)()
    precision = made.precision()
    assert (precision.label, precision.components, precision.threads) == (label, {}, 1)
    timed = made.transcribe(tone(2.0), "en")
    assert timed.calls[Stage.ENCODER] == 1
    assert sum(timed.stage_s.values()) == pytest.approx(timed.latency_s)
    assert getattr(made, "probe", lambda: None)() is None
