"""Audio of any length as windows that Whisper hears, in memory that does not grow with it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from sottovoce.runtime.audio.constants import BLOCK_SAMPLES, SAMPLE_RATE_HZ, WINDOW_S, WINDOW_SAMPLES
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.vad.frames import FRAME_SAMPLES, Probabilities, VoiceActivity
from sottovoce.runtime.vad.speech_spans import pack_windows, speech_spans

STRETCH_SAMPLES = 240 * SAMPLE_RATE_HZ
"""Looked at together: enough windows for a batch, and 15 MB."""

SETTLED_S = 5.0
"""Behind a window without speech: nothing that comes can join it any more, which voice activity's longest gap, pads and
shortest lengths (under 3 s together) could let it."""

KEPT_SAMPLES = 64 * FRAME_SAMPLES
"""Of a stretch without speech: what may turn out to be the start of some, 2 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioWindow:
    """A stretch of audio that is decoded at once.

    Attributes:
        start_s: where it starts in the audio.
        wave: float32, shape (n_samples,), at most 30 s.
    """

    start_s: float
    wave: Wave


def speech_windows(
    blocks: Iterable[Wave], activity: VoiceActivity, *, longest_s: float = WINDOW_S
) -> Iterator[AudioWindow]:
    """Yield the windows of a stream that hold speech, cut at pauses.

    Args:
        blocks: float32, 16 kHz, of any lengths.
        activity: tells where speech is; it is reset.
        longest_s: of a window, at most 30.

    Yields:
        Windows in order of time, without overlap; all speech lies in one.
    """
    stretch = _Stretch(activity, longest_s)
    for block in _regrouped(blocks):
        stretch.append(block)
        if stretch.n_samples >= STRETCH_SAMPLES:
            yield from stretch.take(is_last=False)
    yield from stretch.take(is_last=True)


def plain_windows(blocks: Iterable[Wave]) -> Iterator[AudioWindow]:
    """Yield a stream in windows of 30 s, speech or not, cut wherever that falls."""
    reader = Reader(blocks)
    while (wave := reader.window()).size:
        yield AudioWindow(start_s=reader.position_s, wave=wave)
        reader.advance(wave.size)


def _regrouped(blocks: Iterable[Wave]) -> Iterator[Wave]:
    """Join the small blocks of a decoder to such as voice activity takes at once."""
    waiting: list[Wave] = []
    n_samples = 0
    for block in blocks:
        waiting.append(block)
        n_samples += block.size
        if n_samples >= BLOCK_SAMPLES:
            yield np.concatenate(waiting)
            waiting, n_samples = [], 0
    if waiting:
        yield np.concatenate(waiting)


class _Stretch:
    """The part of a stream that is not cut into windows yet."""

    def __init__(self, activity: VoiceActivity, longest_s: float) -> None:
        activity.reset()
        self._longest_s = longest_s
        self._activity = activity
        self._start = 0
        self._n_given = 0
        self._waves: list[Wave] = []
        self._probabilities: list[Probabilities] = []
        self.n_samples = 0

    def append(self, block: Wave) -> None:
        self._waves.append(block)
        self._probabilities.append(self._activity.probabilities(block))
        self.n_samples += block.size

    def take(self, *, is_last: bool) -> Iterator[AudioWindow]:
        """Cut windows off; the last one waits for what follows, unless nothing does or silence settles it."""
        if is_last:
            self._probabilities.append(self._activity.probabilities(np.zeros(0, np.float32), is_last=True))
        wave = np.concatenate([np.zeros(0, np.float32), *self._waves])
        probabilities = np.concatenate([np.zeros(0, np.float32), *self._probabilities])
        duration_s = wave.size / SAMPLE_RATE_HZ if is_last else None
        spans = speech_spans(probabilities, duration_s=duration_s)
        windows = pack_windows(spans, probabilities, max_s=self._longest_s)
        cut = wave.size - KEPT_SAMPLES
        if windows and not is_last and wave.size / SAMPLE_RATE_HZ - windows[-1].end_s < SETTLED_S:
            cut = round(windows[-1].start_s * SAMPLE_RATE_HZ)
            windows = windows[:-1]
        for window in windows:
            begin, end = (round(edge_s * SAMPLE_RATE_HZ) for edge_s in (window.start_s, window.end_s))
            begin = max(begin, self._n_given)
            yield AudioWindow(start_s=(self._start + begin) / SAMPLE_RATE_HZ, wave=wave[begin:end])
        self._keep_from(max(0, cut), wave, probabilities)

    def _keep_from(self, cut: int, wave: Wave, probabilities: Probabilities) -> None:
        first_frame = cut // FRAME_SAMPLES
        begin = first_frame * FRAME_SAMPLES
        # Copies: views would keep the whole stretch in memory.
        self._waves = [wave[begin:].copy()]
        self._probabilities = [probabilities[first_frame:].copy()]
        self.n_samples = wave.size - begin
        self._start += begin
        # A window may end within a frame: the next one starts behind it.
        self._n_given = cut - begin


class Reader:
    """Looks ahead in a stream, for decoding that decides itself where the next window starts."""

    def __init__(self, blocks: Iterable[Wave]) -> None:
        self._blocks = iter(blocks)
        self._ahead: Wave = np.zeros(0, np.float32)
        self._position = 0

    @property
    def position_s(self) -> float:
        """Where the next window starts."""
        return self._position / SAMPLE_RATE_HZ

    def window(self) -> Wave:
        """Return the next 30 s, less at the end, nothing behind it."""
        waves = [self._ahead]
        n_samples = self._ahead.size
        while n_samples < WINDOW_SAMPLES and (block := next(self._blocks, None)) is not None:
            waves.append(block)
            n_samples += block.size
        self._ahead = np.concatenate(waves) if len(waves) > 1 else self._ahead
        return self._ahead[:WINDOW_SAMPLES]

    def advance(self, n_samples: int) -> None:
        """Go on by some samples."""
        self._ahead = self._ahead[n_samples:].copy()
        self._position += n_samples
