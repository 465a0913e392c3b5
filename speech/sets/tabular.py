"""Tables with a header: CSV of any of three delimiters, and Common Voice's TSV."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from sottovoce.errors import InputError
from sottovoce.speech.clips import Clip
from sottovoce.speech.sets.row import AUDIO_NAMES, Row, what_is_wrong
from sottovoce.speech.sets.textfile import read_text

_DELIMITERS = (",", ";", "\t")


def read_table(path: Path) -> Iterator[Clip]:
    """Yield the clips of a table, its audio beside it or in a folder `clips` beside it.

    An empty cell says nothing: a clip whose text is empty has no reference.

    Raises:
        InputError: no column for the audio, or a broken row, named as file:line.
    """
    lines = io.StringIO(read_text(path))
    delimiter = _delimiter_of(lines.readline(), path)
    lines.seek(0)
    # Common Voice writes quotation marks as they are spoken, unpaired.
    quoting: Literal[0, 3] = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    rows = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
    try:
        header = _names(next(rows))
        for row in rows:
            if row:
                yield _clip(header, row, path=path, number=rows.line_num)
    except csv.Error as error:
        raise InputError(f"{path}:{rows.line_num}: {error}; check its quotation marks") from error


def _delimiter_of(header: str, path: Path) -> str:
    """Find the delimiter under which the header names a column for the audio."""
    for delimiter in _DELIMITERS:
        if set(_names(header.rstrip("\r\n").split(delimiter))) & set(AUDIO_NAMES):
            return delimiter
    raise InputError(f"{path}:1: no column for the audio; name one of them {', '.join(AUDIO_NAMES)}")


def _names(header: Sequence[str]) -> list[str]:
    return [name.strip().strip('"').lower() for name in header]


def _clip(header: Sequence[str], row: Sequence[str], *, path: Path, number: int) -> Clip:
    where = f"{path}:{number}"
    if len(row) != len(header):
        raise InputError(f"{where}: {len(row)} cells, the header has {len(header)}; check its delimiters")
    cells = {name: cell for name, cell in zip(header, row, strict=True) if cell.strip()}
    try:
        named = Row.model_validate(cells)
    except ValidationError as error:
        raise InputError(f"{where}: {what_is_wrong(error)}") from error
    return named.to_clip(_place(named.audio, path.parent), folder=path.parent)


def _place(audio: str, folder: Path) -> Path:
    in_clips = folder / "clips" / audio
    return in_clips if in_clips.is_file() else folder / audio
