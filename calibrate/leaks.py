"""Whether what is evaluated was calibrated with: the same audio, speaker or text.

    clips -> Fingerprint -> find_leaks

A word error rate measured on calibration's own clips flatters the quantized variant. The comparison is
on fingerprints, so that a record can be compared with speech that it has never seen.
"""

import hashlib
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from sottovoce.calibrate.coverage import Finding, RecordedClip, Topic
from sottovoce.errors import InputError
from sottovoce.runtime.audio.decode import SAMPLE_RATE_HZ, Wave, decode_audio, stated_duration_s
from sottovoce.speech.clips import Clip
from sottovoce.speech.loading import LoadedClip
from sottovoce.storage.artifacts import sha256_of_file
from sottovoce.storage.documents import Document

MIN_TEXT_CHARACTERS = 12
"""Shorter references ("yes", "turn on the light") recur without any leak."""

SAME_LENGTH_S = 0.05
"""Headers of lossless files are exact to the sample; of others to a frame. Only lossless copies can have the
same samples."""


class Pair(Document):
    """An evaluation clip and the first calibration clip that it shares something with."""

    evaluation: str = Field(description="Id of the evaluation clip.")
    calibration: str = Field(description="Id of the calibration clip.")


class Leaks(Document):
    """What an evaluation set shares with a calibration record."""

    split: str = Field(description="Of the speech set that was compared.")
    n_clips: int = Field(description="Evaluation clips that were compared.")
    same_audio: tuple[Pair, ...]
    same_speaker: tuple[Pair, ...]
    same_text: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What tells a clip from others.

    Attributes:
        clip_id: unique in its speech set only.
        audio_sha256: of the decoded samples; None where something else has shown that no other clip has them.
        speaker: with the source, in which alone it is unique; None where unknown.
        text_sha256: of the normalized reference; None where it is unknown or short.
    """

    clip_id: str
    audio_sha256: str | None
    speaker: str | None
    text_sha256: str | None


def find_leaks(calibration: Sequence[Fingerprint], evaluation: Sequence[Fingerprint], *, split: str) -> Leaks:
    """Pair each evaluation clip with the first calibration clip of the same audio, speaker or text."""
    return Leaks(
        split=split,
        n_clips=len(evaluation),
        same_audio=_pairs(calibration, evaluation, lambda clip: clip.audio_sha256),
        same_speaker=_pairs(calibration, evaluation, lambda clip: clip.speaker),
        same_text=_pairs(calibration, evaluation, lambda clip: clip.text_sha256),
    )


def _pairs(
    calibration: Sequence[Fingerprint],
    evaluation: Sequence[Fingerprint],
    key: Callable[[Fingerprint], str | None],
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
    """Say what leaks, worst first."""
    told = (
        (leaks.same_audio, "are calibration clips: their word errors flatter the INT8 variant"),
        (leaks.same_text, "have the text of a calibration clip"),
        (leaks.same_speaker, "have a speaker whom calibration has heard"),
    )
    return tuple(
        Finding(
            topic=Topic.LEAK,
            text=f"{len(pairs)} of {leaks.n_clips} clips of split {leaks.split} {what} "
            f"(first: {pairs[0].evaluation})",
        )
        for pairs, what in told
        if pairs
    )


def fingerprint_of(recorded: RecordedClip) -> Fingerprint:
    """Return the fingerprint that a record keeps of a clip."""
    return Fingerprint(
        clip_id=recorded.clip_id,
        audio_sha256=recorded.audio_sha256,
        speaker=recorded.speaker,
        text_sha256=recorded.text_sha256,
    )


def take_fingerprint(clip: Clip, audio_sha256: str | None) -> Fingerprint:
    """Make the fingerprint of a clip whose samples have the hash given, or are known to be its own."""
    return Fingerprint(
        clip_id=clip.clip_id,
        audio_sha256=audio_sha256,
        speaker=speaker_of(clip),
        text_sha256=sha256_of_text(clip.text),
    )


def speaker_of(clip: Clip) -> str | None:
    """Name a speaker together with the source, in which alone the name is unique."""
    return None if clip.speaker is None else f"{clip.source or ''}/{clip.speaker}"


def sha256_of_wave(wave: Wave) -> str:
    """Hash samples: the same audio in two lossless files has the same hash."""
    return hashlib.sha256(wave.astype("<f4").tobytes()).hexdigest()


def sha256_of_text(text: str | None) -> str | None:
    """Hash a normalized reference; None where it is unknown or too short to tell clips apart."""
    normalized = normalize_text(text or "")
    if len(normalized) < MIN_TEXT_CHARACTERS:
        return None
    return hashlib.sha256(normalized.encode()).hexdigest()


def normalize_text(text: str) -> str:
    """Fold case, width and accents, and keep letters, digits and single spaces.

    Coarser than Whisper's normalizers, which are not needed where nothing is scored.
    """
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    kept = (
        character if unicodedata.category(character)[0] in "LN" else " "
        for character in folded
        if unicodedata.category(character)[0] != "M"
    )
    return " ".join("".join(kept).split())


def fingerprint_unheard(clips: Sequence[Clip], calibration: Sequence[LoadedClip]) -> tuple[Fingerprint, ...]:
    """Make fingerprints of clips for a comparison with calibration clips, and decode few of them.

    A file with the bytes of a calibration file needs no decoding. Of the others only those are
    decoded that are as long as a calibration clip. What cannot be decoded cannot be evaluated either.

    Args:
        clips: not decoded yet.
        calibration: what they will be compared with.
    """
    by_file = {_sha256_of_file(loaded.clip.audio): sha256_of_wave(loaded.wave) for loaded in calibration}
    lengths_s = sorted(loaded.wave.size / SAMPLE_RATE_HZ for loaded in calibration)
    return tuple(take_fingerprint(clip, _audio_hash(clip, by_file, lengths_s)) for clip in clips)


def _audio_hash(clip: Clip, by_file: Mapping[str | None, str], lengths_s: Sequence[float]) -> str | None:
    file_hash = _sha256_of_file(clip.audio)
    if file_hash is None:
        return None
    if file_hash in by_file:
        return by_file[file_hash]
    if not _is_as_long(clip, lengths_s):
        return None
    try:
        return sha256_of_wave(decode_audio(clip.audio, name=clip.clip_id))
    except InputError:
        return None


def _is_as_long(clip: Clip, lengths_s: Sequence[float]) -> bool:
    """Tell whether a clip may be as long as one of the sorted lengths, by its header, else by its set."""
    length_s = stated_duration_s(clip.audio)
    if length_s is None:
        length_s = clip.duration_s
    if length_s is None:
        return True
    place = bisect_left(lengths_s, length_s - SAME_LENGTH_S)
    return place < len(lengths_s) and lengths_s[place] <= length_s + SAME_LENGTH_S


def _sha256_of_file(audio: Path | bytes) -> str | None:
    if isinstance(audio, bytes):
        return hashlib.sha256(audio).hexdigest()
    try:
        return sha256_of_file(audio)
    except OSError:
        return None
