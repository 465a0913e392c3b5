"""Live transcription as others do it, over any engine that transcribes a wave.

`LocalAgreement`: Liu et al. 2020 (LocalAgreement-2), as Macháček et al. 2023, "Turning Whisper into Real-Time Transcription
System", use it for Whisper. `SlidingWindow`: the example `stream` of whisper.cpp.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np

from sottovoce.benchmark.live.clock import Clock
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.live.events import Committed, LiveEvent, Partial
from sottovoce.runtime.transcript import Word

AGREEMENT_HOP_S = 1.0
"""Default of whisper_streaming."""

MAX_BUFFER_S = 15.0
"""Longer audio is cut at the end of a committed segment; default of whisper_streaming."""

PROMPT_CHARACTERS = 200
OVERLAP_S = 0.1
MAX_OVERLAP_WORDS = 5
NEAR_S = 1.0
"""Words that start so near to the last committed word may be its repetition."""

WINDOW_HOP_S = 0.5
WINDOW_S = 5.0
"""Of the command in the README of whisper.cpp's example: `--step 500 --length 5000`."""

KEPT_S = 0.2
"""Audio before a new line that is decoded with it; default of whisper.cpp's example."""

Segments = Sequence[Sequence[Word]]
TranscribeWords = Callable[[Wave, str], Segments]
"""Transcribes a wave after a prompt; words of each segment, with times from the start of the wave."""

TranscribeText = Callable[[Wave], str]


@dataclass(slots=True)
class _Hops:
    """When the next pass is due: after a hop of audio, or after as much audio as the last pass took."""

    hop_s: float
    clock: Clock
    position: int = 0
    next_pass: int = 0
    _started_s: float = 0.0

    def is_due(self, n_samples: int) -> bool:
        """Take samples; return whether to decode."""
        self.position += n_samples
        self.next_pass = self.next_pass or round(self.hop_s * SAMPLE_RATE_HZ)
        return self.position >= self.next_pass

    def start(self) -> None:
        """Begin a pass."""
        self._started_s = self.clock()

    def end(self) -> None:
        """End a pass."""
        took_s = self.clock() - self._started_s
        self.next_pass = self.position + round(max(self.hop_s, took_s) * SAMPLE_RATE_HZ)


class LocalAgreement:
    """Commits the words that two hypotheses in a row have in common from their start."""

    def __init__(self, transcribe: TranscribeWords, clock: Clock) -> None:
        """Start a stream; `transcribe` decodes the buffer in each pass."""
        self._transcribe = transcribe
        self._hops = _Hops(AGREEMENT_HOP_S, clock)
        self._audio = np.zeros(0, np.float32)
        self._start_s = 0.0
        self._committed: list[Word] = []
        self._previous: Sequence[Word] = ()

    def feed(self, samples: Wave) -> list[LiveEvent]:
        """Take the next samples; return what they settle."""
        self._audio = np.concatenate([self._audio, samples])
        return self._decode() if self._hops.is_due(len(samples)) else []

    def finish(self) -> list[LiveEvent]:
        """Decode once more, and commit all words."""
        events = self._decode()
        left, self._previous = self._previous, ()
        return [*events, *self._events(left, ())]

    def _decode(self) -> list[LiveEvent]:
        self._hops.start()
        segments = [
            [_moved(word, self._start_s) for word in segment]
            for segment in self._transcribe(self._audio, self._prompt())
        ]
        found = self._without_committed([word for segment in segments for word in segment])
        pairs = zip(found, self._previous, strict=False)
        n_agreed = len(list(takewhile(lambda pair: pair[0].text == pair[1].text, pairs)))
        self._previous = found[n_agreed:]
        events = self._events(found[:n_agreed], self._previous)
        self._cut([segment[-1].end_s for segment in segments if segment])
        self._hops.end()
        return events

    def _events(self, committed: Sequence[Word], tail: Sequence[Word]) -> list[LiveEvent]:
        self._committed += committed
        at_s = self._hops.position / SAMPLE_RATE_HZ
        shown: list[LiveEvent] = [Committed(words=tuple(committed), audio_s=at_s)] if committed else []
        return [*shown, Partial(words=tuple(tail), audio_s=at_s)]

    def _prompt(self) -> str:
        before = [word.text for word in self._committed if word.end_s <= self._start_s]
        return "".join(before)[-PROMPT_CHARACTERS:]

    def _without_committed(self, words: Sequence[Word]) -> Sequence[Word]:
        """Drop words that were committed before: by their times, and those that repeat the last ones."""
        if not self._committed:
            return words
        end_s = self._committed[-1].end_s
        new = [word for word in words if word.start_s > end_s - OVERLAP_S]
        if not new or abs(new[0].start_s - end_s) >= NEAR_S:
            return new
        texts = [word.text for word in new]
        last = [word.text for word in self._committed[-MAX_OVERLAP_WORDS:]]
        n_repeated = next((n for n in range(1, len(last) + 1) if last[-n:] == texts[:n]), 0)
        return new[n_repeated:]

    def _cut(self, ends_s: Sequence[float]) -> None:
        """Drop the audio before the end of the last segment but one that is committed, if the buffer is long."""
        if len(self._audio) <= MAX_BUFFER_S * SAMPLE_RATE_HZ or not self._committed:
            return
        committed_s = self._committed[-1].end_s
        cut_s = max((end_s for end_s in ends_s[:-1] if end_s <= committed_s), default=self._start_s)
        self._audio = self._audio[round((cut_s - self._start_s) * SAMPLE_RATE_HZ) :]
        self._start_s = cut_s


class SlidingWindow:
    """Decodes the current line, up to 5 s, again and again; the line is final when it is full."""

    def __init__(self, transcribe: TranscribeText, clock: Clock) -> None:
        """Start a stream; `transcribe` decodes the audio of the line in each pass."""
        self._transcribe = transcribe
        self._hops = _Hops(WINDOW_HOP_S, clock)
        self._audio = np.zeros(0, np.float32)
        self._words: tuple[Word, ...] = ()
        self._n_passes = 0

    def feed(self, samples: Wave) -> list[LiveEvent]:
        """Take the next samples; return what they settle."""
        self._audio = np.concatenate([self._audio, samples])
        return self._decode() if self._hops.is_due(len(samples)) else []

    def finish(self) -> list[LiveEvent]:
        """Decode the line once more, and end it."""
        self._decode()
        return self._end_line()

    def _decode(self) -> list[LiveEvent]:
        self._hops.start()
        self._audio = self._audio[-round((WINDOW_S + KEPT_S) * SAMPLE_RATE_HZ) :]
        texts = self._transcribe(self._audio).split()
        end_s = self._hops.position / SAMPLE_RATE_HZ
        self._words = tuple(
            Word(text=f" {text}", start_s=end_s, end_s=end_s, probability=1.0) for text in texts
        )
        self._n_passes += 1
        self._hops.end()
        # The example ends a line one step before its window is full.
        is_full = self._n_passes >= round(WINDOW_S / WINDOW_HOP_S) - 1
        return self._end_line() if is_full else [Partial(words=self._words, audio_s=end_s)]

    def _end_line(self) -> list[LiveEvent]:
        at_s = self._hops.position / SAMPLE_RATE_HZ
        words, self._words, self._n_passes = self._words, (), 0
        self._audio = self._audio[-round(KEPT_S * SAMPLE_RATE_HZ) :]
        committed: list[LiveEvent] = [Committed(words=words, audio_s=at_s)] if words else []
        return [*committed, Partial(words=(), audio_s=at_s)]


def _moved(word: Word, by_s: float) -> Word:
    return Word(
        text=word.text,
        start_s=word.start_s + by_s,
        end_s=word.end_s + by_s,
        probability=word.probability,
    )
