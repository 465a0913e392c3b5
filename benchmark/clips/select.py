"""Choose the clips to measure: from one split, with a transcript, short or long; and their hashes."""

import hashlib
from collections.abc import Mapping, Sequence

from sottovoce.benchmark.spec import BenchmarkSpec
from sottovoce.errors import InputError
from sottovoce.progress import Reporter
from sottovoce.runs import Run
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ, WINDOW_S
from sottovoce.speech.clips import Clip, ClipSet, select_clips, usable_clips
from sottovoce.speech.loading import LoadedClip, LoadedClips, load_clips
from sottovoce.speech.properties import sha256_of_wave
from sottovoce.storage.artifacts import canonical_sha256

NO_LONG_CLIPS = "no recording is over 30 s; give longer ones, or omit --long"


def load_eval_clips(run: Run, speech: ClipSet, spec: BenchmarkSpec, reporter: Reporter) -> LoadedClips:
    """Choose and decode the clips to measure; recordings over 30 s with `spec.long`, else only clips up to 30 s.

    Raises:
        InputError: no clip with a transcript is left, or none over 30 s with `spec.long`.
    """
    usable = usable_clips(speech, spec.split, english_only=not run.baseline.facts.is_multilingual)
    with_text = [clip for clip in usable.clips if clip.text and clip.text.strip()]
    if not with_text:
        raise InputError(f"{speech.name} has no transcripts; a benchmark needs them to count word errors")
    chosen = select_clips(with_text, None, seed=spec.seed)
    clips = (_load_long if spec.long else _load_short)(chosen, spec.limit, reporter)
    for rejected in clips.rejected:
        reporter.note(f"left out {rejected.clip_id}: {rejected.reason}")
    return clips


def _load_short(chosen: Sequence[Clip], limit: int | None, reporter: Reporter) -> LoadedClips:
    total = len(chosen) if limit is None else min(limit, len(chosen))
    with reporter.progress("decode evaluation clips", total) as advance:
        return load_clips(chosen, wanted=limit, on_clip=advance)


def _load_long(chosen: Sequence[Clip], limit: int | None, reporter: Reporter) -> LoadedClips:
    """Load recordings over 30 s; a set without durations is decoded as a whole to find them."""
    candidates = [clip for clip in chosen if clip.duration_s is None or clip.duration_s > WINDOW_S]
    if not candidates:
        raise InputError(NO_LONG_CLIPS)
    has_durations = all(clip.duration_s is not None for clip in candidates)
    with reporter.progress("decode long recordings", len(candidates)) as advance:
        clips = load_clips(
            candidates, wanted=limit if has_durations else None, max_clip_s=None, on_clip=advance
        )
    long = [clip for clip in clips.loaded if len(clip.wave) > WINDOW_S * SAMPLE_RATE_HZ]
    if not long:
        raise InputError(NO_LONG_CLIPS)
    return LoadedClips(loaded=tuple(long[:limit]), rejected=clips.rejected)


def hash_clips(clips: Sequence[LoadedClip]) -> dict[str, str]:
    """Return the sha256 of the samples of each clip, by its id."""
    return {clip.clip.clip_id: sha256_of_wave(clip.wave) for clip in clips}


def combine_hashes(hashes: Mapping[str, str]) -> str:
    """Combine the hashes of all clips, in the order of their ids."""
    return canonical_sha256([hashes[clip_id] for clip_id in sorted(hashes)])


def dataset_sha256(clips: Sequence[LoadedClip]) -> str:
    """Hash ids and references: results with the same hash share their clips, though not necessarily the audio."""
    digest = hashlib.sha256()
    for loaded in sorted(clips, key=lambda clip: clip.clip.clip_id):
        digest.update(f"{loaded.clip.clip_id}\0{loaded.clip.text}\0".encode())
    return digest.hexdigest()
