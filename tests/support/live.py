"""Speech of a script, and what finds and recognizes it: live sessions without a model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.decoding.context import DetectedLanguage
from sottovoce.runtime.decoding.tokenizer import Tokens
from sottovoce.runtime.live.hypothesis import Hypothesis, TokenWord
from sottovoce.runtime.transcript import Word
from sottovoce.runtime.vad.frames import Framer, Probabilities
from sottovoce.runtime.vad.segmenter import AudioWindow

ENGLISH = DetectedLanguage(language="en", probability=1.0)


class Loudness:
    """The loudest sample of a frame is its probability of speech."""

    name = "loudness"

    def __init__(self) -> None:
        self._framer = Framer()

    def probabilities(self, chunk: Wave, *, is_last: bool = False) -> Probabilities:
        found = [np.abs(frames).max(axis=1) for frames in self._framer.blocks(chunk, is_last=is_last)]
        return np.concatenate([np.zeros(0, np.float32), *found]).astype(np.float32)

    def reset(self) -> None:
        self._framer.reset()

    def new_stream(self) -> "Loudness":
        return Loudness()


def spoken(spans_s: Sequence[tuple[float, float]], total_s: float, probability: float = 0.99) -> Wave:
    """Return a wave that is loud in spans of seconds, and silent elsewhere."""
    wave = np.zeros(round(total_s * SAMPLE_RATE_HZ), np.float32)
    for start_s, end_s in spans_s:
        wave[round(start_s * SAMPLE_RATE_HZ) : round(end_s * SAMPLE_RATE_HZ)] = probability
    return wave


def words_of(spans_s: Sequence[tuple[float, float]]) -> list[Word]:
    """Return a word for each span, numbered."""
    return [
        Word(text=f" w{number}", start_s=start_s, end_s=end_s, probability=0.95)
        for number, (start_s, end_s) in enumerate(spans_s)
    ]


@dataclass
class Script:
    """Recognizes words whose times are known; the number of a word is its token.

    Attributes:
        words: in order of time.
        aligns_well: see `Recognizer`.
        cut_probability: of a word whose end is not in the audio yet; its text is another one then.
        change: applied to each hypothesis.
        seconds: advanced by `cost_s` for each second of audio that is decoded; for the session's clock.
        windows: what was decoded.
        languages: the language of each.
        are_last: whether each was the last of its utterance.
    """

    words: Sequence[Word]
    aligns_well: bool = True
    cut_probability: float = 0.95
    cost_s: float = 0.0
    change: Callable[[Hypothesis], Hypothesis] = lambda hypothesis: hypothesis
    language: DetectedLanguage = ENGLISH
    seconds: float = 0.0
    windows: list[AudioWindow] = field(default_factory=list)
    languages: list[str] = field(default_factory=list)
    are_last: list[bool] = field(default_factory=list)

    def clock(self) -> float:
        return self.seconds

    def detect_language(self, window: AudioWindow) -> tuple[DetectedLanguage, AudioWindow]:
        return self.language, window

    def recognize(
        self, window: AudioWindow, committed: Tokens, language: DetectedLanguage, *, is_last: bool
    ) -> Hypothesis:
        self.windows.append(window)
        self.languages.append(language.language)
        self.are_last.append(is_last)
        self.seconds += self.cost_s * (window.end_s - window.start_s)
        first = committed[-1] + 1 if committed else 0
        found = tuple(
            TokenWord(word=self._as_far_as(word, window.end_s), tokens=(number,))
            for number, word in enumerate(self.words)
            if number >= first and window.start_s - 0.2 <= word.start_s < window.end_s - 0.1
        )
        return self.change(
            Hypothesis(
                words=found,
                is_no_speech=not found and not committed,
                has_looped=False,
                no_speech_probability=0.01,
                mean_log_probability=-0.2,
                compression_ratio=1.2,
            )
        )

    def _as_far_as(self, word: Word, end_s: float) -> Word:
        if word.end_s <= end_s:
            return word
        return Word(text=f"{word.text}?", start_s=word.start_s, end_s=end_s, probability=self.cut_probability)
