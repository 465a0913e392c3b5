"""JSON-lines manifests: sottovoce's own, NeMo's and their relatives."""

import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from sottovoce.errors import InputError
from sottovoce.speech.clips import Clip
from sottovoce.speech.sets.row import Row, what_is_wrong
from sottovoce.speech.sets.textfile import read_text


def read_manifest(path: Path) -> Iterator[Clip]:
    """Yield the clips of a manifest with one JSON object a line; empty lines are skipped.

    `audio` or `audio_filepath` is needed, relative to the manifest's folder; `text`, `id`, `language`,
    `split`, `speaker`, `source` and `duration_s` or `duration` are taken where they are. An empty text
    says that the clip holds no speech, a missing one that nobody knows.

    Raises:
        InputError: a line that is no JSON object or holds a wrong value, named as file:line.
    """
    folder = path.parent
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        row = _row(line, f"{path}:{number}")
        yield row.to_clip(folder / row.audio, folder=folder)


def _row(line: str, where: str) -> Row:
    try:
        return Row.model_validate(_object(line, where))
    except ValidationError as error:
        raise InputError(f"{where}: {what_is_wrong(error)}") from error


def _object(line: str, where: str) -> dict[str, object]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{where}: not JSON ({error}); want one object a line, and no array around"
        ) from error
    if not isinstance(value, dict):
        raise InputError(f"{where}: want a JSON object, got {type(value).__name__}; write one object a line")
    return value
