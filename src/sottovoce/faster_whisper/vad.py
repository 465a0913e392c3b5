"""Voice activity detection with faster-whisper's parameters."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sottovoce.errors import SpecError
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave, loudest_level
from sottovoce.runtime.vad import speech_spans as spans
from sottovoce.runtime.vad.frames import Probabilities, gain_of
from sottovoce.runtime.vad.silero import SileroVoiceActivity
from sottovoce.runtime.vad.speech_spans import SpeechSpan, pack_windows

SHORTEST_LIMIT_S = 1.0
"""Speech is not split into shorter parts."""


@dataclass
class VadOptions:
    """How speech is found. Not frozen: programs change it.

    Attributes:
        threshold: speech starts at a probability of at least this.
        neg_threshold: speech ends below it; None: 0.15 below `threshold`, at least 0.01.
        min_speech_duration_ms: shorter speech is dropped.
        max_speech_duration_s: longer speech is split where it is least likely speech; at least 1 s.
        min_silence_duration_ms: shorter silence does not end speech.
        speech_pad_ms: added on both sides.
    """

    threshold: float = 0.5
    neg_threshold: float | None = None
    min_speech_duration_ms: int = 0
    max_speech_duration_s: float = float("inf")
    min_silence_duration_ms: int = 2000
    speech_pad_ms: int = 400


def get_speech_timestamps(
    audio: Wave,
    vad_options: VadOptions | None = None,
    sampling_rate: int = SAMPLE_RATE_HZ,
    **kwargs: Any,
) -> list[dict[str, int]]:
    """Find speech; see `find_speech`.

    Returns:
        First sample and end of each span of speech, as `start` and `end`.

    Raises:
        SpecError: another rate is wanted, or an option makes no sense.
    """
    if sampling_rate != SAMPLE_RATE_HZ:
        raise SpecError(f"sampling_rate={sampling_rate} is not supported: want {SAMPLE_RATE_HZ}")
    found, _ = find_speech(audio, vad_options or VadOptions(**kwargs))
    return [
        {"start": round(span.start_s * SAMPLE_RATE_HZ), "end": round(span.end_s * SAMPLE_RATE_HZ)}
        for span in found
    ]


def find_speech(wave: Wave, options: VadOptions) -> tuple[tuple[SpeechSpan, ...], Probabilities]:
    """Find speech with Silero's network; quiet audio is raised first.

    Args:
        wave: float32, shape (n_samples,), 16 kHz.
        options: thresholds and durations.

    Returns:
        Spans of speech, and the probability of speech of each frame of 32 ms.

    Raises:
        SpecError: an option makes no sense.
    """
    activity = SileroVoiceActivity.load().new_stream()
    probabilities = activity.probabilities(wave * gain_of(loudest_level(wave)), is_last=True)
    low = options.neg_threshold
    own = spans.VadOptions(
        threshold=options.threshold,
        neg_threshold=max(options.threshold - 0.15, 0.01) if low is None else low,
        min_speech_s=options.min_speech_duration_ms / 1000,
        short_speech_s=0.0,
        short_threshold=options.threshold,
        min_silence_s=options.min_silence_duration_ms / 1000,
        speech_pad_s=options.speech_pad_ms / 1000,
    )
    found = spans.speech_spans(probabilities, own, duration_s=wave.size / SAMPLE_RATE_HZ)
    if np.isfinite(options.max_speech_duration_s):
        longest_s = max(options.max_speech_duration_s, SHORTEST_LIMIT_S)
        found = pack_windows(found, probabilities, max_s=longest_s, max_gap_s=0.0)
    return found, probabilities
