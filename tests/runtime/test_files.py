"""Where the transcripts of several files are written."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from sottovoce.errors import InputError, SpecError
from sottovoce.progress import Silent
from sottovoce.runtime.options import TranscribeOptions
from sottovoce.runtime.output.files import plan_files, transcribe_files
from sottovoce.runtime.output.formats import TranscriptFormat
from sottovoce.runtime.transcript import Segment, Timings, Transcript

if TYPE_CHECKING:
    from sottovoce.runtime.protocol import Transcriber


def plan(*names: str, into: Path | None = None, force: bool = False) -> list[Path | None]:
    files = plan_files(names, lambda: b"audio", TranscriptFormat.SRT, into, force=force)
    return [file.output for file in files]


def test_transcripts_are_printed_without_a_folder() -> None:
    assert plan("a.wav", "b.wav") == [None, None]


def test_a_transcript_is_named_after_its_audio(tmp_path: Path) -> None:
    assert plan("x/a.wav", "-", into=tmp_path) == [tmp_path / "a.srt", tmp_path / "stdin.srt"]


def test_files_with_the_same_stem_keep_their_suffixes(tmp_path: Path) -> None:
    assert plan("a.wav", "a.mp3", into=tmp_path) == [tmp_path / "a.wav.srt", tmp_path / "a.mp3.srt"]


def test_files_of_the_same_name_keep_the_folders_in_which_they_differ(tmp_path: Path) -> None:
    outputs = plan("mon/1/a.wav", "tue/1/a.wav", "tue/b.wav", into=tmp_path)
    assert outputs == [tmp_path / "mon/1/a.wav.srt", tmp_path / "tue/1/a.wav.srt", tmp_path / "b.srt"]


def test_a_file_given_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"^x/\.\./a\.wav is given twice; give each file once$"):
        plan("x/../a.wav", "a.wav", into=tmp_path)


class Speaker:
    """Says the name of each file."""

    def transcribe(self, audio: Path, *_: object, **__: object) -> Transcript:
        segment = Segment(
            start_s=0.0, end_s=1.0, text=audio.name, tokens=(), mean_log_probability=0.0,
            no_speech_probability=0.0, compression_ratio=1.0,
        )  # fmt: skip
        return Transcript(
            segments=(segment,), language="en", language_probability=1.0, duration_s=1.0,
            timings=Timings(total_s=0.1), notes=("its end is missing",),
        )  # fmt: skip


def printed(*names: str, kind: TranscriptFormat, into: Path | None = None) -> str:
    texts: list[str] = []
    transcribe_files(
        cast("Transcriber", Speaker()), plan_files(names, bytes, kind, into, force=False), TranscribeOptions(), kind,
        variant="int8", print_text=texts.append, print_error=texts.append, reporter=Silent(),
    )  # fmt: skip
    return "".join(texts)


def test_each_of_several_printed_transcripts_has_a_heading() -> None:
    assert printed("a.wav", kind=TranscriptFormat.TXT) == "a.wav\n"
    assert (
        printed("a.wav", "b.wav", kind=TranscriptFormat.TXT) == "==> a.wav <==\na.wav\n==> b.wav <==\nb.wav\n"
    )
    lines = printed("a.wav", "b.wav", kind=TranscriptFormat.JSON).splitlines()
    assert [json.loads(line)["source"] for line in lines] == ["a.wav", "b.wav"]
    assert json.loads(lines[0])["variant"] == "int8"
    assert json.loads(lines[0])["notes"] == ["its end is missing"]


def test_transcripts_are_written_into_folders_of_their_own(tmp_path: Path) -> None:
    printed("x/a.wav", "y/a.wav", kind=TranscriptFormat.TXT, into=tmp_path)
    assert (tmp_path / "x/a.wav.txt").read_text(encoding="utf-8") == "a.wav\n"
    assert (tmp_path / "y/a.wav.txt").read_text(encoding="utf-8") == "a.wav\n"


def test_an_existing_transcript_is_replaced_only_with_force(tmp_path: Path) -> None:
    (tmp_path / "a.srt").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="--force"):
        plan("a.wav", into=tmp_path)
    assert plan("a.wav", into=tmp_path, force=True) == [tmp_path / "a.srt"]


def test_an_invalid_output_folder_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    for folder in (tmp_path / "notes.txt", tmp_path / "notes.txt" / "below"):
        with pytest.raises(InputError, match="is not a folder"):
            plan("a.wav", into=folder)
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_standard_input_is_read_once() -> None:
    with pytest.raises(SpecError, match="once"):
        plan("-", "-")
    (file,) = plan_files(["-"], lambda: b"audio", TranscriptFormat.TXT, None, force=False)
    assert (file.audio, file.name) == (b"audio", "standard input")
