"""The parts of audio that are transcribed, and the way of their times back to the audio."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np

from sottovoce.errors import SpecError
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ, WINDOW_S
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.transcript import Segment
from sottovoce.runtime.vad.speech_spans import SpeechSpan


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Spans of audio, joined.

    Attributes:
        wave: float32, shape (n_samples,), 16 kHz.
        spans: in order of time.
        starts_s: where each span starts in the part, in seconds.
    """

    wave: Wave
    spans: tuple[SpeechSpan, ...]
    starts_s: tuple[float, ...]

    def restored(self, segment: Segment) -> Segment:
        """Return a segment of the part with the times of the audio; a word is within one span."""
        words = tuple(
            replace(word, start_s=self._time(word.start_s, span), end_s=self._time(word.end_s, span))
            for word in segment.words
            for span in (self._span_at((word.start_s + word.end_s) / 2),)
        )
        start_s, end_s = segment.start_s, segment.end_s
        return replace(
            segment,
            start_s=words[0].start_s if words else self._time(start_s, self._span_at(start_s)),
            end_s=words[-1].end_s if words else self._time(end_s, self._span_at(end_s, ends=True)),
            words=words,
        )

    def _span_at(self, time_s: float, *, ends: bool = False) -> int:
        """Return the number of the span at a time of the part; the earlier one where a time ends there."""
        return max(0, (bisect_left if ends else bisect_right)(self.starts_s, time_s) - 1)

    def _time(self, time_s: float, span: int) -> float:
        return max(0.0, self.spans[span].start_s + time_s - self.starts_s[span])


def join(wave: Wave, spans: Sequence[SpeechSpan]) -> Part:
    """Return a part of one or more spans."""
    lengths_s = [span.end_s - span.start_s for span in spans]
    return Part(
        wave=np.concatenate([_samples(wave, span) for span in spans]),
        spans=tuple(spans),
        starts_s=tuple(accumulate(lengths_s[:-1], initial=0.0)),
    )


def split(wave: Wave, spans: Iterable[SpeechSpan]) -> list[Part]:
    """Return a part for each span."""
    return [join(wave, [span]) for span in spans]


def concatenate(found: Sequence[Part], n_samples: int) -> Wave:
    """Return the first samples of all parts."""
    return np.concatenate([part.wave for part in found])[:n_samples]


def whole(wave: Wave) -> SpeechSpan:
    """Return the span of all of a wave."""
    return SpeechSpan(start_s=0.0, end_s=len(wave) / SAMPLE_RATE_HZ)


def _samples(wave: Wave, span: SpeechSpan) -> Wave:
    return wave[round(span.start_s * SAMPLE_RATE_HZ) : round(span.end_s * SAMPLE_RATE_HZ)]


def windows(spans: Iterable[SpeechSpan]) -> list[SpeechSpan]:
    """Return spans of at most 30 s; longer ones are cut every 30 s."""
    cut = []
    for span in spans:
        starts_s = np.arange(span.start_s, span.end_s, WINDOW_S).tolist()
        cut += [SpeechSpan(start_s=start, end_s=min(start + WINDOW_S, span.end_s)) for start in starts_s]
    return cut


def clips(timestamps: str | Sequence[float], duration_s: float) -> list[SpeechSpan] | None:
    """Return the clips that `clip_timestamps` of `WhisperModel` names; None for all of the audio.

    Args:
        timestamps: seconds, `start,end,start,end`; the last end may be left out.
        duration_s: of the audio.

    Raises:
        SpecError: they are no numbers, or a clip ends before it starts.
    """
    try:
        given = timestamps.split(",") if isinstance(timestamps, str) else timestamps
        times = [float(time) for time in given if str(time).strip()]
    except (TypeError, ValueError) as cause:
        raise SpecError(f"clip_timestamps={timestamps!r:.60} are no seconds, separated by commas") from cause
    if times in ([], [0.0]):
        return None
    if len(times) % 2:
        times.append(max(duration_s, times[-1]))
    return _within(list(zip(times[::2], times[1::2], strict=True)), duration_s)


def batched_clips(
    timestamps: Sequence[Mapping[str, float]] | None, duration_s: float
) -> list[SpeechSpan] | None:
    """Return the clips that `clip_timestamps` of `BatchedInferencePipeline` names; None for all of the audio.

    Args:
        timestamps: `start` and `end` of each clip in seconds.
        duration_s: of the audio.

    Raises:
        SpecError: a clip ends before it starts, or is longer than 30 s.
    """
    if not timestamps:
        return None
    found = _within([(float(each["start"]), float(each["end"])) for each in timestamps], duration_s)
    for span in found:
        if span.end_s - span.start_s > WINDOW_S:
            raise SpecError(
                f"clip_timestamps has a clip from {span.start_s:g} to {span.end_s:g} s; want at most {WINDOW_S} s each"
            )
    return found


def _within(times: Sequence[tuple[float, float]], duration_s: float) -> list[SpeechSpan]:
    for start_s, end_s in times:
        if not 0 <= start_s <= end_s:
            raise SpecError(
                f"clip_timestamps has a clip from {start_s:g} to {end_s:g} s; want 0 <= start <= end"
            )
    return [
        SpeechSpan(start_s=start_s, end_s=min(end_s, duration_s))
        for start_s, end_s in times
        if start_s < min(end_s, duration_s)
    ]
