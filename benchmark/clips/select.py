"""Which clips are measured: of a split, with a transcript, short or long."""

from collections.abc import Sequence
from dataclasses import dataclass

from sottovoce.benchmark.engines.engine import WINDOW_S
from sottovoce.errors import InputError
from sottovoce.progress import Reporter
from sottovoce.runs import Run
from sottovoce.runtime.audio.decode import SAMPLE_RATE_HZ
from sottovoce.speech.clips import Clip, ClipSet, select_clips, usable_clips
from sottovoce.speech.loading import LoadedClips, load_clips

NO_LONG_CLIPS = "no recording is over 30 s; give longer ones, or leave --long away"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipChoice:
    """Which clips to measure.

    Attributes:
        split: of the speech set; ignored where a set has no splits.
        limit: clips measured; None takes all.
        seed: chooses among them.
        long: take only recordings over 30 s instead of only clips up to 30 s.
    """

    split: str
    limit: int | None
    seed: int
    long: bool


def load_eval_clips(run: Run, speech: ClipSet, choice: ClipChoice, reporter: Reporter) -> LoadedClips:
    """Choose and decode the clips to measure: of the split, with a transcript, by the seed.

    Raises:
        InputError: no clip with a transcript is left, or none over 30 s where those are asked for.
    """
    usable = usable_clips(speech, choice.split, english_only=not run.baseline.facts.is_multilingual)
    with_text = [clip for clip in usable.clips if clip.text and clip.text.strip()]
    if not with_text:
        raise InputError(f"{speech.name} has no transcripts; a benchmark needs them to count word errors")
    chosen = select_clips(with_text, None, seed=choice.seed)
    clips = (_load_long if choice.long else _load_short)(chosen, choice.limit, reporter)
    for rejected in clips.rejected:
        reporter.note(f"left out {rejected.clip_id}: {rejected.reason}")
    return clips


def _load_short(chosen: Sequence[Clip], limit: int | None, reporter: Reporter) -> LoadedClips:
    total = len(chosen) if limit is None else min(limit, len(chosen))
    with reporter.progress("decode evaluation clips", total) as advance:
        return load_clips(chosen, wanted=limit, on_clip=advance)


def _load_long(chosen: Sequence[Clip], limit: int | None, reporter: Reporter) -> LoadedClips:
    """Load recordings over 30 s; where a set does not tell lengths, all are decoded to see."""
    candidates = [clip for clip in chosen if clip.duration_s is None or clip.duration_s > WINDOW_S]
    if not candidates:
        raise InputError(NO_LONG_CLIPS)
    all_told = all(clip.duration_s is not None for clip in candidates)
    with reporter.progress("decode long recordings", len(candidates)) as advance:
        clips = load_clips(candidates, wanted=limit if all_told else None, max_clip_s=None, on_clip=advance)
    long = [clip for clip in clips.loaded if len(clip.wave) > WINDOW_S * SAMPLE_RATE_HZ]
    if not long:
        raise InputError(NO_LONG_CLIPS)
    return LoadedClips(loaded=tuple(long[:limit]), rejected=clips.rejected)
