"""Which parts of audio are transcribed: all of it, its speech, or clips."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sottovoce.faster_whisper import parts
from sottovoce.faster_whisper.arguments import Given
from sottovoce.faster_whisper.parts import Part
from sottovoce.faster_whisper.vad import VadOptions, find_speech
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ, WINDOW_S
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.vad.speech_spans import SpeechSpan, pack_windows

BATCHED_VAD: Mapping[str, Any] = {"min_silence_duration_ms": 160, "max_speech_duration_s": WINDOW_S}
"""What `BatchedInferencePipeline` sets where the user does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What of the audio is transcribed.

    Attributes:
        parts: in order of time.
        in_batches: parts are windows, decoded together; else each is transcribed as a recording.
        vad_options: that speech was found with.
    """

    parts: list[Part]
    in_batches: bool
    vad_options: VadOptions | None = None

    @property
    def duration_s(self) -> float:
        """Seconds of all parts."""
        return sum(len(part.wave) for part in self.parts) / SAMPLE_RATE_HZ


def plan_parts(wave: Wave, given: Given, *, is_batched: bool, is_mixed: bool) -> Plan:
    """Decide what of a wave is transcribed.

    Args:
        wave: float32, shape (n_samples,), 16 kHz.
        given: the arguments of `transcribe`.
        is_batched: they are those of `BatchedInferencePipeline`.
        is_mixed: each window has a language of its own.

    Raises:
        SpecError: clips or parameters of voice activity make no sense.
    """
    duration_s = len(wave) / SAMPLE_RATE_HZ
    read_clips = parts.batched_clips if is_batched else parts.clips
    spans: list[SpeechSpan] | None = read_clips(given["clip_timestamps"], duration_s)
    if spans is not None:
        return _plan_spans(wave, spans, in_windows=is_mixed, in_batches=is_batched or is_mixed)
    if not given["vad_filter"]:
        spans = [parts.whole(wave)] if len(wave) else []
        return _plan_spans(wave, spans, in_windows=is_mixed, in_batches=is_mixed)
    vad_options = read_vad_options(given["vad_parameters"], BATCHED_VAD if is_batched else {})
    speech, probabilities = find_speech(wave, vad_options)
    if is_mixed:
        found = parts.split(wave, pack_windows(speech, probabilities))
    else:
        found = [parts.join(wave, speech)] if speech else []
    return Plan(parts=found, in_batches=is_mixed, vad_options=vad_options)


def _plan_spans(wave: Wave, spans: list[SpeechSpan], *, in_windows: bool, in_batches: bool) -> Plan:
    return Plan(parts=parts.split(wave, parts.windows(spans) if in_windows else spans), in_batches=in_batches)


def read_vad_options(
    given: Mapping[str, Any] | VadOptions | None, defaults: Mapping[str, Any] | None = None
) -> VadOptions:
    """Return the options; `defaults` fill those that a mapping leaves out."""
    if isinstance(given, VadOptions):
        return given
    return VadOptions(**{**(defaults or {}), **(given or {})})
