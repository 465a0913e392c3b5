"""A line of a speech set, with the column names of several tools."""

import math
from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from sottovoce.errors import InputError
from sottovoce.languages import to_whisper_language
from sottovoce.speech.clips import Clip
from sottovoce.storage.spelling import existing_spelling

# Names of sottovoce, NeMo, Common Voice, DeepSpeech, and other common ones.
AUDIO_NAMES = ("audio", "audio_filepath", "path", "file", "filename", "wav_filename")
TEXT_NAMES = ("text", "sentence", "transcription", "transcript", "normalized_text")
LANGUAGE_NAMES = ("language", "locale", "lang")
SPEAKER_NAMES = ("speaker", "speaker_id", "client_id")
DURATION_NAMES = ("duration_s", "duration")


def none_of_nan(value: object) -> object:
    """Return None for NaN, which pandas writes for a missing value."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _as_language(value: object) -> object:
    if isinstance(value, str):
        return to_whisper_language(value)
    # A number is the index of a class; its name is not in the file.
    return None if isinstance(value, int | float) else value


_Word = Annotated[str | None, BeforeValidator(none_of_nan)]


class Row(BaseModel):
    """The columns of a clip; others are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)

    audio: Annotated[str, Field(min_length=1, validation_alias=AliasChoices(*AUDIO_NAMES))]
    text: Annotated[_Word, Field(validation_alias=AliasChoices(*TEXT_NAMES))] = None
    clip_id: Annotated[_Word, Field(validation_alias=AliasChoices("id", "clip_id"))] = None
    language: Annotated[
        str | None, BeforeValidator(_as_language), Field(validation_alias=AliasChoices(*LANGUAGE_NAMES))
    ] = None
    split: _Word = None
    speaker: Annotated[_Word, Field(validation_alias=AliasChoices(*SPEAKER_NAMES))] = None
    source: _Word = None
    duration_s: Annotated[
        float | None, Field(ge=0, allow_inf_nan=False, validation_alias=AliasChoices(*DURATION_NAMES))
    ] = None
    # NeMo can refer to a part of a longer file: `duration` seconds from `offset`.
    offset: Annotated[float | None, Field(ge=0, allow_inf_nan=False)] = None
    duration: Annotated[float | None, Field(ge=0, allow_inf_nan=False)] = None
    audio_filepath: str | None = None

    def _part(self) -> tuple[float, float | None] | None:
        """Return the part of the file that NeMo reads; it takes `duration` for a part even without an offset."""
        if self.offset is None and (self.audio_filepath is None or self.duration is None):
            return None
        return self.offset or 0.0, self.duration

    def to_clip(self, audio: Path, *, folder: Path) -> Clip:
        """Return the clip whose audio is at `audio`, of the set in `folder`."""
        part = self._part()
        return Clip(
            clip_id=self.clip_id or _id_of(Path(self.audio), folder) + _part_suffix(self.offset),
            audio=existing_spelling(audio),
            part=part,
            text=self.text,
            language=self.language,
            split=self.split,
            speaker=self.speaker,
            source=self.source,
            duration_s=self.duration_s,
        )


def _part_suffix(offset: float | None) -> str:
    return f"@{offset:g}" if offset else ""


def format_row_error(error: ValidationError) -> str:
    """Return the first problem of a line."""
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else "the line"
    if first["type"] == "missing":
        return f"no audio; one of {', '.join(AUDIO_NAMES)} is needed"
    return f"{name}: {first['msg'][0].lower()}{first['msg'][1:]}, got {first['input']!r:.60}"


def _id_of(audio: Path, folder: Path) -> str:
    """Return an id from the path of the audio that does not change when the set is moved."""
    if not audio.is_absolute():
        return audio.as_posix()
    return audio.relative_to(folder).as_posix() if audio.is_relative_to(folder) else audio.name


def read_text(path: Path) -> str:
    """Read UTF-8 text, with or without a byte order mark, lines ended by a line feed.

    Raises:
        InputError: unreadable, or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from error
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); check the path and its rights"
        ) from error
