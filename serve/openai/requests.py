"""The form fields of `/v1/audio/transcriptions` and `/v1/audio/translations`."""

import json
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from sottovoce.errors import SpecError
from sottovoce.runtime.options import TranscribeOptions
from sottovoce.runtime.transcript import Task
from sottovoce.serve.openai.errors import ApiError

FALLBACK_STEP = 0.2
"""From one temperature to the next that is tried (`temperature_increment_on_fallback` of openai/whisper)."""

LISTS = frozenset({"timestamp_granularities", "include", "keywords", "languages"})
"""Fields that are sent several times, as `name[]` or as `name`."""

_KEY = re.compile(r"(\w+)\[(\w+)\]\Z")


class ResponseFormat(StrEnum):
    """What the answer is."""

    JSON = "json"
    TEXT = "text"
    SRT = "srt"
    VERBOSE_JSON = "verbose_json"
    VTT = "vtt"


class VoiceActivitySettings(BaseModel):
    """`chunking_strategy` as an object. Its details are accepted and have no effect: windows are cut as by `auto`."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["server_vad"]
    prefix_padding_ms: int = Field(300, ge=0)
    silence_duration_ms: int = Field(200, ge=0)
    threshold: float = Field(0.5, ge=0, le=1)


class AudioRequest(BaseModel):
    """A request as the client sends it; fields that are not listed are ignored, as clients send their own."""

    model_config = ConfigDict(extra="ignore")

    model: str = "whisper-1"
    language: str | None = None
    languages: list[str] = []
    prompt: str | None = None
    hotwords: str | None = None
    keywords: list[str] = []
    response_format: ResponseFormat = ResponseFormat.JSON
    temperature: float = Field(0.0, ge=0, le=1)
    timestamp_granularities: list[Literal["word", "segment"]] = []
    include: list[Literal["logprobs"]] = []
    stream: bool = False
    vad_filter: bool | None = None
    chunking_strategy: Literal["auto"] | VoiceActivitySettings | None = None

    @field_validator("chunking_strategy", mode="before")
    @classmethod
    def _read_json(cls, value: Any) -> Any:
        if not isinstance(value, str) or not value.startswith("{"):
            return value
        try:
            return json.loads(value)
        except (ValueError, RecursionError) as error:
            raise ValueError("is no JSON") from error

    @property
    def has_words(self) -> bool:
        """Whether the answer has words with their times."""
        return "word" in self.timestamp_granularities

    @property
    def has_segments(self) -> bool:
        """Whether the answer has segments: by default, and where they are requested."""
        return not self.timestamp_granularities or "segment" in self.timestamp_granularities

    @property
    def has_log_probabilities(self) -> bool:
        """Whether the answer has the log-probability of each token."""
        return "logprobs" in self.include

    def options(self, task: Task, *, max_duration_s: float | None) -> TranscribeOptions:
        """Return how the audio is transcribed.

        Raises:
            ApiError: there is no such language.
        """
        needs_words = None if self.response_format in (ResponseFormat.SRT, ResponseFormat.VTT) else False
        language = self.language or (self.languages[0] if len(self.languages) == 1 else None)
        hotwords = ", ".join(filter(None, [self.hotwords, *self.keywords]))
        try:
            return TranscribeOptions(
                language=language,
                task=task,
                initial_prompt=self.prompt,
                hotwords=hotwords or None,
                temperature=_temperatures(self.temperature),
                word_timestamps=self.has_words or needs_words,
                vad_filter=self.vad_filter if self.chunking_strategy is None else True,
                max_duration_s=max_duration_s,
            )
        except SpecError as error:
            raise ApiError(400, str(error), param="language", code="invalid_language") from error


def read_request(fields: Sequence[tuple[str, str]], *, is_translation: bool) -> AudioRequest:
    """Read the fields of a form.

    Args:
        fields: names and values, as they were sent.
        is_translation: the request is for a translation, which has fewer fields.

    Raises:
        ApiError: one is wrong, or two do not go together; it names the field.
    """
    given = _collect(fields)
    if given.get("response_format") == "diarized_json":
        message = "diarized_json is not supported: the models do not distinguish speakers; use verbose_json"
        raise ApiError(400, message, param="response_format", code="unsupported_value")
    try:
        request = AudioRequest.model_validate(given)
    except ValidationError as error:
        raise _refusal(error) from error
    _check(request, is_translation=is_translation)
    return request


def _collect(fields: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return the fields by name: lists joined, objects (`name[key]`) assembled, empty ones left out."""
    given: dict[str, Any] = {}
    for name, value in fields:
        plain = name.removesuffix("[]")
        if plain in LISTS:
            given.setdefault(plain, []).append(value)
        elif (match := _KEY.match(name)) is not None:
            nested = given.setdefault(match[1], {})
            if isinstance(nested, dict):
                nested[match[2]] = value
        elif value:
            given[name] = value
    return given


def _check(request: AudioRequest, *, is_translation: bool) -> None:
    if request.timestamp_granularities and request.response_format is not ResponseFormat.VERBOSE_JSON:
        message = "timestamp_granularities needs the response_format verbose_json"
        raise ApiError(400, message, param="timestamp_granularities", code="invalid_value")
    if request.include and request.response_format is not ResponseFormat.JSON:
        raise ApiError(400, "logprobs needs the response_format json", param="include", code="invalid_value")
    if is_translation and request.stream:
        raise ApiError(400, "translations are not streamed", param="stream", code="invalid_value")


def _refusal(error: ValidationError) -> ApiError:
    first: Mapping[str, Any] = error.errors(include_url=False, include_context=False)[0]
    name = str(first["loc"][0])
    value = f"{first['input']!a:.60}"
    return ApiError(400, f"{name} is {value}: {first['msg']}"[:300], param=name, code="invalid_value")


def _temperatures(first: float) -> tuple[float, ...]:
    """Return the temperatures that are tried, from the one given: 0 allows all, as OpenAI's documentation says."""
    n = round((1 - first) / FALLBACK_STEP)
    rest = (round(first + FALLBACK_STEP * step, 2) for step in range(1, n + 1))
    return (first, *(each for each in rest if each <= 1))
