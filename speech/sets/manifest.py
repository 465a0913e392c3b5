"""Manifests (JSON lines of sottovoce, NeMo and similar tools) and tables (CSV, and the TSV of Common Voice)."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from sottovoce.errors import InputError
from sottovoce.speech.clips import Clip
from sottovoce.speech.sets.row import AUDIO_NAMES, Row, format_row_error, read_text

_DELIMITERS = (",", ";", "\t")


def read_manifest(path: Path) -> Iterator[Clip]:
    """Yield the clips of a manifest with one JSON object per line; empty lines are skipped.

    Required: `audio` or `audio_filepath`, relative to the folder of the manifest. Optional: `text`, `id`, `language`,
    `split`, `speaker`, `source`, `duration_s` or `duration`. An empty text means no speech; a missing one means that
    the text is unknown.

    Raises:
        InputError: a line is not a JSON object or has an invalid value; the message has file:line.
    """
    folder = path.parent
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        row = _row(_object(line, where), where)
        yield row.to_clip(folder / row.audio, folder=folder)


def _row(cells: Mapping[str, object], where: str) -> Row:
    try:
        return Row.model_validate(cells)
    except ValidationError as error:
        raise InputError(f"{where}: {format_row_error(error)}") from error


def _object(line: str, where: str) -> dict[str, object]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{where}: not JSON ({error}); want one object per line, without an array around them"
        ) from error
    if not isinstance(value, dict):
        raise InputError(
            f"{where}: want a JSON object, got {type(value).__name__}; write one object per line"
        )
    return value


def read_table(path: Path) -> Iterator[Clip]:
    """Yield the clips of a table with a header; the audio is beside it, or in a folder `clips` beside it.

    An empty cell is a missing value: a clip with an empty text has no reference.

    Raises:
        InputError: no column for the audio, or an invalid row; the message has file:line.
    """
    lines = io.StringIO(read_text(path))
    delimiter = _delimiter_of(lines.readline(), path)
    lines.seek(0)
    # Quotation marks of Common Voice belong to the text and may be unpaired.
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
    """Return the delimiter with which the header has a column for the audio."""
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
    named = _row(cells, where)
    return named.to_clip(_place(named.audio, path.parent), folder=path.parent)


def _place(audio: str, folder: Path) -> Path:
    in_clips = folder / "clips" / audio
    return in_clips if in_clips.is_file() else folder / audio
