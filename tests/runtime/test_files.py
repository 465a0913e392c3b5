"""Where the transcripts of several files are written."""

from pathlib import Path

import pytest

from sottovoce.errors import InputError, SpecError
from sottovoce.runtime.output.files import plan_files
from sottovoce.runtime.output.formats import TranscriptFormat


def plan(*names: str, into: Path | None = None, force: bool = False) -> list[Path | None]:
    files = plan_files(names, lambda: b"audio", TranscriptFormat.SRT, into, force=force)
    return [file.output for file in files]


def test_transcripts_are_printed_without_a_folder() -> None:
    assert plan("a.wav", "b.wav") == [None, None]


def test_a_transcript_is_named_after_its_audio(tmp_path: Path) -> None:
    assert plan("x/a.wav", "-", into=tmp_path) == [tmp_path / "a.srt", tmp_path / "stdin.srt"]


def test_files_with_the_same_stem_keep_their_suffixes(tmp_path: Path) -> None:
    assert plan("a.wav", "a.mp3", into=tmp_path) == [tmp_path / "a.wav.srt", tmp_path / "a.mp3.srt"]


def test_transcripts_that_would_overwrite_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"a\.wav"):
        plan("x/a.wav", "y/a.wav", into=tmp_path)


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
