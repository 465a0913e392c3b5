"""The events of a live session as text, JSON lines or cues, each printed as soon as it is known.

`jsonl` has an object for each event, with its `type`:

    {"type": "speech_started", "audio_s": 1.2, "at_s": 0.6}
    {"type": "partial", "audio_s": 2.1, "words": [{"text": " Hello", "start_s": 1.1, "end_s": 1.5, "probability": 0.9}]}
    {"type": "committed", "audio_s": 2.6, "words": [...]}
    {"type": "utterance", "audio_s": 3.9, "language": "en", "language_probability": 1.0, "start_s": 1.1, "end_s": 3.2, "text": "...",
     "tokens": [...], "mean_log_probability": -0.2, ..., "words": [...]}
    {"type": "lagging", "audio_s": 9.0, "backlog_s": 5.3}
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import StrEnum

from sottovoce.runtime.live.events import Committed, Lagging, LiveEvent, Partial, SpeechStarted, Utterance
from sottovoce.runtime.output.formats import (
    TIME_DIGITS,
    encodable,
    rounded,
    segment_fields,
    word_fields,
)
from sottovoce.runtime.output.subtitles import CueStream, one_line
from sottovoce.runtime.timestamps.sentences import split_into_sentences
from sottovoce.runtime.transcript import Segment

Print = Callable[[str], None]


class LiveFormat(StrEnum):
    """Format of a live transcript."""

    TEXT = "text"
    JSONL = "jsonl"
    SRT = "srt"
    VTT = "vtt"


TYPES: Mapping[type[LiveEvent], str] = {
    SpeechStarted: "speech_started",
    Partial: "partial",
    Committed: "committed",
    Utterance: "utterance",
    Lagging: "lagging",
}
"""Names of the events in `jsonl`."""


class LivePrinter:
    """Prints events in a format: whole lines, none of which changes later."""

    def __init__(self, kind: LiveFormat, print_text: Print) -> None:
        """Print what comes before the first event.

        Args:
            kind: the format.
            print_text: prints text at once.
        """
        self._kind = kind
        self._print = print_text
        self._cues = CueStream(is_vtt=kind is LiveFormat.VTT)
        if kind is LiveFormat.VTT:
            print_text(self._cues.head)

    def write(self, event: LiveEvent) -> None:
        """Print an event."""
        if self._kind is LiveFormat.JSONL:
            fields = json.dumps(event_fields(event), ensure_ascii=False, allow_nan=False)
            self._print(encodable(f"{fields}\n"))
        elif isinstance(event, Utterance):
            text = (
                f"{one_line(event.segment.text)}\n"
                if self._kind is LiveFormat.TEXT
                else self._cues.add(_sentences(event.segment))
            )
            self._print(encodable(text))


def event_fields(event: LiveEvent) -> Mapping[str, object]:
    """Return an event as JSON has it: times with 3 decimals, other numbers with 4."""
    return {"type": TYPES[type(event)], "audio_s": rounded(event.audio_s, TIME_DIGITS), **_own_fields(event)}


def _own_fields(event: LiveEvent) -> Mapping[str, object]:
    match event:
        case SpeechStarted():
            return {"at_s": rounded(event.at_s, TIME_DIGITS)}
        case Partial() | Committed():
            return {"words": [word_fields(word) for word in event.words]}
        case Utterance():
            probability = rounded(event.language_probability)
            language = {"language": event.language, "language_probability": probability}
            return language | segment_fields(event.segment)
        case Lagging():
            return {"backlog_s": rounded(event.backlog_s, TIME_DIGITS)}


def _sentences(segment: Segment) -> list[Segment]:
    return [
        replace(
            segment,
            start_s=words[0].start_s,
            end_s=words[-1].end_s,
            text="".join(word.text for word in words).strip(),
            words=words,
        )
        for words in split_into_sentences(segment.words)
    ]
