"""From live events to those of OpenAI's realtime API: utterances become items."""

from collections.abc import Iterator, Sequence
from typing import Any

from sottovoce.runtime.live.events import Committed, Lagging, LiveEvent, Partial, SpeechStarted, Utterance
from sottovoce.runtime.output.formats import encodable, rounded
from sottovoce.runtime.transcript import Word
from sottovoce.serve.openai.realtime.settings import HYPOTHESIS, Settings, new_id

Event = dict[str, Any]

TRANSCRIPTION = "conversation.item.input_audio_transcription"


class Items:
    """The items of a session: one for each utterance, or for all audio until the client commits it.

    Attributes:
        settings: of the session.
        n_closed: items that have an end.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.n_closed = 0
        self._offset_s = 0.0
        self._item_id: str | None = None
        self._previous_id: str | None = None
        self._text = ""
        self._start_s = 0.0
        self._end_s = 0.0

    def take(self, event: LiveEvent) -> Iterator[Event]:
        """Yield what a live event becomes."""
        match event:
            case SpeechStarted():
                if self.is_open and not self.settings.is_manual:  # speech without words: no event was its end
                    yield from self._stop()
                yield from self._open(event.at_s)
            case Committed():
                yield from self._delta(event)
            case Utterance():
                yield from self._utterance(event)
            case Partial():
                if self.settings.wants_hypotheses:
                    yield {
                        "type": HYPOTHESIS,
                        "item_id": self._item_id,
                        "text": _text(event.words),
                        "audio_s": self._stream_s(event.audio_s),
                    }
            case Lagging():
                pass

    def commit(self) -> Iterator[Event]:
        """Yield the end of the item that is open, or else of one without text."""
        if self._item_id is None:
            self._item_id = new_id("item")
            yield from self._close()
        else:
            yield from self._stop()

    def shift(self, audio_s: float) -> None:
        """Take in that a stream of some seconds is over: the next one's times follow."""
        self._offset_s += audio_s
        self._start_s = self._end_s = 0.0

    def forget(self, audio_s: float) -> None:
        """Drop the item that is open, and its stream of some seconds."""
        self._item_id, self._text = None, ""
        self.shift(audio_s)

    @property
    def is_open(self) -> bool:
        """Whether an item has no end yet."""
        return self._item_id is not None

    def _open(self, start_s: float) -> Iterator[Event]:
        if self._item_id is None:
            self._item_id, self._text, self._start_s = new_id("item"), "", start_s
            yield {
                "type": "input_audio_buffer.speech_started",
                "item_id": self._item_id,
                "audio_start_ms": round(1000 * self._stream_s(start_s)),
            }

    def _delta(self, event: Committed) -> Iterator[Event]:
        yield from self._open(event.words[0].start_s)  # words after a cut belong to the next utterance
        text = _text(event.words)
        delta = text if self._text else text.lstrip()
        self._text += delta
        yield {
            "type": f"{TRANSCRIPTION}.delta",
            "item_id": self._item_id,
            "content_index": 0,
            "delta": delta,
            "audio_s": self._stream_s(event.audio_s),
            "words": [
                {
                    "word": encodable(word.text.strip()),
                    "start": self._stream_s(word.start_s),
                    "end": self._stream_s(word.end_s),
                    "probability": rounded(word.probability),
                }
                for word in event.words
            ],
        }

    def _utterance(self, event: Utterance) -> Iterator[Event]:
        self._end_s = event.segment.end_s
        if not self.settings.is_manual:
            yield from self._stop()

    def _stop(self) -> Iterator[Event]:
        if not self.settings.is_manual:
            yield {
                "type": "input_audio_buffer.speech_stopped",
                "item_id": self._item_id,
                "audio_end_ms": round(1000 * self._stream_s(max(self._start_s, self._end_s))),
            }
        yield from self._close()

    def _close(self) -> Iterator[Event]:
        item_id, self._item_id = self._item_id, None
        previous_id, self._previous_id = self._previous_id, item_id
        ids = {"item_id": item_id, "previous_item_id": previous_id}
        yield {"type": "input_audio_buffer.committed", **ids}
        yield {
            "type": "conversation.item.created" if self.settings.is_beta else "conversation.item.added",
            "previous_item_id": previous_id,
            "item": {
                "id": item_id,
                "object": "realtime.item",
                "type": "message",
                "role": "user",
                "status": "completed",
                "content": [{"type": "input_audio", "transcript": None}],
            },
        }
        yield {
            "type": f"{TRANSCRIPTION}.completed",
            "item_id": item_id,
            "content_index": 0,
            "transcript": self._text.strip(),
            "usage": {"type": "duration", "seconds": rounded(max(0.0, self._end_s - self._start_s), 3)},
        }
        self._text = ""
        self.n_closed += 1

    def _stream_s(self, time_s: float) -> float:
        """Return a time of the audio since the last commit as one of the whole session."""
        return round(self._offset_s + time_s, 3)


def _text(words: Sequence[Word]) -> str:
    return encodable("".join(word.text for word in words))
