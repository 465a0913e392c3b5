"""What an engine returns for one clip: the transcript with its times, and its tokens, language and words.

Like `engine.py`, this module imports no pydantic: a cold start imports it.
"""

from dataclasses import dataclass

from sottovoce.runtime.transcript import Word
from sottovoce.terms import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedTranscript:
    """A transcript with the time of each stage.

    Attributes:
        text: without special tokens.
        n_tokens: generated tokens, without prompt and end token.
        latency_s: from waveform to text.
        stage_s: seconds in each stage; `other` is the rest, and what the engine does not time apart.
        calls: inferences in each stage.
    """

    text: str
    n_tokens: int
    latency_s: float
    stage_s: dict[Stage, float]
    calls: dict[Stage, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetailedTranscript:
    """A transcript with its tokens, language and words.

    Attributes:
        text: without special tokens.
        tokens: text tokens, without prompt and end token.
        language: detected; None for an English-only model.
        words: with their times; empty where the format has no word timestamps.
    """

    text: str
    tokens: tuple[int, ...]
    language: str | None
    words: tuple[Word, ...]
