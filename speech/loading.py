"""Decoded clips."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from sottovoce.errors import InputError
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ, WINDOW_S
from sottovoce.runtime.audio.decode import Wave, decode_audio, is_silent
from sottovoce.speech.clips import Clip
from sottovoce.speech.properties import sha256_of_wave

# Speech sets round durations, and encoders pad: a clip that is stated to be slightly too long is decoded.
_DECLARED_TOLERANCE_S = 0.5
# A larger share of broken clips means a wrong path or an incomplete download.
_MAX_BROKEN_SHARE = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedClip:
    """A clip and its wave: float32, shape (n_samples,), 16 kHz."""

    clip: Clip
    wave: Wave

    @cached_property
    def audio_sha256(self) -> str:
        """Hash of the samples."""
        return sha256_of_wave(self.wave)


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedClip:
    """A clip that was left out, and why.

    Attributes:
        is_broken: its audio is missing or cannot be decoded; otherwise it is silent or too long.
    """

    clip_id: str
    reason: str
    is_broken: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadedClips:
    """At least one loaded clip, in the given order, and the rejected ones."""

    loaded: tuple[LoadedClip, ...]
    rejected: tuple[RejectedClip, ...]


def load_clips(
    clips: Sequence[Clip],
    *,
    wanted: int | None,
    max_clip_s: float | None = WINDOW_S,
    on_clip: Callable[[], None] | None = None,
) -> LoadedClips:
    """Load clips in their order until there are `wanted`; None loads all.

    Args:
        wanted: number to load; fewer if not enough are usable.
        max_clip_s: longer clips are left out; None: no limit.
        on_clip: called after each clip that was tried, loaded or not.

    Raises:
        InputError: nothing could be loaded, or more than half of the clips tried are broken.
    """
    loaded: list[LoadedClip] = []
    rejected: list[RejectedClip] = []
    for clip in clips:
        if wanted is not None and len(loaded) >= wanted:
            break
        outcome = _load(clip, max_clip_s)
        if isinstance(outcome, LoadedClip):
            loaded.append(outcome)
        else:
            rejected.append(outcome)
        if on_clip is not None:
            on_clip()
    _check_enough(clips, len(loaded), rejected)
    return LoadedClips(loaded=tuple(loaded), rejected=tuple(rejected))


def _load(clip: Clip, max_clip_s: float | None) -> LoadedClip | RejectedClip:
    limit_s = float("inf") if max_clip_s is None else max_clip_s
    if clip.duration_s is not None and is_declared_too_long(clip, limit_s):
        return _too_long(clip, clip.duration_s, limit_s)
    # Reasons appear in results, which must not contain folders of this machine.
    name = clip.audio.name if isinstance(clip.audio, Path) else clip.clip_id
    try:
        wave = clip_wave(clip, name=name)
    except InputError as error:
        return RejectedClip(clip_id=clip.clip_id, reason=str(error), is_broken=True)
    if wave.size > limit_s * SAMPLE_RATE_HZ:
        return _too_long(clip, wave.size / SAMPLE_RATE_HZ, limit_s)
    if is_silent(wave):
        return RejectedClip(clip_id=clip.clip_id, reason="silent, left out", is_broken=False)
    return LoadedClip(clip=clip, wave=wave)


def clip_wave(clip: Clip, *, name: str) -> Wave:
    """Decode a clip: float32, shape (n_samples,), 16 kHz.

    Args:
        name: of the audio in error messages.

    Raises:
        InputError: the audio cannot be decoded, or ends before the part that the clip is.
    """
    if clip.part is None:
        return decode_audio(clip.audio, name=name)
    start_s, length_s = clip.part
    whole = _decode_once(clip.audio, name)
    begin = round(start_s * SAMPLE_RATE_HZ)
    if begin >= whole.size:
        raise InputError(
            f"{name} has {whole.size / SAMPLE_RATE_HZ:.2f} s, the clip starts at {start_s:.2f} s; check its offset"
        )
    rest = whole[begin:]
    if length_s is None or (not start_s and rest.size <= (length_s + _DECLARED_TOLERANCE_S) * SAMPLE_RATE_HZ):
        return rest
    return rest[: max(1, round(length_s * SAMPLE_RATE_HZ))]


@lru_cache(maxsize=1)
def _decode_once(audio: Path | bytes, name: str) -> Wave:
    """Decode a file once for all clips that are parts of it, where they follow each other."""
    return decode_audio(audio, name=name)


def is_declared_too_long(clip: Clip, limit_s: float) -> bool:
    """Return whether a clip is stated to be longer than the limit, so that it need not be decoded."""
    return clip.duration_s is not None and clip.duration_s > limit_s + _DECLARED_TOLERANCE_S


def _too_long(clip: Clip, duration_s: float, limit_s: float) -> RejectedClip:
    limit = "Whisper's window" if limit_s == WINDOW_S else "the limit"
    reason = f"{duration_s:.2f} s long; {limit} is {limit_s:g} s, left out"
    return RejectedClip(clip_id=clip.clip_id, reason=reason, is_broken=False)


def _check_enough(clips: Sequence[Clip], n_loaded: int, rejected: Sequence[RejectedClip]) -> None:
    n_tried = n_loaded + len(rejected)
    broken = [clip for clip in rejected if clip.is_broken]
    if len(broken) > _MAX_BROKEN_SHARE * n_tried:
        first = broken[0]
        where = _folder(clips, first.clip_id)
        raise InputError(
            f"{len(broken)} of {n_tried} clips cannot be read; the first, {first.clip_id}{where}: {first.reason}"
        )
    if not n_tried:
        raise InputError("no clips to load; choose other speech or another split")
    if not n_loaded:
        first = rejected[0]
        raise InputError(
            f"none of {n_tried} clips can be used; the first, {first.clip_id}: {first.reason}; choose other speech"
        )


def _folder(clips: Sequence[Clip], clip_id: str) -> str:
    audio = next(clip.audio for clip in clips if clip.clip_id == clip_id)
    return f" in {audio.parent}" if isinstance(audio, Path) else ""
