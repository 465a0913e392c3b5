"""Where long audio has speech, and the windows that Whisper decodes.

wave -> VoiceActivity -> probabilities, one for each frame of 32 ms -> speech_spans -> pack_windows
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sottovoce.errors import SpecError
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ, WINDOW_S
from sottovoce.runtime.vad.frames import FRAME_S, FRAME_SAMPLES, Probabilities

START_FRAMES = 8
"""Speech that starts in these is at the start of the audio: 0.25 s."""

MAX_GAP_S = 2.0
"""Silence within a window costs its share of one encoder pass; a further window costs a pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VadOptions:
    """How probabilities become spans of speech; fields are named as in faster-whisper's `VadOptions`.

    Attributes:
        threshold: speech starts at the first frame that reaches it.
        neg_threshold: speech ends where frames stay below it; frames between the two change nothing.
        min_speech_s: speech that is not longer is dropped. A short word at the start has three frames of speech.
        short_speech_s: speech that is shorter must reach `short_threshold`, except at the start of the audio, where the
            network is not sure yet.
        short_threshold: noise rarely reaches it, words nearly always do (docs/lab-notes.md).
        min_silence_s: shorter silence does not end speech.
        speech_pad_s: added on both sides, at most up to the middle of the silence. The network reacts late to
            soft onsets, and early to fading ends.
    """

    threshold: float = 0.5
    neg_threshold: float = 0.35
    min_speech_s: float = 0.08
    short_speech_s: float = 1.0
    short_threshold: float = 0.95
    min_silence_s: float = 0.3
    speech_pad_s: float = 0.4

    def __post_init__(self) -> None:
        if not 0.0 < self.neg_threshold <= self.threshold < 1.0:
            raise SpecError(
                f"voice activity detection has neg_threshold {self.neg_threshold:g} and threshold "
                f"{self.threshold:g}, want 0 < neg_threshold <= threshold < 1"
            )
        if not self.threshold <= self.short_threshold < 1.0:
            raise SpecError(
                f"voice activity detection has threshold {self.threshold:g} and short_threshold "
                f"{self.short_threshold:g}, want threshold <= short_threshold < 1"
            )
        for name in ("min_speech_s", "short_speech_s", "min_silence_s", "speech_pad_s"):
            value = getattr(self, name)
            if not 0.0 <= value < math.inf:
                raise SpecError(
                    f"{name} of voice activity detection is {value:g}, want seconds of at least 0"
                )


FAINT_SPEECH = VadOptions(threshold=0.15, neg_threshold=0.1, min_speech_s=1.0, short_threshold=0.15)
"""Whispered and distant speech, where no other is near; noise reaches this for 2 % of its time (docs/lab-notes.md)."""

OVERLOOKED_S = 3.0
"""So long a stretch without clear speech is searched for faint speech."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechSpan:
    """A part of the audio: speech, or a window packed from neighbouring speech.

    Attributes:
        start_s: seconds from the start of the audio, a whole number of samples. `round(start_s * SAMPLE_RATE_HZ)` is
            the first sample: without rounding, floats can fall one short.
        end_s: seconds, likewise; after `start_s`.
    """

    start_s: float
    end_s: float


def speech_spans(
    probabilities: Probabilities, options: VadOptions | None = None, *, duration_s: float | None = None
) -> tuple[SpeechSpan, ...]:
    """Turn probabilities into spans of speech: two thresholds, a third for short speech, minimum durations, padding.

    Args:
        probabilities: float32, shape (n_frames,), of the whole audio.
        options: by default `VadOptions()`.
        duration_s: of the audio, if it ends within the last frame; no span reaches beyond it.

    Returns:
        Spans in order of time that do not overlap; spans less than two pads apart touch.

    Source: `get_speech_timestamps_from_probs` of snakers4/silero-vad 6.2 (MIT), without its splitting of
    long speech, which `pack_windows` does. The threshold for short speech is our own.
    """
    options = options or VadOptions()
    n_samples = probabilities.size * FRAME_SAMPLES
    if duration_s is not None:
        n_samples = min(n_samples, round(duration_s * SAMPLE_RATE_HZ))
    found = [
        (start * FRAME_SAMPLES, min(end * FRAME_SAMPLES, n_samples))
        for start, end in _speech_frames(probabilities, options)
        if _is_clear(probabilities[start:end], options, is_at_start=start < START_FRAMES)
    ]
    min_samples = options.min_speech_s * SAMPLE_RATE_HZ
    long_enough = [(start, end) for start, end in found if end - start > min_samples]
    padded = _pad(long_enough, round(options.speech_pad_s * SAMPLE_RATE_HZ), n_samples)
    return tuple(
        SpeechSpan(start_s=start / SAMPLE_RATE_HZ, end_s=end / SAMPLE_RATE_HZ) for start, end in padded
    )


def overlooked_stretches(clear: Sequence[SpeechSpan], duration_s: float) -> list[SpeechSpan]:
    """Return the long stretches between spans, and before and behind them; `clear` is in order of time."""
    edges_s = [0.0, *(edge_s for span in clear for edge_s in (span.start_s, span.end_s)), duration_s]
    stretches = zip(edges_s[::2], edges_s[1::2], strict=True)
    return [
        SpeechSpan(start_s=start_s, end_s=end_s)
        for start_s, end_s in stretches
        if end_s - start_s >= OVERLOOKED_S
    ]


def seconds_within(spans: Iterable[SpeechSpan], window: SpeechSpan) -> float:
    """Return how many seconds of a window are in spans."""
    shared_s = (min(span.end_s, window.end_s) - max(span.start_s, window.start_s) for span in spans)
    return sum(seconds for seconds in shared_s if seconds > 0)


def _speech_frames(probabilities: Probabilities, options: VadOptions) -> Iterator[tuple[int, int]]:
    """Yield the first frame of each run of speech, and the frame after its last."""
    start: int | None = None
    silent_since: int | None = None
    for i, probability in enumerate(probabilities.tolist()):
        if probability >= options.threshold:
            silent_since = None
            start = i if start is None else start
        elif start is not None and probability < options.neg_threshold:
            silent_since = i if silent_since is None else silent_since
            if (i - silent_since) * FRAME_S >= options.min_silence_s:
                yield start, silent_since
                start = silent_since = None
    if start is not None:
        yield start, probabilities.size


def _is_clear(speech: Probabilities, options: VadOptions, *, is_at_start: bool) -> bool:
    is_long = speech.size * FRAME_S >= options.short_speech_s
    return is_long or is_at_start or bool(speech.max() >= options.short_threshold)


def _pad(spans: Sequence[tuple[int, int]], pad: int, n_samples: int) -> list[tuple[int, int]]:
    """Widen spans on both sides; spans that would overlap share the silence between them."""
    if not spans:
        return []
    gaps = [after - before for (_, before), (after, _) in pairwise(spans)]
    widths = [gap // 2 if gap < 2 * pad else pad for gap in gaps]
    before = [min(pad, spans[0][0]), *widths]
    after = [*widths, min(pad, n_samples - spans[-1][1])]
    return [(start - b, end + a) for (start, end), b, a in zip(spans, before, after, strict=True)]


def pack_windows(
    spans: Sequence[SpeechSpan],
    probabilities: Probabilities,
    *,
    max_s: float = WINDOW_S,
    max_gap_s: float = MAX_GAP_S,
) -> tuple[SpeechSpan, ...]:
    """Join neighbouring spans, with the silence between them, into windows of limited length.

    Greedy, as in WhisperX (Bain et al. 2023, section 2.2). A span that is longer than a window is split where
    speech is least likely in the last third of the window.

    Args:
        spans: in order of time, without overlap.
        probabilities: float32, shape (n_frames,), that the spans were found in; a span without probabilities is split
            after `max_s`.
        max_s: longest window, at least 1 s.
        max_gap_s: a window ends before longer silence.

    Returns:
        Windows in order of time that do not overlap and cover every span.

    Raises:
        SpecError: `max_s` is under 1 s or `max_gap_s` is negative.
    """
    if not 1.0 <= max_s < math.inf or not max_gap_s >= 0.0:
        raise SpecError(
            f"windows of {max_s:g} s with gaps of {max_gap_s:g} s cannot be packed; "
            "want windows of at least 1 s and gaps of at least 0 s"
        )
    max_samples = math.floor(max_s * SAMPLE_RATE_HZ)
    windows: list[tuple[int, int]] = []
    for start, end in _split_long(spans, probabilities, max_samples):
        is_near = bool(windows) and start - windows[-1][1] <= max_gap_s * SAMPLE_RATE_HZ
        if is_near and end - windows[-1][0] <= max_samples:
            windows[-1] = (windows[-1][0], end)
        else:
            windows.append((start, end))
    return tuple(
        SpeechSpan(start_s=start / SAMPLE_RATE_HZ, end_s=end / SAMPLE_RATE_HZ) for start, end in windows
    )


def _split_long(
    spans: Sequence[SpeechSpan], probabilities: Probabilities, max_samples: int
) -> Iterator[tuple[int, int]]:
    """Yield first sample and end of each span, split where it is longer than `max_samples`."""
    for span in spans:
        start, end = round(span.start_s * SAMPLE_RATE_HZ), round(span.end_s * SAMPLE_RATE_HZ)
        while end - start > max_samples:
            cut = _least_likely(probabilities, start + 2 * max_samples // 3, start + max_samples)
            yield start, cut
            start = cut
        yield start, end


def _least_likely(probabilities: Probabilities, first: int, last: int) -> int:
    """Return the middle of the least likely frame between two samples: of equal ones the last, of none `last`."""
    half = FRAME_SAMPLES // 2
    begin = -(-(first - half) // FRAME_SAMPLES)
    candidates = probabilities[begin : (last - half) // FRAME_SAMPLES + 1]
    if candidates.size == 0:
        return last
    best = candidates.size - 1 - int(np.argmin(candidates[::-1]))
    return (begin + best) * FRAME_SAMPLES + half
