"""Where speech is in long audio, and which stretches of it Whisper shall hear.

    chunks of a wave -> VoiceActivity -> probabilities -> speech_spans -> pack_windows

Probabilities come frame by frame, 32 ms each, from Silero's network where a package with its weights
is installed (`silero.py`), else from the energy of the frames. All after them is pure.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import InputError, SpecError
from sottovoce.runtime.audio.decode import SAMPLE_RATE_HZ, SILENCE_DBFS, Wave

Probabilities = NDArray[np.float32]
Frames = NDArray[np.float32]

# What Silero's network takes at 16 kHz.
FRAME_SAMPLES = 512
FRAME_S = FRAME_SAMPLES / SAMPLE_RATE_HZ
# 16 s: bounds the memory of one call, and costs no time against larger blocks.
BLOCK_FRAMES = 512
BLOCK_SAMPLES = BLOCK_FRAMES * FRAME_SAMPLES

# What Whisper's encoder hears at once.
MAX_WINDOW_S = 30.0
# A gap kept costs its share of one encoder pass; a gap not kept costs a pass more.
MAX_GAP_S = 2.0

ENERGY_NAME = "energy"
# The noise floor is the level that a tenth of the frames of the last 10 s do not exceed: speech pauses
# that often, and noise that lasts is taken for speech no longer than that.
FLOOR_FRAMES, FLOOR_SHARE = 312, 0.1
# Probability 0.5 lies this far above the floor, and falls to 0.35 within 0.62 slopes. Chosen on the clips
# of split calib, alone and in white and kitchen noise, as the quickest that misses little of what Silero
# finds.
SPEECH_ABOVE_DB, SLOPE_DB = 9.0, 4.0


class VoiceActivity(Protocol):
    """Tells how likely each frame of a stream holds speech."""

    @property
    def name(self) -> str:
        """What tells: the model and the package it comes from, or `energy`."""
        ...

    def probabilities(self, chunk: Wave, *, is_last: bool = False) -> Probabilities:
        """Tell the probability of speech of each frame that the chunk completes.

        Frames do not depend on how the stream is cut into chunks: samples that fill no frame wait
        for the next chunk. Memory does not grow with the stream.

        Args:
            chunk: float32, shape (n_samples,), 16 kHz, of any length.
            is_last: fill the last frame with zeros, then start anew.

        Returns:
            float32, shape (n_frames,), 0 to 1; frame `i` of a stream covers 32 ms from `i * FRAME_S`.

        Raises:
            InputError: the chunk is not one-dimensional or not finite.
        """
        ...

    def reset(self) -> None:
        """Forget the stream."""
        ...

    def another(self) -> "VoiceActivity":
        """Return one for another stream, at its start; what the two hear does not mix."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceActivitySpec:
    """How probabilities become spans of speech.

    Attributes:
        threshold: speech starts at the first frame that reaches it.
        end_threshold: speech ends where frames stay under it; those between prolong what is.
        min_speech_s: speech that is no longer is dropped.
        min_silence_s: shorter silence does not end speech.
        pad_s: added on both sides, at most up to the middle of the silence. The network is late at
            soft onsets and early at fading ends.
    """

    threshold: float = 0.5
    end_threshold: float = 0.35
    min_speech_s: float = 0.25
    min_silence_s: float = 0.3
    pad_s: float = 0.2

    def __post_init__(self) -> None:
        if not 0.0 < self.end_threshold <= self.threshold < 1.0:
            raise SpecError(
                f"thresholds of voice activity are {self.end_threshold:g} and {self.threshold:g}, "
                "want 0 < end_threshold <= threshold < 1"
            )
        for name in ("min_speech_s", "min_silence_s", "pad_s"):
            value = getattr(self, name)
            if not 0.0 <= value < math.inf:
                raise SpecError(f"{name} of voice activity is {value:g}, want seconds of at least 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechSpan:
    """A stretch of audio with speech from start to end.

    Attributes:
        start_s: seconds from the start of the audio, on the grid of samples.
        end_s: seconds; after `start_s`.
    """

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A stretch of audio to be transcribed at once; times in it map back by adding `start_s`.

    Its first sample is `round(start_s * SAMPLE_RATE_HZ)`: without rounding, floats can fall one short.

    Attributes:
        start_s: seconds from the start of the audio, on the grid of samples.
        end_s: seconds; after `start_s`.
    """

    start_s: float
    end_s: float


def load_voice_activity() -> VoiceActivity:
    """Load Silero's network where a package with its weights is installed, else the energy detector.

    Raises:
        InputError: such a package is there and its weights cannot be read.
    """
    # Imports this module.
    from sottovoce.runtime.vad.silero import SileroVoiceActivity, find_silero

    source = find_silero()
    return EnergyVoiceActivity() if source is None else SileroVoiceActivity.load(source)


def speech_spans(
    probabilities: Probabilities,
    spec: VoiceActivitySpec | None = None,
    *,
    duration_s: float | None = None,
) -> tuple[SpeechSpan, ...]:
    """Turn probabilities into spans of speech: two thresholds, shortest lengths, then padding.

    Args:
        probabilities: float32, shape (n_frames,), of a whole audio.
        spec: thresholds and lengths; the defaults where None.
        duration_s: of the audio, where its end lies within the last frame; nothing reaches beyond it.

    Returns:
        Spans in order of time that do not overlap; those nearer than two pads touch.

    Source: `get_speech_timestamps_from_probs` of snakers4/silero-vad 6.2 (MIT), without its cutting of
    long speech, which `pack_windows` does.
    """
    spec = spec or VoiceActivitySpec()
    n_samples = probabilities.size * FRAME_SAMPLES
    if duration_s is not None:
        n_samples = min(n_samples, round(duration_s * SAMPLE_RATE_HZ))
    found = [
        (start * FRAME_SAMPLES, min(end * FRAME_SAMPLES, n_samples))
        for start, end in _runs(probabilities, spec)
    ]
    long_enough = [(start, end) for start, end in found if end - start > spec.min_speech_s * SAMPLE_RATE_HZ]
    padded = _pad(long_enough, round(spec.pad_s * SAMPLE_RATE_HZ), n_samples)
    return tuple(
        SpeechSpan(start_s=start / SAMPLE_RATE_HZ, end_s=end / SAMPLE_RATE_HZ) for start, end in padded
    )


def _runs(probabilities: Probabilities, spec: VoiceActivitySpec) -> Iterator[tuple[int, int]]:
    """Yield the first frame of each run of speech and the frame after its last."""
    start: int | None = None
    quiet_from: int | None = None
    for i, probability in enumerate(probabilities.tolist()):
        if probability >= spec.threshold:
            quiet_from = None
            start = i if start is None else start
        elif start is not None and probability < spec.end_threshold:
            quiet_from = i if quiet_from is None else quiet_from
            if (i - quiet_from) * FRAME_S >= spec.min_silence_s:
                yield start, quiet_from
                start = quiet_from = None
    if start is not None:
        yield start, probabilities.size


def _pad(spans: Sequence[tuple[int, int]], pad: int, n_samples: int) -> list[tuple[int, int]]:
    """Widen spans on both sides; two that would overlap share the silence between them."""
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
    max_s: float = MAX_WINDOW_S,
    max_gap_s: float = MAX_GAP_S,
) -> tuple[Window, ...]:
    """Join neighbouring spans, with the silence between them, to windows as long as Whisper hears.

    Greedy, as in WhisperX (Bain et al. 2023, section 2.2). A span that is longer than a window is cut
    where speech is least likely in the last third that a window allows.

    Args:
        spans: in order of time, without overlap.
        probabilities: float32, shape (n_frames,), that the spans come from; where a span has none,
            it is cut at its longest.
        max_s: longest window, at least 1 s.
        max_gap_s: longer silence is not heard; a window ends before it.

    Returns:
        Windows in order of time that do not overlap and cover every span, on the grid of samples.

    Raises:
        SpecError: `max_s` is under 1 s or `max_gap_s` is negative.
    """
    if not 1.0 <= max_s < math.inf or not max_gap_s >= 0.0:
        raise SpecError(
            f"windows of {max_s:g} s with gaps of {max_gap_s:g} s cannot be packed; "
            "want windows of at least 1 s and gaps of at least 0 s"
        )
    longest = math.floor(max_s * SAMPLE_RATE_HZ)
    windows: list[tuple[int, int]] = []
    for start, end in _pieces(spans, probabilities, longest):
        is_near = bool(windows) and start - windows[-1][1] <= max_gap_s * SAMPLE_RATE_HZ
        if is_near and end - windows[-1][0] <= longest:
            windows[-1] = (windows[-1][0], end)
        else:
            windows.append((start, end))
    return tuple(Window(start_s=start / SAMPLE_RATE_HZ, end_s=end / SAMPLE_RATE_HZ) for start, end in windows)


def _pieces(
    spans: Sequence[SpeechSpan], probabilities: Probabilities, longest: int
) -> Iterator[tuple[int, int]]:
    """Yield first sample and end of each span, cut where it is longer than `longest` samples."""
    for span in spans:
        start, end = round(span.start_s * SAMPLE_RATE_HZ), round(span.end_s * SAMPLE_RATE_HZ)
        while end - start > longest:
            cut = _least_likely(probabilities, start + 2 * longest // 3, start + longest)
            yield start, cut
            start = cut
        yield start, end


def _least_likely(probabilities: Probabilities, first: int, last: int) -> int:
    """Return the middle of the last of the least likely frames between two samples, or the second."""
    half = FRAME_SAMPLES // 2
    begin = -(-(first - half) // FRAME_SAMPLES)
    among = probabilities[begin : (last - half) // FRAME_SAMPLES + 1]
    if among.size == 0:
        return last
    best = among.size - 1 - int(np.argmin(among[::-1]))
    return (begin + best) * FRAME_SAMPLES + half


class Framer:
    """Cuts a stream into frames, whatever its chunks."""

    def __init__(self) -> None:
        self._rest: Wave = np.zeros(0, np.float32)

    def blocks(self, chunk: Wave, *, is_last: bool = False) -> Iterator[Frames]:
        """Yield the frames that a chunk completes, shape (1 to BLOCK_FRAMES, FRAME_SAMPLES).

        Raises:
            InputError: the chunk is not one-dimensional or not finite.
        """
        if chunk.ndim != 1:
            raise InputError(f"audio for voice activity has shape {chunk.shape}, want (n_samples,)")
        if not np.isfinite(chunk).all():
            raise InputError("audio for voice activity holds samples that are not finite numbers")
        taken = 0
        while self._rest.size + chunk.size - taken >= BLOCK_SAMPLES:
            upto = taken + BLOCK_SAMPLES - self._rest.size
            yield self._joined(chunk[taken:upto]).reshape(-1, FRAME_SAMPLES)
            self._rest, taken = self._rest[:0], upto
        waiting = self._joined(chunk[taken:])
        if is_last:
            waiting = np.pad(waiting, (0, -waiting.size % FRAME_SAMPLES))
        n_whole = waiting.size - waiting.size % FRAME_SAMPLES
        self._rest = waiting[n_whole:].copy()
        if n_whole:
            yield waiting[:n_whole].reshape(-1, FRAME_SAMPLES)

    def reset(self) -> None:
        """Forget the samples that wait."""
        self._rest = np.zeros(0, np.float32)

    def _joined(self, piece: Wave) -> Wave:
        return np.concatenate([self._rest, piece], dtype=np.float32)


class EnergyVoiceActivity:
    """Takes for speech what is louder than the noise floor of the last ten seconds.

    Needs nothing but NumPy. It hears every noise that comes and goes as speech, misses soft speech in
    loud noise, and hears steady noise as speech until the floor has risen to it.
    """

    def __init__(self) -> None:
        self._framer = Framer()
        self._past_dbfs = _quiet_past()

    @property
    def name(self) -> str:
        """`energy`."""
        return ENERGY_NAME

    def probabilities(self, chunk: Wave, *, is_last: bool = False) -> Probabilities:
        """Tell the probability of speech of each frame that the chunk completes; see `VoiceActivity`."""
        heard = [self._hear(frames) for frames in self._framer.blocks(chunk, is_last=is_last)]
        if is_last:
            self.reset()
        return np.concatenate([np.zeros(0, np.float32), *heard])

    def another(self) -> "EnergyVoiceActivity":
        """Return one for another stream."""
        return EnergyVoiceActivity()

    def reset(self) -> None:
        """Forget the stream and its noise floor."""
        self._framer.reset()
        self._past_dbfs = _quiet_past()

    def _hear(self, frames: Frames) -> Probabilities:
        known_dbfs = np.concatenate([self._past_dbfs, _level_dbfs(frames)])
        self._past_dbfs = known_dbfs[len(frames) :]
        seen = np.lib.stride_tricks.sliding_window_view(known_dbfs, FLOOR_FRAMES)
        rank = round(FLOOR_SHARE * FLOOR_FRAMES)
        floor_dbfs = np.maximum(np.partition(seen, rank, axis=1)[:, rank], SILENCE_DBFS)
        above_db = known_dbfs[FLOOR_FRAMES - 1 :] - floor_dbfs
        return (1.0 / (1.0 + np.exp((SPEECH_ABOVE_DB - above_db) / SLOPE_DB))).astype(np.float32)


def _level_dbfs(frames: Frames) -> NDArray[np.float64]:
    """Return RMS levels, shape (n_frames,), any offset removed, -100 dBFS at least."""
    power: NDArray[np.float64] = np.var(frames, axis=1, dtype=np.float64)
    return 10.0 * np.log10(np.maximum(power, 1e-10))


def _quiet_past() -> NDArray[np.float64]:
    return np.full(FLOOR_FRAMES - 1, SILENCE_DBFS)
