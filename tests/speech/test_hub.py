import io
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from sottovoce.errors import InputError, MissingExtraError
from sottovoce.runtime.audio.decode import decode_audio
from sottovoce.speech.clips import Clip
from sottovoce.speech.sets import read_speech
from sottovoce.speech.sets.hub import HubSpec, clips_of, hub_set_name, parse_hub_spec


def flac() -> bytes:
    file = io.BytesIO()
    sf.write(file, 0.3 * np.sin(np.arange(1600) * 0.2), 16_000, format="FLAC")
    return file.getvalue()


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("hf:librispeech_asr:test", HubSpec(name="librispeech_asr", config=None, split="test")),
        ("hf:google/fleurs:en_us:test", HubSpec(name="google/fleurs", config="en_us", split="test")),
        (
            "hf:google/fleurs:en_us:test[:100]",
            HubSpec(name="google/fleurs", config="en_us", split="test[:100]"),
        ),
        ("hf:a/b:test.clean[10%:20%]", HubSpec(name="a/b", config=None, split="test.clean[10%:20%]")),
    ],
)
def test_a_hub_spec_is_taken_apart(spec: str, expected: HubSpec) -> None:
    assert parse_hub_spec(spec) == expected


@pytest.mark.parametrize("spec", ["hf:", "hf:google/fleurs", "hf:a:b:c:d", "hf::test"])
def test_a_hub_spec_without_name_or_split_is_refused(spec: str) -> None:
    with pytest.raises(InputError, match=r"want hf:NAME:SPLIT or hf:NAME:CONFIG:SPLIT, as in hf:google"):
        read_speech(spec)


def test_a_hub_set_is_named_without_folders_of_this_machine() -> None:
    assert hub_set_name("hf:google/fleurs:en_us:test") == "google/fleurs:en_us:test"
    assert hub_set_name("hf:/data/sets/fleurs:test") == "fleurs:test"


def test_rows_become_clips_whose_audio_stays_as_stored() -> None:
    rows = [
        {"audio": {"bytes": b"RIFF", "path": "x.wav"}, "id": 7, "transcription": "hi", "language": "English"},
        {"audio": {"bytes": None, "path": "/data/y.wav"}, "id": 7, "transcription": None, "language": 3},
    ]
    clips = tuple(clips_of(rows, audio_name="audio", names=["id", "audio", "transcription", "language"]))
    assert clips == (
        Clip(clip_id="000000", audio=b"RIFF", text="hi", language="en"),
        Clip(clip_id="000001", audio=Path("/data/y.wav")),
    )


def test_a_number_that_is_none_says_nothing_in_a_row() -> None:
    row = {"audio": {"bytes": b"RIFF"}, "text": math.nan, "speaker": math.nan, "language": math.nan}
    assert tuple(clips_of([row], audio_name="audio", names=list(row))) == (
        Clip(clip_id="000000", audio=b"RIFF"),
    )


def test_the_languages_of_fleurs_become_codes() -> None:
    languages = ("Mandarin Chinese", "Thai", "Northern-Sotho")
    rows = [{"audio": {"bytes": b"RIFF"}, "language": language} for language in languages]
    clips = clips_of(rows, audio_name="audio", names=["audio", "language"])
    assert [clip.language for clip in clips] == ["zh", "th", None]


def test_a_row_without_audio_is_refused() -> None:
    with pytest.raises(InputError, match="row 0 has no audio, neither bytes nor a path"):
        tuple(clips_of([{"sound": {"bytes": None, "path": None}}], audio_name="sound", names=["sound"]))


def test_without_datasets_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r'pip install "sottovoce\[datasets\]"'):
        read_speech("hf:google/fleurs:en_us:test")


@pytest.fixture
def local_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a set in the layout of the hub, which `datasets` loads without a network."""
    datasets = pytest.importorskip("datasets", reason="the extra `datasets` is not installed")
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    word = {"dtype": "string", "_type": "Value"}
    features = {"audio": {"_type": "Audio"}, "sentence": word, "client_id": word}
    table = arrow.table(
        {
            "audio": [{"bytes": flac(), "path": "a.flac"}] * 3,
            "sentence": ["a", "b", "c"],
            "client_id": ["x", "x", "y"],
        }
    )
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    (tmp_path / "set").mkdir()
    parquet.write_table(table.replace_schema_metadata(metadata), tmp_path / "set" / "test.parquet")
    return tmp_path / "set"


def test_a_set_is_loaded_with_its_audio_undecoded(local_set: Path) -> None:
    speech = read_speech(f"hf:{local_set}:test[:2]")
    assert speech.name == "set:test[:2]"
    assert [(clip.text, clip.speaker) for clip in speech.clips] == [("a", "x"), ("b", "x")]
    assert isinstance(speech.clips[0].audio, bytes)
    assert decode_audio(speech.clips[0].audio).size == 1600


def test_a_split_that_a_set_has_not_is_refused(local_set: Path) -> None:
    with pytest.raises(InputError, match="check the name, config and split, and the network"):
        read_speech(f"hf:{local_set}:nosplit")


def test_a_set_without_audio_is_refused(local_set: Path) -> None:
    (local_set / "test.parquet").unlink()
    (local_set / "test.csv").write_text("sentence\nhello\n")
    with pytest.raises(InputError, match=r"has no audio column \(it has sentence\)"):
        read_speech(f"hf:{local_set}:test")


def test_an_unreachable_hub_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra `datasets` is not installed")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"hf:unknown/nothing:test: the hub could not be reached"):
        read_speech("hf:unknown/nothing:test")
