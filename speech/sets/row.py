"""One line of a speech set, whatever it calls its columns."""

import math
from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from sottovoce.speech.clips import Clip
from sottovoce.speech.sets.languages import to_whisper_language

# sottovoce and NeMo; Common Voice; DeepSpeech; what people write.
AUDIO_NAMES = ("audio", "audio_filepath", "path", "file", "filename", "wav_filename")
TEXT_NAMES = ("text", "sentence", "transcription", "transcript", "normalized_text")
LANGUAGE_NAMES = ("language", "locale", "lang")
SPEAKER_NAMES = ("speaker", "speaker_id", "client_id")
DURATION_NAMES = ("duration_s", "duration")


def none_of_nan(value: object) -> object:
    """Return None for what pandas writes where it has no value: NaN, which would be read as the word `nan`."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _as_language(value: object) -> object:
    if isinstance(value, str):
        return to_whisper_language(value)
    # A number is a class of the set's own, whose name its lines do not hold.
    return None if isinstance(value, int | float) else value


_Word = Annotated[str | None, BeforeValidator(none_of_nan)]


class Row(BaseModel):
    """The columns that a clip is made of; others are ignored."""

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
    # NeMo cuts clips out of longer files; decoding the whole file would give the wrong words.
    offset: Annotated[float | None, Field(ge=0, le=0)] = None

    def to_clip(self, audio: Path, *, folder: Path) -> Clip:
        """Make the clip whose audio is at `audio`, in the set that lies in `folder`."""
        return Clip(
            clip_id=self.clip_id or _id_of(Path(self.audio), folder),
            audio=audio,
            text=self.text,
            language=self.language,
            split=self.split,
            speaker=self.speaker,
            source=self.source,
            duration_s=self.duration_s,
        )


def what_is_wrong(error: ValidationError) -> str:
    """Say in a few words what is wrong with a line, from the first thing that is."""
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else "the line"
    if first["type"] == "missing":
        return f"no audio; one of {', '.join(AUDIO_NAMES)} is needed"
    if name == "offset" and first["type"] == "less_than_equal":
        return "offset is not 0, a piece of a longer file; cut the pieces into files of their own"
    return f"{name}: {first['msg'][0].lower()}{first['msg'][1:]}, got {first['input']!r:.60}"


def _id_of(audio: Path, folder: Path) -> str:
    """Name a clip after its audio, so that the name stays when the set is moved."""
    if not audio.is_absolute():
        return audio.as_posix()
    return audio.relative_to(folder).as_posix() if audio.is_relative_to(folder) else audio.name
