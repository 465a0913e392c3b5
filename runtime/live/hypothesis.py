"""What decoding the audio of an utterance gives, and the interface of what decodes it."""

from dataclasses import dataclass
from typing import Protocol

from sottovoce.runtime.decoding.context import DetectedLanguage
from sottovoce.runtime.decoding.tokenizer import Tokens
from sottovoce.runtime.transcript import Word
from sottovoce.runtime.vad.segmenter import AudioWindow


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenWord:
    """A word with its tokens; times are seconds from the start of the stream."""

    word: Word
    tokens: Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """The words of an utterance behind those that are committed.

    Attributes:
        words: in order of time.
        is_no_speech: the model takes the audio for silence.
        has_looped: the text repeats itself or never ends.
        no_speech_probability: 0 to 1.
        mean_log_probability: natural logarithm, of the tokens of `words` and the end token.
        compression_ratio: of the whole text.
    """

    words: tuple[TokenWord, ...]
    is_no_speech: bool
    has_looped: bool
    no_speech_probability: float
    mean_log_probability: float
    compression_ratio: float

    @property
    def is_usable(self) -> bool:
        """Whether the words may be shown."""
        return not (self.is_no_speech or self.has_looped)


class Recognizer(Protocol):
    """Decodes the audio of one stream's utterances."""

    @property
    def aligns_well(self) -> bool:
        """Whether words may count as final by their times."""

    def detect_language(self, window: AudioWindow) -> tuple[DetectedLanguage, AudioWindow]:
        """Detect the language of an utterance.

        Returns:
            The language, and the window with its encoder states.
        """

    def recognize(
        self, window: AudioWindow, committed: Tokens, language: DetectedLanguage, *, is_last: bool
    ) -> Hypothesis:
        """Decode an utterance.

        Args:
            window: the audio of the utterance so far, at most 30 s.
            committed: tokens of its text that are settled; the hypothesis continues them.
            language: of the text.
            is_last: nothing follows: a doubtful text is decoded again by other means.
        """
