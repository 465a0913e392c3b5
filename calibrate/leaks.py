"""Evaluation clips that share their audio, speaker or text with calibration clips.

    clips -> Fingerprint -> find_leaks

A word error rate that is measured on calibration clips flatters the quantized variant. Fingerprints are compared, not
files, so that a record can be compared with any other speech set.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from sottovoce.calibrate.coverage import Finding, RecordedClip, Topic
from sottovoce.errors import InputError
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import stated_duration_s
from sottovoce.speech.clips import Clip
from sottovoce.speech.loading import LoadedClip, clip_wave
from sottovoce.speech.properties import sha256_of_text, sha256_of_wave, speaker_of
from sottovoce.storage.artifacts import sha256_of_file
from sottovoce.storage.documents import Document

SAME_LENGTH_S = 0.05
"""Tolerance of lengths from headers, which are exact to the sample in lossless files. Only lossless copies can have the
same samples."""


class Pair(Document):
    """An evaluation clip and the first calibration clip that shares the property."""

    evaluation: str = Field(description="Id of the evaluation clip.")
    calibration: str = Field(description="Id of the calibration clip.")


class Leaks(Document):
    """The clips of an evaluation split that share something with a calibration record."""

    split: str = Field(description="Of the speech set that was compared.")
    n_clips: int = Field(description="Evaluation clips that were compared.")
    same_audio: tuple[Pair, ...]
    same_speaker: tuple[Pair, ...]
    same_text: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """The properties by which an evaluation clip is compared with recorded clips.

    Attributes:
        audio_sha256: hash of the decoded samples; None if the clip cannot have the audio of a recorded clip.
        speaker: SOURCE/SPEAKER; None if unknown.
        text_sha256: hash of the normalized reference; None if it is unknown or short.
    """

    clip_id: str
    audio_sha256: str | None
    speaker: str | None
    text_sha256: str | None


def find_leaks(
    calibration: Sequence[RecordedClip | Fingerprint], evaluation: Sequence[Fingerprint], *, split: str
) -> Leaks:
    """Pair each evaluation clip with the first calibration clip of the same audio, speaker or text."""
    return Leaks(
        split=split,
        n_clips=len(evaluation),
        same_audio=_pairs(calibration, evaluation, lambda clip: clip.audio_sha256),
        same_speaker=_pairs(calibration, evaluation, lambda clip: clip.speaker),
        same_text=_pairs(calibration, evaluation, lambda clip: clip.text_sha256),
    )


def _pairs(
    calibration: Sequence[RecordedClip | Fingerprint],
    evaluation: Sequence[Fingerprint],
    key: Callable[[RecordedClip | Fingerprint], str | None],
) -> tuple[Pair, ...]:
    first: dict[str, str] = {}
    for clip in calibration:
        value = key(clip)
        if value is not None:
            first.setdefault(value, clip.clip_id)
    return tuple(
        Pair(evaluation=clip.clip_id, calibration=first[value])
        for clip in evaluation
        if (value := key(clip)) in first and value is not None
    )


def describe_leaks(leaks: Leaks) -> tuple[Finding, ...]:
    """Describe the leaks, worst first."""
    kinds = (
        (leaks.same_audio, "are calibration clips: their word errors flatter the INT8 variant"),
        (leaks.same_text, "have the text of a calibration clip"),
        (leaks.same_speaker, "have the speaker of a calibration clip"),
    )
    return tuple(
        Finding(
            topic=Topic.LEAK,
            text=f"{len(pairs)} of {leaks.n_clips} clips of split {leaks.split} {what} "
            f"(first: {pairs[0].evaluation})",
        )
        for pairs, what in kinds
        if pairs
    )


def take_fingerprint(clip: Clip, audio_sha256: str | None) -> Fingerprint:
    """Return the fingerprint of a clip with the given hash of its samples."""
    return Fingerprint(
        clip_id=clip.clip_id,
        audio_sha256=audio_sha256,
        speaker=speaker_of(clip),
        text_sha256=sha256_of_text(clip.text),
    )


def fingerprint_evaluation(
    clips: Sequence[Clip], calibration: Sequence[LoadedClip]
) -> tuple[Fingerprint, ...]:
    """Return fingerprints of evaluation clips, and decode few of them.

    A copy of a calibration file is recognized by its bytes. Of the others, only those are decoded that are as long as a
    calibration clip. Clips that cannot be decoded cannot be evaluated either.
    """
    by_file = {_file_hash(loaded.clip): loaded.audio_sha256 for loaded in calibration}
    lengths_s = sorted(loaded.wave.size / SAMPLE_RATE_HZ for loaded in calibration)
    return tuple(take_fingerprint(clip, _audio_hash(clip, by_file, lengths_s)) for clip in clips)


def _audio_hash(
    clip: Clip, by_file: Mapping[tuple[str, object] | None, str], lengths_s: Sequence[float]
) -> str | None:
    file_hash = _file_hash(clip)
    if file_hash is None:
        return None
    if file_hash in by_file:
        return by_file[file_hash]
    if not _is_as_long(clip, lengths_s):
        return None
    try:
        return sha256_of_wave(clip_wave(clip, name=clip.clip_id))
    except InputError:
        return None


def _file_hash(clip: Clip) -> tuple[str, object] | None:
    """Return what identifies a clip without decoding it: the hash of its file, and the part of it."""
    digest = _sha256_of_file(clip.audio)
    return None if digest is None else (digest, clip.part)


def _is_as_long(clip: Clip, lengths_s: Sequence[float]) -> bool:
    """Return whether a clip may be as long as one of the sorted lengths, by its header, else by its speech set."""
    length_s = stated_duration_s(clip.audio) if clip.part is None else None
    if length_s is None:
        length_s = clip.duration_s
    if length_s is None:
        return True
    index = bisect_left(lengths_s, length_s - SAME_LENGTH_S)
    return index < len(lengths_s) and lengths_s[index] <= length_s + SAME_LENGTH_S


def _sha256_of_file(audio: Path | bytes) -> str | None:
    if isinstance(audio, bytes):
        return hashlib.sha256(audio).hexdigest()
    try:
        return sha256_of_file(audio)
    except OSError:
        return None
