"""The settings of a realtime session, in OpenAI's present form and in the one of its beta."""

import secrets
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sottovoce.errors import SpecError
from sottovoce.runtime.live.options import LiveOptions
from sottovoce.serve.openai.errors import ApiError
from sottovoce.serve.openai.realtime.audio import MAX_RATE_HZ, MIN_RATE_HZ, TELEPHONE_RATE_HZ, AudioFormat

HYPOTHESIS = "x_sottovoce.hypothesis"
"""Asks for words before they are final; events of this type then come too."""

DEFAULT_RATE_HZ = 24_000

MIN_SILENCE_S, MAX_SILENCE_S = 0.2, 3.0
MAX_PRE_ROLL_S = 2.0

_BETA_FORMATS = {
    "pcm16": {"type": AudioFormat.PCM, "rate": DEFAULT_RATE_HZ},
    "g711_ulaw": {"type": AudioFormat.PCMU},
    "g711_alaw": {"type": AudioFormat.PCMA},
}


class _Fields(BaseModel):
    model_config = ConfigDict(extra="ignore")


class Format(_Fields):
    """Of the samples."""

    type: AudioFormat = AudioFormat.PCM
    rate: int = Field(DEFAULT_RATE_HZ, ge=MIN_RATE_HZ, le=MAX_RATE_HZ)


class Transcription(_Fields):
    """What is spoken, and by which model it is transcribed; `delay` and noise reduction have no effect."""

    model: str | None = None
    language: str | None = None
    languages: list[str] = []
    prompt: str | None = None
    keywords: list[str] = []


class TurnDetection(_Fields):
    """Where an utterance ends."""

    type: Literal["server_vad", "semantic_vad"] = "server_vad"
    prefix_padding_ms: int = Field(500, ge=0)
    silence_duration_ms: int = Field(500, ge=0)
    threshold: float = Field(0.5, ge=0, le=1)


class AudioInput(_Fields):
    """The audio of a session."""

    format: Format = Format()
    transcription: Transcription | None = Transcription()
    turn_detection: TurnDetection | None = TurnDetection()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a session.

    Attributes:
        audio: what comes in, and where utterances end.
        include: further things that the client wants.
        is_beta: the client uses the names of OpenAI's beta.
    """

    audio: AudioInput = field(default_factory=AudioInput)
    include: tuple[str, ...] = ()
    is_beta: bool = False

    @property
    def model(self) -> str | None:
        """The model that the client names."""
        return None if self.audio.transcription is None else self.audio.transcription.model

    @property
    def is_manual(self) -> bool:
        """Whether the client says where utterances end."""
        return self.audio.turn_detection is None

    @property
    def wants_hypotheses(self) -> bool:
        """Whether the client wants words before they are final."""
        return HYPOTHESIS in self.include

    def options(self) -> LiveOptions:
        """Return how the audio is transcribed.

        Raises:
            ApiError: there is no such language.
        """
        spoken = self.audio.transcription or Transcription()
        turns = self.audio.turn_detection or TurnDetection()
        language = spoken.language or (spoken.languages[0] if len(spoken.languages) == 1 else None)
        try:
            return LiveOptions(
                language=language,
                hotwords=", ".join(spoken.keywords) or spoken.prompt or None,
                silence_s=min(MAX_SILENCE_S, max(MIN_SILENCE_S, turns.silence_duration_ms / 1000)),
                pre_roll_s=min(MAX_PRE_ROLL_S, turns.prefix_padding_ms / 1000),
            )
        except SpecError as error:
            raise ApiError(400, str(error), param="session.audio.input.transcription.language") from error

    def fields(self, session_id: str) -> dict[str, Any]:
        """Return the session as events have it."""
        if self.is_beta:
            beta = {AudioFormat.PCM: "pcm16", AudioFormat.PCMU: "g711_ulaw", AudioFormat.PCMA: "g711_alaw"}
            return {
                "id": session_id,
                "object": "realtime.transcription_session",
                "input_audio_format": beta[self.audio.format.type],
                "input_audio_transcription": _dump(self.audio.transcription),
                "turn_detection": _dump(self.audio.turn_detection),
                "include": self.include,
            }
        given = self.audio.format
        sound = {"type": given.type} | ({"rate": given.rate} if given.type is AudioFormat.PCM else {})
        return {
            "id": session_id,
            "type": "transcription",
            "object": "realtime.transcription_session",
            "audio": {
                "input": {
                    "format": sound,
                    "transcription": _dump(self.audio.transcription),
                    "turn_detection": _dump(self.audio.turn_detection),
                    "noise_reduction": None,
                }
            },
            "include": self.include,
        }


def _dump(fields: BaseModel | None) -> dict[str, Any] | None:
    return None if fields is None else fields.model_dump(exclude_none=True)


def new_id(prefix: str) -> str:
    """Return an id as OpenAI's are."""
    return f"{prefix}_{secrets.token_hex(10)}"


def updated(settings: Settings, event: dict[str, Any]) -> Settings:
    """Return the settings after `session.update` or, in the beta, `transcription_session.update`.

    What the event does not name stays as it is.

    Raises:
        ApiError: a value is wrong; it names the field.
    """
    session = event.get("session")
    if not isinstance(session, dict):
        raise ApiError(400, "session is missing", param="session", code="invalid_value")
    is_beta = event["type"] == "transcription_session.update"
    if session.get("type", "transcription") != "transcription":
        message = "only sessions of the type transcription are served"
        raise ApiError(400, message, param="session.type", code="invalid_value")
    given = _from_beta(session) if is_beta else session.get("audio", {})
    changes = given.get("input", {}) if isinstance(given, dict) else None
    include = session.get("include", settings.include)
    if not isinstance(changes, dict) or not isinstance(include, list | tuple):
        raise ApiError(400, "session.audio.input is no object", param="session.audio", code="invalid_value")
    merged = _merge(settings.audio.model_dump(), changes)
    try:
        audio = AudioInput.model_validate(merged)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(map(str, ("session.audio.input", *first["loc"])))
        raise ApiError(400, f"{where}: {first['msg']}"[:300], param=where, code="invalid_value") from error
    if audio.format.type is not AudioFormat.PCM:
        audio.format.rate = TELEPHONE_RATE_HZ
    return replace(settings, audio=audio, include=tuple(map(str, include)), is_beta=is_beta)


def _from_beta(session: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of the beta in today's form."""
    given: dict[str, Any] = {}
    if (kind := session.get("input_audio_format")) is not None:
        given["format"] = _BETA_FORMATS.get(kind, {"type": kind})
    if "input_audio_transcription" in session:
        given["transcription"] = session["input_audio_transcription"]
    if "turn_detection" in session:
        given["turn_detection"] = session["turn_detection"]
    return {"input": given}


def _merge(before: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return settings with changes: objects are merged, anything else is replaced."""
    merged = dict(before)
    for name, value in changes.items():
        known = merged.get(name)
        merged[name] = _merge(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return merged
