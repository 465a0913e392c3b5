"""Many clips as one recording: each in a slot of its own, so that their windows are decoded in batches."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from sottovoce.errors import InputError
from sottovoce.runtime.audio.constants import HOP_SAMPLES, SAMPLE_RATE_HZ, WINDOW_S, WINDOW_SAMPLES
from sottovoce.runtime.audio.decode import Wave, is_silent
from sottovoce.runtime.decoding.context import DetectedLanguage
from sottovoce.runtime.transcript import Segment, Timings, Transcript
from sottovoce.runtime.vad.segmenter import AudioWindow

SLOT_S = 2 * WINDOW_S
"""From the start of a clip to that of the next, so that times belong to one clip only."""


def assign_slots(waves: Sequence[Wave]) -> tuple[AudioWindow, ...]:
    """Put each clip in its slot.

    Raises:
        InputError: a clip is longer than a window.
    """
    for number, wave in enumerate(waves):
        if len(wave) > WINDOW_SAMPLES:
            raise InputError(
                f"wave {number} is {len(wave) / SAMPLE_RATE_HZ:.1f} s long; clips of at most {WINDOW_S} s are transcribed "
                "in batches, longer audio alone"
            )
    return tuple(AudioWindow(start_s=number * float(SLOT_S), wave=wave) for number, wave in enumerate(waves))


def audible(clips: Sequence[AudioWindow]) -> tuple[AudioWindow, ...]:
    """Leave out digital silence, and clips shorter than a frame of features."""
    return tuple(clip for clip in clips if len(clip.wave) >= HOP_SAMPLES and not is_silent(clip.wave))


def group(
    clips: Sequence[AudioWindow], languages: Mapping[float, str]
) -> tuple[tuple[AudioWindow, ...], ...]:
    """Group clips by language, the longest first.

    Args:
        clips: in slots.
        languages: by the start of a slot; clips without one are left out.
    """
    ordered = sorted(
        (clip for clip in clips if clip.start_s in languages),
        key=lambda clip: (languages[clip.start_s], -len(clip.wave)),
    )
    return tuple(tuple(alike) for _, alike in groupby(ordered, key=lambda clip: languages[clip.start_s]))


def split_by_clip(
    clips: Sequence[AudioWindow],
    segments: Sequence[Segment],
    detected: Sequence[DetectedLanguage],
    timings: Timings,
    voice_activity: str | None,
) -> tuple[Transcript, ...]:
    """Give each clip its segments, timed from its own start."""
    return tuple(
        Transcript(
            segments=tuple(
                _moved(segment, -clip.start_s)
                for segment in segments
                if clip.start_s <= segment.start_s < clip.start_s + SLOT_S
            ),
            language=language.language,
            language_probability=language.probability,
            duration_s=len(clip.wave) / SAMPLE_RATE_HZ,
            timings=timings,
            voice_activity=voice_activity,
        )
        for clip, language in zip(clips, detected, strict=True)
    )


def _moved(segment: Segment, by_s: float) -> Segment:
    return replace(
        segment,
        start_s=segment.start_s + by_s,
        end_s=segment.end_s + by_s,
        words=tuple(
            replace(word, start_s=word.start_s + by_s, end_s=word.end_s + by_s) for word in segment.words
        ),
    )
