"""Options, segments and live events as the fields of messages, and back."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from traceback import extract_tb
from typing import Any

from sottovoce.runtime.live.events import Committed, Lagging, LiveEvent, Partial, SpeechStarted, Utterance
from sottovoce.runtime.live.options import LiveOptions
from sottovoce.runtime.options import TranscribeOptions
from sottovoce.runtime.transcript import Segment, Word

MOST_PLACES = 5
"""Of an error that are named."""

_EVENTS = {each.__name__: each for each in (Committed, Lagging, Partial, SpeechStarted, Utterance)}


def options_fields(options: TranscribeOptions | LiveOptions) -> dict[str, Any]:
    """Return the options that differ from the defaults, as JSON has them."""
    default = type(options)()
    return {
        field.name: getattr(options, field.name)
        for field in fields(options)
        if getattr(options, field.name) != getattr(default, field.name)
    }


def transcribe_options(given: dict[str, Any]) -> TranscribeOptions:
    """Read options for a file."""
    temperature = given.get("temperature")
    changes = {"temperature": tuple(temperature)} if isinstance(temperature, list) else {}
    return TranscribeOptions(**{**given, **changes})


def segment_fields(segment: Segment) -> dict[str, Any]:
    """Return a segment as JSON has it."""
    return asdict(segment)


def read_segment(given: dict[str, Any]) -> Segment:
    """Read a segment."""
    return Segment(
        **{
            **given,
            "tokens": tuple(given["tokens"]),
            "log_probabilities": tuple(given["log_probabilities"]),
            "words": read_words(given["words"]),
        }
    )


def pieces_fields(pieces: Sequence[bytes]) -> list[str]:
    """Return the bytes of tokens as JSON has them: a character for each byte."""
    return [piece.decode("latin-1") for piece in pieces]


def read_pieces(given: list[str]) -> tuple[bytes, ...]:
    """Read the bytes of tokens."""
    return tuple(piece.encode("latin-1") for piece in given)


def read_words(given: list[dict[str, Any]]) -> tuple[Word, ...]:
    """Read words."""
    return tuple(Word(**word) for word in given)


def event_fields(event: LiveEvent) -> dict[str, Any]:
    """Return a live event as JSON has it."""
    return {"event": type(event).__name__, **asdict(event)}


def read_event(given: dict[str, Any]) -> LiveEvent:
    """Read a live event."""
    values = {name: value for name, value in given.items() if name != "event"}
    if "words" in values:
        values["words"] = read_words(values["words"])
    if "segment" in values:
        values["segment"] = read_segment(values["segment"])
    event: LiveEvent = _EVENTS[given["event"]](**values)
    return event


def describe_place(error: Exception) -> str:
    """Return the type of an error and where it arose, innermost last: its text may hold what was said."""
    places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in extract_tb(error.__traceback__)]
    return f"{type(error).__name__} at {' > '.join(places[-MOST_PLACES:])}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A recording is transcribed.

    Attributes:
        language: code; English with probability 0 for silence.
        language_probability: 1 where it was given.
        duration_s: of the audio.
    """

    language: str
    language_probability: float
    duration_s: float
