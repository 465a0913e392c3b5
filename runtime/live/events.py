"""What a live session reports, in order of time."""

from dataclasses import dataclass

from sottovoce.runtime.transcript import Segment, Word


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechStarted:
    """Speech was found.

    Attributes:
        at_s: where it starts; seconds from the start of the stream, as are all times of events.
        audio_s: seconds of the stream that had been fed when the event occurred.
    """

    at_s: float
    audio_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Partial:
    """The words after the committed ones, as far as they are known; each event replaces the one before.

    Attributes:
        words: none where the words shown before were withdrawn.
        audio_s: seconds of the stream that had been fed.
    """

    words: tuple[Word, ...]
    audio_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """Words that are never changed again; they take the place of the same words of the last `Partial`.

    Attributes:
        words: at least one. Their joined texts continue the text committed before.
        audio_s: seconds of the stream that had been fed.
    """

    words: tuple[Word, ...]
    audio_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """Speech ended, or it was cut because it lasts too long: its committed words as one segment.

    Attributes:
        segment: with its words.
        language: code of the language of the speech.
        language_probability: 1 where the language was given or the model has only one.
        audio_s: seconds of the stream that had been fed.
    """

    segment: Segment
    language: str
    language_probability: float
    audio_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lagging:
    """Decoding does not keep up: no audio is lost, but words come late.

    Attributes:
        backlog_s: seconds of audio that wait.
        audio_s: seconds of the stream that had been fed.
    """

    backlog_s: float
    audio_s: float


LiveEvent = SpeechStarted | Partial | Committed | Utterance | Lagging
