"""Cut audio of any length into windows, in memory that does not grow with it.

A segmenter is pushed the samples of one stream: `feed` and `finish` return the windows that are settled. `windows_of`
pulls them from blocks instead.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sottovoce.runtime.audio.constants import BLOCK_SAMPLES, SAMPLE_RATE_HZ, WINDOW_S, WINDOW_SAMPLES
from sottovoce.runtime.audio.decode import Wave, is_silent, loudest_level
from sottovoce.runtime.vad.frames import FRAME_SAMPLES, Probabilities, VoiceActivity, gain_of
from sottovoce.runtime.vad.speech_spans import (
    FAINT_SPEECH,
    SpeechSpan,
    overlooked_stretches,
    pack_windows,
    seconds_within,
    speech_spans,
)

SEGMENTED_SAMPLES = 240 * SAMPLE_RATE_HZ
"""Cut into windows at once: enough of them for a batch, and 15 MB."""

SETTLED_S = 5.0
"""A window followed by so long a silence is final: voice activity's longest gap, pads and short lengths are under
4 s together."""

KEPT_SAMPLES = 64 * FRAME_SAMPLES
"""Kept of the end of audio without speech, 2 s: speech may start there."""

LEVEL_BLOCKS = 4
"""The level of the last minute decides whether audio is quiet: a pause after speech is not."""

_NO_SAMPLES: Wave = np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioWindow:
    """Audio that is decoded at once.

    Attributes:
        start_s: seconds from the start of the audio.
        wave: float32, shape (n_samples,), at most 30 s.
        is_faint: most of its speech is so faint that its text counts only where it is likely.
        was_doubtful: it is the speech of a window whose text was doubtful; a short text counts only where it is likely.
        states: encoder states of the wave, where it is encoded already: float32, shape (1, n_positions, d_model).
    """

    start_s: float
    wave: Wave
    is_faint: bool = False
    was_doubtful: bool = False
    states: NDArray[np.float32] | None = None

    @property
    def end_s(self) -> float:
        """Seconds from the start of the audio."""
        return self.start_s + len(self.wave) / SAMPLE_RATE_HZ


class Segmenter(Protocol):
    """Cuts one stream into windows: in order of time, without overlap, the same however the stream is fed."""

    def feed(self, samples: Wave) -> list[AudioWindow]:
        """Take the next samples of the stream; return the windows that are settled now.

        Args:
            samples: float32, shape (n_samples,), 16 kHz, of any length.
        """

    def finish(self) -> list[AudioWindow]:
        """End the stream; return its last windows."""


def windows_of(blocks: Iterable[Wave], segmenter: Segmenter) -> Iterator[AudioWindow]:
    """Yield the windows of a stream of blocks."""
    for block in blocks:
        yield from segmenter.feed(block)
    yield from segmenter.finish()


class _Blocks:
    """Joins and cuts samples to blocks of one size."""

    def __init__(self, n_samples: int) -> None:
        self._n_samples = n_samples
        self._waiting: list[Wave] = []
        self._n_waiting = 0

    def feed(self, samples: Wave) -> list[Wave]:
        """Return the blocks that are complete now."""
        self._waiting.append(samples)
        self._n_waiting += samples.size
        if self._n_waiting < self._n_samples:
            return []
        joined = self.rest()
        n_blocks = joined.size // self._n_samples
        *blocks, rest = np.split(joined, [self._n_samples * (i + 1) for i in range(n_blocks)])
        self._waiting, self._n_waiting = [rest.copy()], rest.size
        return blocks

    def rest(self) -> Wave:
        """Return the samples that fill no block yet."""
        return np.concatenate([_NO_SAMPLES, *self._waiting])


class FixedSegmenter:
    """Cuts a stream every 30 s, speech or not."""

    def __init__(self) -> None:
        self._blocks = _Blocks(WINDOW_SAMPLES)
        self._n_windows = 0

    def feed(self, samples: Wave) -> list[AudioWindow]:
        """Take the next samples of the stream; return the windows that are settled now."""
        return [self._window(block) for block in self._blocks.feed(samples)]

    def finish(self) -> list[AudioWindow]:
        """End the stream; return its last windows."""
        rest = self._blocks.rest()
        return [self._window(rest)] if rest.size else []

    def _window(self, wave: Wave) -> AudioWindow:
        start_s = float(self._n_windows * WINDOW_S)
        self._n_windows += 1
        return AudioWindow(start_s=start_s, wave=wave)


class SpeechSegmenter:
    """Cuts a stream at pauses; all speech lies in one window."""

    def __init__(self, activity: VoiceActivity, *, longest_s: float = WINDOW_S) -> None:
        """Start a stream.

        Args:
            activity: finds speech; reset, and used for this stream only.
            longest_s: of a window, at most 30.
        """
        activity.reset()
        self._activity = activity
        self._longest_s = longest_s
        self._blocks = _Blocks(BLOCK_SAMPLES)
        self._start = 0
        self._n_given = 0
        self._levels = deque[float](maxlen=LEVEL_BLOCKS)
        self._waves: list[Wave] = []
        self._probabilities: list[Probabilities] = []
        self._n_samples = 0

    def feed(self, samples: Wave) -> list[AudioWindow]:
        """Take the next samples of the stream; return the windows that are settled now."""
        windows: list[AudioWindow] = []
        for block in self._blocks.feed(samples):
            self._add(block)
            if self._n_samples >= SEGMENTED_SAMPLES:
                windows += self._cut(is_last=False)
        return windows

    def finish(self) -> list[AudioWindow]:
        """End the stream; return its last windows."""
        self._add(self._blocks.rest())
        return self._cut(is_last=True)

    def _add(self, block: Wave) -> None:
        self._waves.append(block)
        self._levels.append(loudest_level(block))
        gain = gain_of(max(self._levels))
        self._probabilities.append(self._activity.probabilities(block * gain))
        self._n_samples += block.size

    def _cut(self, *, is_last: bool) -> list[AudioWindow]:
        """Cut windows off; the last one waits for what follows, unless nothing does or silence settles it."""
        if is_last:
            self._probabilities.append(self._activity.probabilities(_NO_SAMPLES, is_last=True))
        wave = np.concatenate([_NO_SAMPLES, *self._waves])
        probabilities = np.concatenate([np.zeros(0, np.float32), *self._probabilities])
        duration_s = wave.size / SAMPLE_RATE_HZ
        clear = speech_spans(probabilities, duration_s=duration_s if is_last else None)
        spans = sorted([*clear, *self._faint(wave, clear)], key=lambda span: span.start_s)
        found = pack_windows(spans, probabilities, max_s=self._longest_s)
        kept_from = wave.size - KEPT_SAMPLES
        if found and not is_last and duration_s - found[-1].end_s < SETTLED_S:
            kept_from = round(found[-1].start_s * SAMPLE_RATE_HZ)
            found = found[:-1]
        windows = []
        for each in found:
            begin, end = (round(edge_s * SAMPLE_RATE_HZ) for edge_s in (each.start_s, each.end_s))
            begin = max(begin, self._n_given)
            windows.append(
                AudioWindow(
                    start_s=(self._start + begin) / SAMPLE_RATE_HZ,
                    wave=wave[begin:end],
                    is_faint=seconds_within(clear, each) < seconds_within(spans, each) / 2,
                )
            )
        self._keep_from(max(0, kept_from), wave, probabilities)
        return windows

    def _faint(self, wave: Wave, clear: Sequence[SpeechSpan]) -> Iterator[SpeechSpan]:
        """Yield speech in long stretches without clear speech: each at a level of its own, with lower thresholds."""
        for stretch in overlooked_stretches(clear, wave.size / SAMPLE_RATE_HZ):
            part = wave[round(stretch.start_s * SAMPLE_RATE_HZ) : round(stretch.end_s * SAMPLE_RATE_HZ)]
            if is_silent(part):
                continue
            part = part * gain_of(loudest_level(part))
            probabilities = self._activity.new_stream().probabilities(part, is_last=True)
            for span in speech_spans(probabilities, FAINT_SPEECH, duration_s=part.size / SAMPLE_RATE_HZ):
                yield SpeechSpan(start_s=stretch.start_s + span.start_s, end_s=stretch.start_s + span.end_s)

    def _keep_from(self, kept_from: int, wave: Wave, probabilities: Probabilities) -> None:
        first_frame = kept_from // FRAME_SAMPLES
        begin = first_frame * FRAME_SAMPLES
        # Copies: views would keep the whole audio in memory.
        self._waves = [wave[begin:].copy()]
        self._probabilities = [probabilities[first_frame:].copy()]
        self._n_samples = wave.size - begin
        self._start += begin
        # A window may end within a frame: the next one starts behind it.
        self._n_given = kept_from - begin


class WindowReader:
    """Looks ahead in a stream, for decoding that decides itself where the next window starts."""

    def __init__(self, blocks: Iterable[Wave]) -> None:
        self._blocks = iter(blocks)
        self._ahead = _NO_SAMPLES
        self._position = 0

    @property
    def position_s(self) -> float:
        """Where the next window starts."""
        return self._position / SAMPLE_RATE_HZ

    def window(self) -> AudioWindow:
        """Return the next 30 s, less at the end of the stream, an empty window after it."""
        waves = [self._ahead]
        n_samples = self._ahead.size
        while n_samples < WINDOW_SAMPLES and (block := next(self._blocks, None)) is not None:
            waves.append(block)
            n_samples += block.size
        self._ahead = np.concatenate(waves) if len(waves) > 1 else self._ahead
        return AudioWindow(start_s=self.position_s, wave=self._ahead[:WINDOW_SAMPLES])

    def advance(self, n_samples: int) -> None:
        """Move the start of the next window by a number of samples."""
        self._ahead = self._ahead[n_samples:].copy()
        self._position += n_samples
