"""The windows of one audio that are to be decoded, and the segments of those that are.

The queue decodes nothing: what decodes it takes windows of one audio, as `InferencePipeline.transcribe` does, or of several
together.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sottovoce.runtime.decoding.context import DecodingContext
from sottovoce.runtime.decoding.tokenizer import Tokens
from sottovoce.runtime.decoding.window_decoder import DecodingResult
from sottovoce.runtime.transcript import Segment
from sottovoce.runtime.vad.segmenter import AudioWindow


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedWindow:
    """A window that is to be decoded.

    Attributes:
        window: the audio.
        has_speech: voice activity found it; else its text counts only where it is not doubtful.
    """

    window: AudioWindow
    has_speech: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowText:
    """What the decoding of a window gives.

    Attributes:
        segments: of its text.
        retries: parts of its speech that are decoded again.
    """

    segments: Sequence[Segment] = ()
    retries: Sequence[AudioWindow] = ()


Interpret = Callable[[QueuedWindow, DecodingResult, DecodingContext], WindowText]
"""Turns the tokens of a window into segments, and finds speech that they leave out."""


class WindowQueue:
    """Windows of one audio in order of time; speech that the model left out is taken before new windows.

    Attributes:
        context: of the transcription.
        prompt: before the text of each window.
        done_s: seconds of the audio that are decoded.
    """

    def __init__(
        self, context: DecodingContext, prompt: Tokens, interpret: Interpret, *, has_speech: bool
    ) -> None:
        """Start an audio.

        Args:
            context: of the transcription.
            prompt: before the text of each window.
            interpret: makes the segments of a window.
            has_speech: the windows were found by voice activity.
        """
        self.context = context
        self.prompt = prompt
        self.done_s = 0.0
        self._interpret = interpret
        self._has_speech = has_speech
        self._retries: list[AudioWindow] = []
        self._windows: list[AudioWindow] = []
        self._segments: list[Segment] = []

    def __len__(self) -> int:
        return len(self._retries) + len(self._windows)

    def push(self, windows: Iterable[AudioWindow]) -> None:
        """Add the next windows of the audio."""
        self._windows += windows

    def take(self, n: int) -> list[QueuedWindow]:
        """Take at most so many windows out of the queue; `settle` them before the next are taken."""
        retries, self._retries = self._retries[:n], self._retries[n:]
        n -= len(retries)
        windows, self._windows = self._windows[:n], self._windows[n:]
        return [
            *(QueuedWindow(window=window, has_speech=True) for window in retries),
            *(QueuedWindow(window=window, has_speech=self._has_speech) for window in windows),
        ]

    def settle(self, taken: Sequence[QueuedWindow], results: Sequence[DecodingResult]) -> list[Segment]:
        """Take what the decoding of windows gave; return the segments that no earlier one can follow any more."""
        for each, result in zip(taken, results, strict=True):
            text = self._interpret(each, result, self.context)
            self._segments += text.segments
            self._retries += text.retries
        # Retries lie further back, which is no progress.
        self.done_s = max(self.done_s, taken[-1].window.end_s)
        return self._final_until(min((window.start_s for window in self._retries), default=self.done_s))

    def finish(self) -> list[Segment]:
        """Return the segments that are left when all windows are decoded."""
        return self._final_until(float("inf"))

    def _final_until(self, end_s: float) -> list[Segment]:
        self._segments.sort(key=lambda segment: segment.start_s)
        n_final = sum(segment.start_s < end_s for segment in self._segments)
        final, self._segments = self._segments[:n_final], self._segments[n_final:]
        return final
