"""The interface is that of the faster-whisper that is installed."""

import dataclasses
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sottovoce.faster_whisper as ours
from sottovoce.faster_whisper import results, vad
from sottovoce.faster_whisper.arguments import REFUSED
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import decode_audio
from sottovoce.speech.synthetic import demo_speech

theirs = pytest.importorskip("faster_whisper", reason="the extra `ct2` is not installed")

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "from-faster-whisper.md"

FUNCTIONS = [
    "WhisperModel.__init__",
    "WhisperModel.transcribe",
    "WhisperModel.detect_language",
    "BatchedInferencePipeline.__init__",
    "BatchedInferencePipeline.transcribe",
    "download_model",
    "format_timestamp",
    "decode_audio",
]


def find(module: Any, name: str) -> Callable[..., Any]:
    for part in name.split("."):
        module = getattr(module, part)
    found: Callable[..., Any] = module
    return found


def parameters(function: Callable[..., Any]) -> list[tuple[str, Any]]:
    """Return names and defaults, in order; a list equals a tuple."""
    return [
        (each.name, tuple(each.default) if isinstance(each.default, list) else each.default)
        for each in inspect.signature(function).parameters.values()
    ]


def test_the_version_is_the_one_that_the_interface_was_taken_from() -> None:
    assert theirs.__version__ == ours.__version__


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments_have_the_same_names_order_and_defaults(name: str) -> None:
    assert parameters(find(ours, name)) == parameters(find(theirs, name))


def test_everything_that_is_exported_is_there() -> None:
    assert set(theirs.__all__) <= set(ours.__all__)


@pytest.mark.parametrize("name", ["Word", "Segment", "TranscriptionOptions", "TranscriptionInfo"])
def test_results_have_the_same_fields(name: str) -> None:
    from faster_whisper import transcribe

    fields = [field.name for field in dataclasses.fields(getattr(transcribe, name))]
    assert [field.name for field in dataclasses.fields(getattr(results, name))] == fields


def test_voice_activity_has_the_same_options() -> None:
    from faster_whisper.vad import VadOptions

    assert dataclasses.asdict(vad.VadOptions()) == dataclasses.asdict(VadOptions())


def test_languages_and_times_are_the_same() -> None:
    from faster_whisper.tokenizer import _LANGUAGE_CODES

    assert ours.tokenizer._LANGUAGE_CODES == _LANGUAGE_CODES  # noqa: SLF001 - programs read it
    for seconds in (0.0, 1.2345, 59.9996, 61.5, 3_725.25):
        for with_hours in (False, True):
            expected = theirs.format_timestamp(seconds, with_hours, ",")
            assert ours.format_timestamp(seconds, with_hours, ",") == expected


def test_features_are_the_same() -> None:
    from faster_whisper.feature_extractor import FeatureExtractor

    wave = decode_audio(demo_speech().parent / "clips" / "c01.flac")
    mine, other = ours.feature_extractor.FeatureExtractor(), FeatureExtractor()
    features = other(wave)
    np.testing.assert_allclose(mine(wave)[:, : features.shape[1] - 2], features[:, :-2], atol=0.01)
    assert mine(wave).shape == features.shape
    for name in (
        "sampling_rate",
        "hop_length",
        "chunk_length",
        "n_samples",
        "nb_max_frames",
        "time_per_frame",
    ):
        assert getattr(mine, name) == getattr(other, name)


def test_speech_is_found_in_the_same_places() -> None:
    from faster_whisper.vad import get_speech_timestamps

    clips = demo_speech().parent / "clips"
    pause = np.zeros(3 * SAMPLE_RATE_HZ, np.float32)
    wave = np.concatenate([pause, decode_audio(clips / "c01.flac"), pause, decode_audio(clips / "c02.flac")])
    found, expected = vad.get_speech_timestamps(wave), get_speech_timestamps(wave)
    assert len(found) == len(expected) == 2
    for mine, other in zip(found, expected, strict=True):
        assert mine["start"] == pytest.approx(other["start"], abs=0.2 * SAMPLE_RATE_HZ)
        assert mine["end"] == pytest.approx(other["end"], abs=0.2 * SAMPLE_RATE_HZ)


@pytest.mark.skipif(not PAGE.is_file(), reason="no docs/ here: an sdist leaves them out")
def test_the_page_says_what_becomes_of_each_argument() -> None:
    rows = [
        line.split("|")[1:-1]
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith("| `")
    ]
    documented = {name: row[1].strip() for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    functions = (
        theirs.WhisperModel.__init__,
        theirs.WhisperModel.transcribe,
        theirs.BatchedInferencePipeline.transcribe,
    )
    names = {name for function in functions for name in inspect.signature(function).parameters} - {"self"}
    assert documented.keys() == names
    refused = {name for name, treatment in documented.items() if treatment.startswith("refused")}
    assert refused == {*REFUSED, "model_kwargs"}
