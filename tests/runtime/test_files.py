"""Where transcripts of several files go."""

from pathlib import Path

import pytest

from sottovoce.errors import InputError, SpecError
from sottovoce.runtime.output.files import plan_files
from sottovoce.runtime.output.subtitles import TranscriptFormat


def plan(*names: str, into: Path | None = None, force: bool = False) -> list[Path | None]:
    files = plan_files(names, lambda: b"audio", TranscriptFormat.SRT, into, force=force)
    return [file.output for file in files]


def test_transcripts_are_printed_where_no_folder_is_given() -> None:
    assert plan("a.wav", "b.wav") == [None, None]


def test_a_transcript_is_named_by_its_audio(tmp_path: Path) -> None:
    assert plan("x/a.wav", "-", into=tmp_path) == [tmp_path / "a.srt", tmp_path / "stdin.srt"]


def test_audios_of_one_name_and_other_suffixes_keep_their_suffixes(tmp_path: Path) -> None:
    assert plan("a.wav", "a.mp3", into=tmp_path) == [tmp_path / "a.wav.srt", tmp_path / "a.mp3.srt"]


def test_transcripts_that_would_overwrite_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"a\.wav"):
        plan("x/a.wav", "y/a.wav", into=tmp_path)


def test_a_transcript_that_is_there_is_kept_unless_it_may_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.srt").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="--force"):
        plan("a.wav", into=tmp_path)
    assert plan("a.wav", into=tmp_path, force=True) == [tmp_path / "a.srt"]


def test_a_folder_that_cannot_hold_transcripts_is_told_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    for folder in (tmp_path / "notes.txt", tmp_path / "notes.txt" / "below"):
        with pytest.raises(InputError, match="is no folder"):
            plan("a.wav", into=folder)
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_standard_input_is_read_once() -> None:
    with pytest.raises(SpecError, match="once"):
        plan("-", "-")
    (file,) = plan_files(["-"], lambda: b"audio", TranscriptFormat.TXT, None, force=False)
    assert (file.audio, file.name) == (b"audio", "standard input")
