"""`WhisperModel` and `BatchedInferencePipeline` do what programs that were written for faster-whisper expect."""

import inspect
import io
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from sottovoce.errors import InputError, SpecError
from sottovoce.faster_whisper import BatchedInferencePipeline, WhisperModel
from sottovoce.faster_whisper.arguments import REFUSED, to_options
from sottovoce.faster_whisper.detection import settle_language
from sottovoce.faster_whisper.results import Segment
from sottovoce.runtime import load
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave, decode_audio
from sottovoce.runtime.decoding.context import DetectedLanguage
from sottovoce.speech.synthetic import demo_speech
from tests.support.tones import tone, write_wav

GREEDY: dict[str, Any] = {"beam_size": 1, "temperature": 0.0}


@pytest.fixture(scope="module")
def folder(tiny_run: Path) -> Path:
    return tiny_run / "fp32-stateful"


@pytest.fixture(scope="module")
def model(folder: Path) -> WhisperModel:
    return WhisperModel(str(folder), device="cpu", cpu_threads=1)


@pytest.fixture(scope="module")
def speech() -> Wave:
    """Hold two sentences with 4 s of silence before, between and behind them."""
    clips = demo_speech().parent / "clips"
    pause = np.zeros(4 * SAMPLE_RATE_HZ, np.float32)
    first, second = (decode_audio(clips / name) for name in ("c01.flac", "c02.flac"))
    return np.concatenate([pause, first, pause, second, pause])


def text_of(segments: Iterator[Segment]) -> str:
    return "".join(segment.text for segment in segments)


def test_the_import_loads_neither_torch_nor_faster_whisper() -> None:
    code = (
        "import sys, sottovoce.faster_whisper\n"
        "assert not {'torch', 'transformers', 'faster_whisper', 'ctranslate2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_program_finds_everything_under_the_old_names(tmp_path: Path) -> None:
    """Put it in the place of faster_whisper, whose name the program goes on importing."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, sottovoce.faster_whisper\nsys.modules['faster_whisper'] = sottovoce.faster_whisper"
    )
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import sitecustomize\n"
        "import importlib; importlib.reload(sitecustomize)\n"
        "import faster_whisper\n"
        "from faster_whisper import BatchedInferencePipeline, WhisperModel, available_models, decode_audio\n"
        "from faster_whisper.audio import decode_audio\n"
        "from faster_whisper.transcribe import Segment, TranscriptionInfo, TranscriptionOptions, Word\n"
        "from faster_whisper.utils import download_model, format_timestamp\n"
        "from faster_whisper.vad import VadOptions, get_speech_timestamps\n"
        "assert 'sottovoce' in faster_whisper.__file__ and 'de' in faster_whisper.tokenizer._LANGUAGE_CODES\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_a_transcription_is_that_of_the_runtime(model: WhisperModel, folder: Path) -> None:
    segments, info = model.transcribe(tone(3.0), language="de", word_timestamps=True, **GREEDY)
    found = list(segments)
    expected = load(folder, threads=1).transcribe(
        tone(3.0), language="de", word_timestamps=True, temperature=0.0, vad_filter=False
    )
    assert [segment.text.strip() for segment in found] == [segment.text for segment in expected.segments]
    assert [tuple(segment.tokens) for segment in found] == [segment.tokens for segment in expected.segments]
    assert [segment.id for segment in found] == list(range(1, len(found) + 1))
    words = [word for segment in found for word in segment.words or []]
    assert "".join(word.word for word in words) == text_of(iter(found))
    assert (info.language, info.language_probability, info.duration) == ("de", 1.0, 3.0)
    assert (info.duration_after_vad, info.all_language_probs, info.vad_options) == (3.0, None, None)


def test_texts_join_as_the_model_wrote_them(model: WhisperModel) -> None:
    segments = list(model.transcribe(tone(3.0), language="en", **GREEDY)[0])
    tokens = [token for segment in segments for token in segment.tokens]
    assert text_of(iter(segments)) == model.hf_tokenizer.decode(tokens)


def test_segments_are_made_while_they_are_taken(model: WhisperModel) -> None:
    segments, info = model.transcribe(tone(70.0), language="en", **GREEDY)
    assert iter(segments) is segments
    assert info.duration == 70.0
    first = next(segments)
    assert first.end <= 31.0
    others = list(segments)
    assert others
    assert all(before.start <= after.start for before, after in pairwise([first, *others]))


def test_audio_may_be_a_path_an_open_file_bytes_or_samples(model: WhisperModel, tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    write_wav(path, tone(2.0))
    wave = decode_audio(path)
    with path.open("rb") as opened:
        audios: list[Any] = [
            str(path),
            path,
            opened,
            io.BytesIO(path.read_bytes()),
            path.read_bytes(),
            wave,
            wave.astype("f8"),
        ]
        texts = {text_of(model.transcribe(audio, language="en", **GREEDY)[0]) for audio in audios}
    assert len(texts) == 1
    assert texts != {""}


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (np.zeros(100, np.int16), "the audio has the type int16, want floats"),
        (np.zeros((2, 100), np.float32), r"the audio has shape \(2, 100\)"),
        ("not-there.wav", "not-there.wav"),
    ],
    ids=["integers", "channels", "no file"],
)
def test_unusable_audio_is_refused_at_once(model: WhisperModel, audio: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        model.transcribe(audio)


def test_a_language_that_is_not_given_is_known_before_the_segments(model: WhisperModel) -> None:
    language, probability, probabilities = model.detect_language(tone(3.0))
    assert probabilities[0] == (language, probability)
    assert sorted(probabilities, key=lambda each: -each[1]) == probabilities
    assert sum(value for _, value in probabilities) == pytest.approx(1.0, abs=1e-3)
    assert {code for code, _ in probabilities} == set(model.supported_languages)
    segments, info = model.transcribe(tone(3.0), **GREEDY)
    assert info.language == language
    assert dict(info.all_language_probs or ()) == pytest.approx(dict(probabilities), abs=1e-3)
    expected, _ = model.transcribe(tone(3.0), language=language, **GREEDY)
    assert list(map(asdict, segments)) == list(map(asdict, expected))


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [(0.5, ("de", 0.6)), (0.9, ("en", 0.4)), (None, ("en", 0.4)), (0.25, ("en", 0.3))],
)
def test_the_first_window_above_the_threshold_or_else_the_most_decide_the_language(
    threshold: float | None, expected: tuple[str, float]
) -> None:
    windows = [("en", 0.3), ("de", 0.6), ("en", 0.4)]
    found = settle_language(
        (DetectedLanguage(language=code, probability=value) for code, value in windows), threshold
    )
    assert (found.language, found.probability) == expected


def test_a_language_is_detected_as_the_user_wants(model: WhisperModel) -> None:
    """The last window is another one than the first, whose probabilities differ."""
    windows = [tone(30.0), tone(30.0, pitch_hz=900.0, noise=0.2)]
    first, last = (model.detect_language(window)[1] for window in windows)
    assert first != last
    wave = np.concatenate(windows)
    settings: dict[str, Any] = {"language_detection_segments": 2, "language_detection_threshold": None}
    assert model.detect_language(wave, **settings)[1] == max(first, last)
    assert model.transcribe(wave, **settings, **GREEDY)[1].language_probability == max(first, last)
    settings["language_detection_threshold"] = 0.0
    assert model.transcribe(wave, **settings, **GREEDY)[1].language_probability == first


def test_a_language_may_be_a_name(model: WhisperModel) -> None:
    segments, info = model.transcribe(tone(3.0), language="German", **GREEDY)
    expected, _ = model.transcribe(tone(3.0), language="de", **GREEDY)
    assert info.language == "de"
    assert text_of(segments) == text_of(expected)
    with pytest.raises(SpecError, match="unknown language klingon"):
        model.transcribe(tone(3.0), language="klingon")


def test_a_silent_clip_does_not_decide_the_language(model: WhisperModel) -> None:
    wave = np.concatenate([np.zeros(3 * SAMPLE_RATE_HZ, np.float32), tone(3.0)])
    _, info = model.transcribe(wave, clip_timestamps="0,3,3,6", **GREEDY)
    assert info.language == model.detect_language(tone(3.0))[0] != "en"


def test_damaged_settings_are_named(folder: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(folder, damaged)
    (damaged / "preprocessor_config.json").write_text("{")
    with pytest.raises(
        InputError, match=r"preprocessor_config.json cannot be read: .*; make the variant again"
    ):
        WhisperModel(str(damaged), cpu_threads=1)


def test_a_model_that_knows_english_only_takes_it(
    model: WhisperModel, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert model.is_multilingual
    assert model.model.is_multilingual
    assert len(model.supported_languages) == 99
    shutil.copytree(folder, tmp_path / "english")
    settings = tmp_path / "english" / "generation_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "lang_to_id": {}, "task_to_id": {}}))
    english = WhisperModel(str(tmp_path / "english"), cpu_threads=1)
    assert not english.is_multilingual
    assert english.supported_languages == ["en"]
    segments, info = english.transcribe(tone(3.0), language="de", multilingual=True, **GREEDY)
    assert (info.language, info.language_probability) == ("en", 1.0)
    assert text_of(segments)
    assert "en is taken instead of de" in caplog.text
    assert "multilingual=True has no effect" in caplog.text


def test_silence_has_no_segments(model: WhisperModel) -> None:
    for audio in (np.zeros(0, np.float32), np.zeros(SAMPLE_RATE_HZ, np.float32)):
        for vad_filter in (False, True):
            segments, info = model.transcribe(audio, vad_filter=vad_filter)
            assert list(segments) == []
            assert (info.language, info.language_probability) == ("en", 0.0)


def test_the_voice_activity_filter_leaves_out_silence(model: WhisperModel, speech: Wave) -> None:
    segments, info = model.transcribe(speech, language="en", vad_filter=True, **GREEDY)
    found = list(segments)
    assert info.duration == pytest.approx(speech.size / SAMPLE_RATE_HZ)
    assert info.duration_after_vad == pytest.approx(info.duration - 12.0, abs=2.0)
    assert info.vad_options is not None
    assert info.vad_options.min_silence_duration_ms == 2000
    assert found[0].start >= 3.4
    assert found[-1].end <= info.duration - 3.0
    _, info = model.transcribe(speech, language="en", vad_filter=False, **GREEDY)
    assert info.duration_after_vad == info.duration


def test_parameters_of_voice_activity_are_taken(model: WhisperModel, speech: Wave) -> None:
    lengths = [
        model.transcribe(speech, language="en", vad_filter=True, vad_parameters={"speech_pad_ms": pad})[1]
        for pad in (0, 400)
    ]
    assert lengths[1].duration_after_vad - lengths[0].duration_after_vad == pytest.approx(1.6, abs=0.2)
    _, joined = model.transcribe(
        speech, language="en", vad_filter=True, vad_parameters={"min_silence_duration_ms": 9000}
    )
    assert joined.duration_after_vad > lengths[1].duration_after_vad + 2.0
    with pytest.raises(TypeError, match="min_silence_ms"):
        model.transcribe(speech, vad_filter=True, vad_parameters={"min_silence_ms": 100})


def test_only_clips_are_transcribed(model: WhisperModel) -> None:
    wave = np.concatenate([tone(4.0), tone(4.0, pitch_hz=500.0), tone(4.0, pitch_hz=300.0)])
    segments, info = model.transcribe(wave, language="en", clip_timestamps="4,8,10", **GREEDY)
    found = list(segments)
    second, _ = model.transcribe(wave[4 * SAMPLE_RATE_HZ : 8 * SAMPLE_RATE_HZ], language="en", **GREEDY)
    third, _ = model.transcribe(wave[10 * SAMPLE_RATE_HZ :], language="en", **GREEDY)
    assert text_of(iter(found)) == text_of(second) + text_of(third)
    assert all(
        4.0 <= each.start <= each.end <= 8.0 or 10.0 <= each.start <= each.end <= 12.0 for each in found
    )
    assert (info.duration, info.duration_after_vad) == (12.0, 6.0)
    with pytest.raises(SpecError, match="clip from 5 to 3 s"):
        model.transcribe(wave, clip_timestamps=[5.0, 3.0])


def test_clips_of_a_batch_are_decoded_together(model: WhisperModel) -> None:
    wave = np.concatenate([tone(3.0), tone(3.0, pitch_hz=500.0), tone(3.0, pitch_hz=300.0)])
    clips = [{"start": 0.0, "end": 3.0}, {"start": 3.0, "end": 6.0}, {"start": 6.0, "end": 9.0}]
    pipeline = BatchedInferencePipeline(model=model)
    segments, _ = pipeline.transcribe(wave, language="en", clip_timestamps=clips, batch_size=2, **GREEDY)
    found = list(segments)
    alone = [
        text_of(model.transcribe(part, language="en", without_timestamps=True, **GREEDY)[0])
        for part in np.split(wave, 3)
    ]
    assert [segment.text for segment in found] == alone
    assert [segment.start // 3 for segment in found] == [0, 1, 2]
    with pytest.raises(SpecError, match="clip from 0 to 31 s; want at most 30 s each"):
        pipeline.transcribe(tone(40.0), clip_timestamps=[{"start": 0, "end": 31}])


def test_a_pipeline_filters_by_voice_activity(model: WhisperModel, speech: Wave) -> None:
    segments, info = BatchedInferencePipeline(model).transcribe(
        speech, language="en", batch_size=64, **GREEDY
    )
    assert info.duration_after_vad < info.duration - 9.0
    assert info.vad_options is not None
    assert info.vad_options.min_silence_duration_ms == 160
    assert all(segment.start >= 3.4 for segment in segments)


def test_each_window_has_a_language_of_its_own(model: WhisperModel, folder: Path) -> None:
    windows = [tone(30.0), tone(20.0, pitch_hz=900.0, noise=0.2)]
    segments, info = model.transcribe(np.concatenate(windows), language="de", multilingual=True, **GREEDY)
    transcripts = load(folder, threads=1).transcribe_batch(windows, temperature=0.0, vad_filter=False)
    assert "de" not in {transcript.language for transcript in transcripts}
    assert info.language == "de"
    expected = [segment.text for transcript in transcripts for segment in transcript.segments]
    assert [segment.text.strip() for segment in segments] == expected


@pytest.mark.parametrize("prompt", ["boats", [5, 6, 7]], ids=["text", "tokens"])
def test_prompts_reach_the_model(model: WhisperModel, prompt: Any) -> None:
    plain = text_of(model.transcribe(tone(3.0), language="en", **GREEDY)[0])
    prompted = text_of(model.transcribe(tone(3.0), language="en", initial_prompt=prompt, **GREEDY)[0])
    hinted = text_of(model.transcribe(tone(3.0), language="en", hotwords="the harbor lights", **GREEDY)[0])
    assert len({plain, prompted, hinted}) == 3


def test_suppressed_tokens_are_not_in_the_text(model: WhisperModel) -> None:
    tokens = next(model.transcribe(tone(3.0), language="en", **GREEDY)[0]).tokens
    segments, _ = model.transcribe(tone(3.0), language="en", suppress_tokens=[-1, tokens[0]], **GREEDY)
    assert all(tokens[0] not in segment.tokens for segment in segments)


def test_thresholds_may_be_none(model: WhisperModel) -> None:
    names = ("compression_ratio_threshold", "log_prob_threshold", "no_speech_threshold")
    defaults = {name: each.default for name, each in inspect.signature(model.transcribe).parameters.items()}
    options = to_options(defaults | dict.fromkeys(names), model.vocabulary, "en", is_batched=False)
    assert options.compression_ratio_threshold > 1e300
    assert options.log_prob_threshold == -math.inf
    assert options.no_speech_threshold == 1.0
    given: dict[str, Any] = {**GREEDY, **dict.fromkeys(names)}
    assert text_of(model.transcribe(tone(3.0), language="en", **given)[0])


@pytest.mark.parametrize("temperature", [0.6, [0.6], (np.float64(0.6),)], ids=["number", "list", "numpy"])
def test_a_temperature_may_be_one_or_several(model: WhisperModel, temperature: Any) -> None:
    segments, info = model.transcribe(tone(3.0), language="en", temperature=temperature, best_of=2)
    assert {segment.temperature for segment in segments} == {0.6}
    assert info.transcription_options.temperatures == [0.6]


def test_progress_is_shown_on_standard_error(model: WhisperModel, capsys: pytest.CaptureFixture[str]) -> None:
    list(model.transcribe(tone(3.0), language="en", log_progress=True, **GREEDY)[0])
    shown = capsys.readouterr()
    assert "100%" in shown.err
    assert shown.out == ""


def test_what_is_returned_can_be_changed_and_read_as_a_dictionary(model: WhisperModel) -> None:
    segment = next(model.transcribe(tone(3.0), language="en", word_timestamps=True, **GREEDY)[0])
    segment.start += 10.0
    with pytest.warns(DeprecationWarning, match="use dataclasses.asdict"):
        assert segment._asdict() == asdict(segment)
    assert segment.words
    with pytest.warns(DeprecationWarning, match="use dataclasses.asdict"):
        assert segment.words[0]._asdict()["word"] == segment.words[0].word


def test_workers_transcribe_at_the_same_time(folder: Path, model: WhisperModel) -> None:
    workers = WhisperModel(str(folder), cpu_threads=1, num_workers=2)
    waves = [tone(3.0, pitch_hz=pitch) for pitch in (200.0, 300.0, 400.0)]
    texts: dict[int, str] = {}

    def work(number: int) -> None:
        texts[number] = text_of(workers.transcribe(waves[number], language="en", **GREEDY)[0])

    threads = [Thread(target=work, args=(number,)) for number in range(len(waves))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == {
        number: text_of(model.transcribe(wave, language="en", **GREEDY)[0])
        for number, wave in enumerate(waves)
    }


OTHER_VALUES: dict[str, Any] = {
    "device": "cuda",
    "device_index": 1,
    "files": {"model.bin": b""},
    "revision": "main",
    "use_auth_token": True,
    "length_penalty": 0.8,
    "prompt_reset_on_temperature": 0.4,
    "prefix": "Well,",
    "suppress_blank": False,
    "max_new_tokens": 100,
    "chunk_length": 20,
    "prepend_punctuations": "",
    "append_punctuations": "!" * 500,
}


def test_every_refused_argument_is_tried() -> None:
    assert OTHER_VALUES.keys() == REFUSED.keys()


@pytest.mark.parametrize("name", REFUSED)
def test_an_argument_without_effect_is_refused_by_its_name(
    name: str, model: WhisperModel, folder: Path
) -> None:
    given: Any = {name: OTHER_VALUES[name]}
    is_of_constructor = name in inspect.signature(WhisperModel).parameters
    call = partial(WhisperModel, str(folder)) if is_of_constructor else partial(model.transcribe, tone(1.0))
    with pytest.raises(SpecError, match=f"{name}=.* is not supported: .*leave {name} out") as caught:
        call(**given)
    assert len(str(caught.value)) < 300


def test_arguments_of_other_libraries_are_refused(model: WhisperModel, folder: Path) -> None:
    with pytest.raises(SpecError, match="flash_attention is not supported"):
        WhisperModel(str(folder), flash_attention=True)
    with pytest.raises(SpecError, match="features are not supported"):
        model.detect_language(features=model.feature_extractor(tone(1.0)))
    with pytest.raises(TypeError, match="beams"):
        model.transcribe(tone(1.0), beams=2)  # type: ignore[call-arg]
