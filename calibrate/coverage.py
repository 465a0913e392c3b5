"""The statistics of the recorded clips, and the kinds of speech that they lack.

INT8 ranges come from the recorded clips. A language, a noise level or a length that no clip has may give values outside
these ranges.
"""

from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum

import numpy as np
from pydantic import Field

from sottovoce.speech.clips import SYNTHETIC_SOURCE, count_by
from sottovoce.storage.documents import Document

LENGTH_EDGES_S = (0.0, 3.0, 6.0, 10.0, 15.0, 20.0, 30.0)
LOUDNESS_EDGES_DBFS = (-70.0, -50.0, -40.0, -35.0, -30.0, -25.0, -20.0, -10.0)
SNR_EDGES_DB = (0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0)
STEPS_EDGES = (0.0, 10.0, 20.0, 30.0, 50.0, 100.0, 448.0)
"""Edges of the histograms; values outside count in the first or last bin."""

FEW_SHARE = 0.05
"""Below this share of the clips, a kind is reported as rare: under 3.2 of 64 clips."""
ONE_LANGUAGE_SHARE = 0.9
"""Above this share, a multilingual model is calibrated for one language."""
FEW_SPEAKERS = 4
LONG_CLIP_S, SHORT_CLIP_S = 15.0, 3.0
QUIET_DBFS = -30.0
NOISY_DB = 20.0
MANY_STEPS = 50
STEPS_PER_S, STEPS_ALWAYS = 12.0, 12.0
"""More steps than speech can give: the transcript repeats itself."""


class Topic(StrEnum):
    """The subject of a finding."""

    LANGUAGE = "language"
    LENGTH = "length"
    LOUDNESS = "loudness"
    NOISE = "noise"
    STEPS = "steps"
    SPEAKERS = "speakers"
    RANGES = "ranges"
    LEAK = "leak"


class Finding(Document):
    """A warning in one sentence: what is rare, wrong or leaks."""

    topic: Topic
    text: str


class RecordedClip(Document):
    """One recorded clip, a line of `clips.jsonl` in the record."""

    clip_id: str
    language: str | None
    speaker: str | None = Field(description="SOURCE/SPEAKER; null where the speaker is unknown.")
    source: str | None
    audio_s: float
    loudness_dbfs: float = Field(description="RMS level; 0 is a full-scale square wave.")
    snr_db: float = Field(description="Estimate, see `estimate_snr_db`.")
    n_steps: int | None = Field(
        description="Calls of the decoder with past: tokens after the prompt. Null where the clip was not transcribed."
    )
    audio_sha256: str = Field(description="Of the decoded samples, float32, 16 kHz.")
    text_sha256: str | None = Field(
        description="Of the normalized reference; null where it is unknown or short."
    )


class Distribution(Document):
    """A quantity over the clips: a histogram and quantiles."""

    unit: str
    edges: tuple[float, ...] = Field(description="Of the bins, one more than counts.")
    counts: tuple[int, ...] = Field(description="Clips; those outside the edges in the first or last bin.")
    minimum: float
    p10: float
    median: float
    p90: float
    maximum: float


class Coverage(Document):
    """The statistics of the recorded clips."""

    n_clips: int
    audio_s: float
    languages: dict[str, int]
    sources: dict[str, int]
    n_speakers: int = Field(description="Known speakers.")
    length: Distribution
    loudness: Distribution
    snr: Distribution
    steps: Distribution = Field(description="Of the clips that were transcribed.")

    @property
    def n_transcribed_clips(self) -> int:
        """Clips that were transcribed."""
        return sum(self.steps.counts)


def summarize_coverage(clips: Sequence[RecordedClip]) -> Coverage:
    """Summarize the recorded clips, of which at least one was transcribed."""
    return Coverage(
        n_clips=len(clips),
        audio_s=sum(clip.audio_s for clip in clips),
        languages=count_by(clip.language for clip in clips),
        sources=count_by(clip.source for clip in clips),
        n_speakers=len({clip.speaker for clip in clips if clip.speaker is not None}),
        length=_distribution([clip.audio_s for clip in clips], LENGTH_EDGES_S, unit="s"),
        loudness=_distribution([clip.loudness_dbfs for clip in clips], LOUDNESS_EDGES_DBFS, unit="dBFS"),
        snr=_distribution([clip.snr_db for clip in clips], SNR_EDGES_DB, unit="dB"),
        steps=_distribution(
            [float(clip.n_steps) for clip in clips if clip.n_steps is not None], STEPS_EDGES, unit="tokens"
        ),
    )


def describe_transcribed(n_transcribed: object, n_clips: object) -> str:
    """Return what follows a number of clips where not all were transcribed: `, 8 of them transcribed`."""
    return "" if n_transcribed == n_clips else f", {n_transcribed} of them transcribed"


def _distribution(values: Sequence[float], edges: Sequence[float], *, unit: str) -> Distribution:
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    quantiles = np.quantile(values, [0, 0.1, 0.5, 0.9, 1])
    minimum, p10, middle, p90, maximum = (float(value) for value in quantiles)
    return Distribution(
        unit=unit,
        edges=tuple(edges),
        counts=tuple(int(count) for count in counts),
        minimum=minimum,
        p10=p10,
        median=middle,
        p90=p90,
        maximum=maximum,
    )


def find_gaps(clips: Sequence[RecordedClip], *, is_multilingual: bool) -> tuple[Finding, ...]:
    """Return the kinds of speech that are rare in the recorded clips."""
    languages = _find_language_gaps(clips) if is_multilingual else ()
    return (*languages, *_find_rare_kinds(clips), *_find_speaker_gaps(clips), *_find_loops(clips))


def _find_language_gaps(clips: Sequence[RecordedClip]) -> tuple[Finding, ...]:
    counts = count_by(clip.language for clip in clips)
    unknown = counts.pop("unknown", 0)
    findings = []
    if counts:
        language, number = next(iter(counts.items()))
        if number > ONE_LANGUAGE_SHARE * len(clips):
            which = f"all {number}" if number == len(clips) else f"{number} of {len(clips)}"
            findings.append(
                f"the model is multilingual and {which} clips are {language}: INT8 may fail in other languages, "
                "which are not in the calibration clips; record clips of every language that it transcribes"
            )
    if unknown:
        findings.append(
            f"the language of {unknown} of {len(clips)} clips is unknown: the model detected it, which may be wrong"
        )
    return tuple(Finding(topic=Topic.LANGUAGE, text=text) for text in findings)


_KINDS: tuple[tuple[Topic, str, Callable[[RecordedClip], bool]], ...] = (
    (Topic.LENGTH, f"longer than {LONG_CLIP_S:g} s", lambda clip: clip.audio_s > LONG_CLIP_S),
    (Topic.LENGTH, f"shorter than {SHORT_CLIP_S:g} s", lambda clip: clip.audio_s < SHORT_CLIP_S),
    (Topic.LOUDNESS, f"quieter than {QUIET_DBFS:g} dBFS", lambda clip: clip.loudness_dbfs < QUIET_DBFS),
    (Topic.NOISE, f"with an SNR under {NOISY_DB:g} dB", lambda clip: clip.snr_db < NOISY_DB),
    (
        Topic.STEPS,
        f"of more than {MANY_STEPS} tokens",
        lambda clip: clip.n_steps is None or clip.n_steps > MANY_STEPS,
    ),
)
"""Kinds of clips that a calibration record should have some of: topic, name, condition. Tokens are rare only where all
clips were transcribed: otherwise no range depends on them."""


def _find_rare_kinds(clips: Sequence[RecordedClip]) -> Iterator[Finding]:
    for topic, name, holds in _KINDS:
        number = sum(map(holds, clips))
        if number < FEW_SHARE * len(clips):
            which = "no clip" if number == 0 else f"only {number} of {len(clips)} clips"
            yield Finding(topic=topic, text=f"{which} {name}")


def _find_speaker_gaps(clips: Sequence[RecordedClip]) -> tuple[Finding, ...]:
    texts = []
    speakers = {clip.speaker for clip in clips if clip.speaker is not None}
    if 0 < len(speakers) < FEW_SPEAKERS and all(clip.speaker is not None for clip in clips):
        texts.append(f"only {len(speakers)} {'speaker' if len(speakers) == 1 else 'speakers'}")
    if all(clip.source == SYNTHETIC_SOURCE for clip in clips):
        texts.append("all speech is synthetic: real voices and rooms are missing")
    return tuple(Finding(topic=Topic.SPEAKERS, text=text) for text in texts)


def _find_loops(clips: Sequence[RecordedClip]) -> tuple[Finding, ...]:
    looped = [
        clip
        for clip in clips
        if clip.n_steps is not None and clip.n_steps > STEPS_PER_S * clip.audio_s + STEPS_ALWAYS
    ]
    return tuple(
        Finding(
            topic=Topic.STEPS,
            text=f"{clip.clip_id} gave {clip.n_steps} tokens for {clip.audio_s:.1f} s: the baseline repeats itself",
        )
        for clip in looped
    )
