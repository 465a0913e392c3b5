"""Encoder states on disk: a damaged file is an error with advice, an error of the system stays one."""

from pathlib import Path

import numpy as np
import pytest

from sottovoce.errors import InputError, OutOfMemoryError
from sottovoce.machine.os_errors import translated_os_errors
from sottovoce.progress import Silent
from sottovoce.speech.clips import Clip
from sottovoce.speech.conditions import speech_spectrum
from sottovoce.speech.loading import LoadedClip
from sottovoce.train.decoder.examples import CopySpec, ExampleBook
from tests.support.tones import tone

CLIP = LoadedClip(clip=Clip(clip_id="a", audio=b""), wave=tone(0.2))


@pytest.fixture
def book(tmp_path: Path) -> ExampleBook:
    found = ExampleBook(
        tmp_path / "examples", CopySpec(n_mels=80, seed=0, spectrum=speech_spectrum([CLIP.wave]))
    )
    found.write_missing([CLIP], 1, lambda _: np.ones((1, 1500, 4), np.float32), Silent())
    return found


def test_a_truncated_file_is_damaged(book: ExampleBook, tmp_path: Path) -> None:
    (path,) = (tmp_path / "examples").iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"is damaged .* repeat the command with --restart"):
        book.read(CLIP, 0)


def test_a_lack_of_memory_is_no_damage(
    book: ExampleBook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr("safetensors.numpy.load_file", fail)
    with pytest.raises(OutOfMemoryError), translated_os_errors(tmp_path):
        book.read(CLIP, 0)
