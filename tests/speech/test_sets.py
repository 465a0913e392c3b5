import json
import math
import string
import unicodedata
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sottovoce.errors import InputError
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import decode_audio, is_silent
from sottovoce.speech.clips import Clip
from sottovoce.speech.sets import read_speech

REAL_SPEECH = Path(__file__).parents[2].parent / "shared" / "speech"


def write_tone(path: Path, *, duration_s: float = 0.2) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    time_s = np.arange(int(SAMPLE_RATE_HZ * duration_s)) / SAMPLE_RATE_HZ
    sf.write(path, 0.3 * np.sin(2 * np.pi * 440 * time_s), SAMPLE_RATE_HZ)


def write_lines(path: Path, *lines: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)


# Manifests


def test_a_manifest_gives_every_field(tmp_path: Path) -> None:
    row = {
        "id": "one",
        "audio": "clips/one.flac",
        "text": "Grüße",
        "language": "de-DE",
        "split": "calib",
        "speaker": 17,
        "source": "mine",
        "duration_s": 1.5,
        "license": "CC0",
    }
    speech = read_speech(write_lines(tmp_path / "manifest.jsonl", json.dumps(row, ensure_ascii=False), ""))
    assert speech.name == "manifest.jsonl"
    assert speech.clips == (
        Clip(
            clip_id="one",
            audio=tmp_path / "clips" / "one.flac",
            text="Grüße",
            language="de",
            split="calib",
            speaker="17",
            source="mine",
            duration_s=1.5,
        ),
    )


def test_a_nemo_manifest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "train_manifest.json"
    inside = json.dumps(
        {"audio_filepath": str(tmp_path / "a" / "x.wav"), "duration": 2.25, "text": "a", "offset": 0}
    )
    outside = json.dumps({"audio_filepath": "/elsewhere/y.wav", "duration": 1, "text": "b"})
    first, second = read_speech(write_lines(path, inside, outside)).clips
    assert (first.clip_id, first.audio, first.duration_s) == ("a/x.wav", tmp_path / "a" / "x.wav", 2.25)
    assert (second.clip_id, second.audio) == ("y.wav", Path("/elsewhere/y.wav"))


def test_several_clips_of_a_nemo_manifest_are_parts_of_one_file(tmp_path: Path) -> None:
    lines = [
        json.dumps({"audio_filepath": "talk.wav", "offset": start_s, "duration": 3.0, "text": "a"})
        for start_s in (0.0, 3.0, 10.25)
    ]
    clips = read_speech(write_lines(tmp_path / "m.json", *lines)).clips
    assert [clip.part for clip in clips] == [(0.0, 3.0), (3.0, 3.0), (10.25, 3.0)]
    assert [clip.clip_id for clip in clips] == ["talk.wav", "talk.wav@3", "talk.wav@10.25"]


@pytest.mark.parametrize(("written", "on_disk"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_name_finds_its_file_whichever_way_its_accents_are_written(
    tmp_path: Path, written: Literal["NFC", "NFD"], on_disk: Literal["NFC", "NFD"]
) -> None:
    file = tmp_path / unicodedata.normalize(on_disk, "Café") / unicodedata.normalize(on_disk, "Übung.wav")
    file.parent.mkdir()
    file.touch()
    line = json.dumps({"audio": unicodedata.normalize(written, "Café/Übung.wav"), "text": "a"})
    (clip,) = read_speech(write_lines(tmp_path / "m.jsonl", line)).clips
    assert isinstance(clip.audio, Path)
    assert clip.audio.is_file()


def test_an_empty_text_is_kept_and_a_missing_one_is_none(tmp_path: Path) -> None:
    spec = write_lines(
        tmp_path / "m.jsonl", '{"audio": "a.wav", "text": ""}', '{"audio": "b.wav", "text": null}'
    )
    assert [clip.text for clip in read_speech(spec).clips] == ["", None]


def test_the_ids_of_a_set_stay_when_it_is_moved(tmp_path: Path) -> None:
    line = '{"audio": "clips/a.wav", "text": "a"}'
    here = read_speech(write_lines(tmp_path / "here" / "m.jsonl", line))
    there = read_speech(write_lines(tmp_path / "there" / "m.jsonl", line))
    assert [clip.clip_id for clip in here.clips] == [clip.clip_id for clip in there.clips] == ["clips/a.wav"]


def test_a_number_that_is_none_says_nothing(tmp_path: Path) -> None:
    names = ("text", "id", "language", "split", "speaker", "source")
    line = json.dumps({"audio": "a.wav", **dict.fromkeys(names, math.nan)})
    assert read_speech(write_lines(tmp_path / "m.jsonl", line)).clips == (
        Clip(clip_id="a.wav", audio=tmp_path / "a.wav"),
    )


def test_a_number_of_a_language_says_nothing(tmp_path: Path) -> None:
    (clip,) = read_speech(write_lines(tmp_path / "m.jsonl", '{"audio": "a.wav", "language": 3}')).clips
    assert clip.language is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    id: str
    audio: str
    text: str | None
    split: str | None
    speaker: str | None
    source: str | None
    duration_s: float | None


WORDS = st.text(st.characters(codec="utf-8"), max_size=12)
NAMES = st.text(string.ascii_letters + string.digits, min_size=1, max_size=8)
LINES = st.builds(
    Line,
    id=NAMES,
    audio=NAMES,
    text=st.none() | WORDS,
    split=st.none() | NAMES,
    speaker=st.none() | WORDS,
    source=st.none() | WORDS,
    duration_s=st.none() | st.floats(min_value=0, max_value=1e5),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(lines=st.lists(LINES, min_size=1, max_size=5, unique_by=lambda line: line.id), is_ascii=st.booleans())
def test_a_written_manifest_is_read_back(tmp_path: Path, lines: list[Line], *, is_ascii: bool) -> None:
    written = [json.dumps(asdict(line), ensure_ascii=is_ascii) for line in lines]
    speech = read_speech(write_lines(tmp_path / "m.jsonl", *written))
    assert [
        Line(
            id=clip.clip_id,
            audio=Path(clip.audio).name if isinstance(clip.audio, Path) else "",
            text=clip.text,
            split=clip.split,
            speaker=clip.speaker,
            source=clip.source,
            duration_s=clip.duration_s,
        )
        for clip in speech.clips
    ] == lines


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"audio": "a.wav"', "not JSON"),
        ("[", "not JSON"),
        ('["a.wav", "text"]', "want a JSON object, got list"),
        ('{"text": "no audio"}', "no audio; one of audio, audio_filepath, path"),
        ('{"audio": "", "text": "a"}', "audio: string should have at least 1 character"),
        ('{"audio": 3.5, "text": ["a"]}', r"text: input should be a valid string, got \['a'\]"),
        ('{"audio": "a.wav", "duration": "long"}', "duration: input should be a valid number"),
        ('{"audio": "a.wav", "duration": -1}', "duration: input should be greater than or equal to 0"),
        ('{"audio": "a.wav", "duration": NaN}', "duration: input should be"),
        ('{"audio": "a.wav", "offset": -1}', "offset: input should be greater than or equal to 0"),
    ],
)
def test_a_broken_line_is_named_with_its_number(tmp_path: Path, line: str, message: str) -> None:
    spec = write_lines(tmp_path / "m.jsonl", '{"audio": "fine.wav"}', line)
    with pytest.raises(InputError, match=rf"m\.jsonl:2: {message}") as caught:
        read_speech(spec)
    assert "\n" not in str(caught.value)


# Tables


def test_a_common_voice_table_is_read(tmp_path: Path) -> None:
    spec = write_lines(
        tmp_path / "zh-CN" / "test.tsv",
        "client_id\tpath\tsentence_id\tsentence\tup_votes\tlocale",
        'f00\tcommon_voice_1.mp3\t9\tEr sagte: "ja\t2\tzh-CN',
        "ba7\tcommon_voice_2.mp3\t9\t好\t2\tzh-CN",
    )
    write_tone(tmp_path / "zh-CN" / "clips" / "common_voice_1.mp3")
    first, second = read_speech(spec).clips
    assert first == Clip(
        clip_id="common_voice_1.mp3",
        audio=tmp_path / "zh-CN" / "clips" / "common_voice_1.mp3",
        text='Er sagte: "ja',
        language="zh",
        speaker="f00",
    )
    assert second.audio == tmp_path / "zh-CN" / "common_voice_2.mp3"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_delimiter_of_a_table_is_found(tmp_path: Path, delimiter: str) -> None:
    header, row = (
        delimiter.join(["file", "transcript", "speaker"]),
        delimiter.join(["a.wav", "hello you", "me"]),
    )
    (clip,) = read_speech(write_lines(tmp_path / "t.csv", header, row)).clips
    assert clip == Clip(clip_id="a.wav", audio=tmp_path / "a.wav", text="hello you", speaker="me")


def test_a_deepspeech_table_is_read(tmp_path: Path) -> None:
    spec = write_lines(tmp_path / "t.csv", "wav_filename,wav_filesize,transcript", 'a.wav,1024,"well, hello"')
    assert [(clip.clip_id, clip.text) for clip in read_speech(spec).clips] == [("a.wav", "well, hello")]


def test_a_table_saved_by_a_spreadsheet_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes('\ufeff"Audio";"Text";"Duration"\r\na.wav;"zwei\u2028Zeilen";1.5\r\n'.encode())
    (clip,) = read_speech(str(path)).clips
    assert (clip.text, clip.duration_s) == ("zwei\u2028Zeilen", 1.5)


def test_an_empty_cell_of_a_table_says_nothing(tmp_path: Path) -> None:
    spec = write_lines(tmp_path / "t.csv", "path,text,language,duration", "a.wav,,,")
    assert read_speech(spec).clips == (Clip(clip_id="a.wav", audio=tmp_path / "a.wav"),)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["name,words", "a.wav,hello"], r"t\.csv:1: no column for the audio; name one of them audio"),
        ([], r"t\.csv:1: no column for the audio"),
        (["path,text", "a.wav,hello, you"], r"t\.csv:2: 3 cells, the header has 2"),
        (["path,text", ",hello"], r"t\.csv:2: no audio; one of"),
        (["path,text", 'a.wav,"hello'], r"t\.csv:2: unexpected end of data; check its quotation marks"),
        (["path,duration", "a.wav,1:30"], r"t\.csv:2: duration: input should be a valid number"),
    ],
)
def test_a_broken_table_is_named_with_its_line(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_speech(write_lines(tmp_path / "t.csv", *lines))


# Folders


def test_a_librispeech_folder_is_read(tmp_path: Path) -> None:
    root = tmp_path / "LibriSpeech" / "test-clean"
    write_lines(
        root / "1089" / "134686" / "1089-134686.trans.txt",
        "1089-134686-0000 HE HOPED",
        "1089-134686-0001 AND",
    )
    write_lines(root / "121" / "123852" / "121-123852.trans.txt", "121-123852-0000 THOSE PRETTY WRONGS")
    write_tone(root / "1089" / "134686" / "1089-134686-0000.flac")
    speech = read_speech(str(tmp_path / "LibriSpeech"))
    assert speech.name == "LibriSpeech"
    assert [clip.clip_id for clip in speech.clips] == [
        "1089-134686-0000",
        "1089-134686-0001",
        "121-123852-0000",
    ]
    assert speech.clips[0] == Clip(
        clip_id="1089-134686-0000",
        audio=root / "1089" / "134686" / "1089-134686-0000.flac",
        text="HE HOPED",
        language="en",
        speaker="1089",
    )
    audio = speech.clips[0].audio
    assert isinstance(audio, Path)
    assert decode_audio(audio).size == 3200


def test_a_librispeech_line_without_an_id_is_named(tmp_path: Path) -> None:
    write_lines(tmp_path / "1" / "2" / "1-2.trans.txt", "1-2-0000 FINE", "HELLO THERE")
    with pytest.raises(
        InputError, match=r"1-2\.trans\.txt:2: want `SPEAKER-CHAPTER-NUMBER TEXT`, got 'HELLO THERE'"
    ):
        read_speech(str(tmp_path))


def test_a_folder_of_audio_is_read_by_path_without_text(tmp_path: Path) -> None:
    for name in ("b/two.FLAC", "a.wav", ".hidden/x.wav", "._a.wav"):
        write_tone(tmp_path / name)
    write_lines(tmp_path / "notes.txt", "no audio")
    speech = read_speech(str(tmp_path))
    assert speech.clips == (
        Clip(clip_id="a.wav", audio=tmp_path / "a.wav"),
        Clip(clip_id="b/two.FLAC", audio=tmp_path / "b" / "two.FLAC"),
    )


def test_a_folder_with_a_manifest_is_that_manifest(tmp_path: Path) -> None:
    write_tone(tmp_path / "speech" / "a.wav")
    write_lines(tmp_path / "speech" / "manifest.jsonl", '{"audio": "a.wav", "text": "hum"}')
    speech = read_speech(str(tmp_path / "speech"))
    assert speech.name == "speech"
    assert [clip.text for clip in speech.clips] == ["hum"]


def test_the_folder_one_stands_in_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tone(tmp_path / "speech" / "a.wav")
    monkeypatch.chdir(tmp_path / "speech")
    assert read_speech(".").name == "speech"


# What is not a speech set


@pytest.mark.parametrize("spec", ["nowhere", "nowhere.jsonl", "x" * 5000])
def test_a_missing_set_is_an_error_that_lists_the_accepted_forms(spec: str) -> None:
    with pytest.raises(InputError, match=r"\.csv or \.tsv table, .* a LibriSpeech folder, .* hf:NAME"):
        read_speech(spec)


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"t\.xlsx is not a speech set; speech is a \.jsonl"):
        read_speech(write_lines(tmp_path / "t.xlsx", "PK"))


@pytest.mark.parametrize("name", ["m.jsonl", "empty/notes.txt"])
def test_a_set_without_clips_is_refused(tmp_path: Path, name: str) -> None:
    path = Path(write_lines(tmp_path / name))
    with pytest.raises(InputError, match="holds no clips"):
        read_speech(str(path if path.suffix == ".jsonl" else path.parent))


def test_a_table_of_one_line_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no clips"):
        read_speech(write_lines(tmp_path / "t.csv", "path,text"))


def test_ids_that_stand_for_several_clips_are_refused(tmp_path: Path) -> None:
    lines = [json.dumps({"id": name, "audio": f"{n}.wav"}) for n, name in enumerate("abaca")]
    with pytest.raises(InputError, match="1 ids belong to several clips, a to 3; give each clip an `id`"):
        read_speech(write_lines(tmp_path / "m.jsonl", *lines))


def test_text_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_bytes('{"audio": "a.wav", "text": "Grüße"}'.encode("latin-1"))
    with pytest.raises(InputError, match=r"m\.jsonl is not UTF-8 \(byte 30\); save it as UTF-8"):
        read_speech(str(path))


# Real speech


@pytest.mark.skipif(not REAL_SPEECH.is_dir(), reason="no real speech in ../shared/speech")
def test_real_speech_is_read_and_decodes_for_every_source() -> None:
    manifest = REAL_SPEECH / "manifest.jsonl"
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    speech = read_speech(str(manifest))
    assert len(speech) >= 537
    assert [clip.clip_id for clip in speech.clips] == [row["id"] for row in rows]
    for split in ("calib", "eval"):
        expected = [row["id"] for row in rows if row["split"] == split]
        assert [clip.clip_id for clip in speech.of_split(split).clips] == expected
    assert speech.splits() == {"calib", "eval"}
    assert len(speech.of_split("calib")) + len(speech.of_split("eval")) == len(rows)
    for clip in {clip.source: clip for clip in speech.clips}.values():
        assert isinstance(clip.audio, Path)
        assert clip.duration_s is not None
        wave = decode_audio(clip.audio)
        assert math.isclose(wave.size / SAMPLE_RATE_HZ, clip.duration_s, abs_tol=0.01)
        assert not is_silent(wave)
