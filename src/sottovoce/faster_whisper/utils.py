"""Names of models, and times as text."""

import logging

from sottovoce.errors import SpecError
from sottovoce.faster_whisper.models import find_model, known_names

_MS_PER_H, _MS_PER_MIN, _MS_PER_S = 3_600_000, 60_000, 1_000


def available_models() -> list[str]:
    """Return the names that `WhisperModel` takes in the place of a folder."""
    return list(known_names())


def get_logger() -> logging.Logger:
    """Return the logger of this package."""
    return logging.getLogger("faster_whisper")


def download_model(
    size_or_id: str,
    output_dir: str | None = None,
    local_files_only: bool = False,
    cache_dir: str | None = None,
    revision: str | None = None,
    use_auth_token: str | bool | None = None,
) -> str:
    """Return the folder of a model; see `models.find_model`.

    Raises:
        SpecError: an argument that only a download has is given.
        InputError: there is no such model.
        MissingExtraError: it must be made first, and the libraries for that are not installed.
    """
    refused = {"output_dir": output_dir, "revision": revision, "use_auth_token": use_auth_token}
    for name, value in refused.items():
        if value is not None:
            raise SpecError(f"{name} is not supported: nothing is downloaded; leave it out")
    return str(find_model(size_or_id, root=cache_dir, local_files_only=local_files_only))


def format_timestamp(
    seconds: float,
    always_include_hours: bool = False,
    decimal_marker: str = ".",
) -> str:
    """Return seconds as `MM:SS.mmm`, with hours in front where there are any or they are wanted."""
    milliseconds = round(seconds * _MS_PER_S)
    hours, rest = divmod(milliseconds, _MS_PER_H)
    minutes, rest = divmod(rest, _MS_PER_MIN)
    whole, fraction = divmod(rest, _MS_PER_S)
    front = f"{hours:02d}:" if hours or always_include_hours else ""
    return f"{front}{minutes:02d}:{whole:02d}{decimal_marker}{fraction:03d}"
