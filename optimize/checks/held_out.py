"""Choose clips to compare models on: of the calibration split, and not those that ranges were estimated from."""

from collections.abc import Sequence
from dataclasses import dataclass

from sottovoce.calibrate.audit import read_recorded_clips
from sottovoce.calibrate.record import CALIBRATION_SPLIT
from sottovoce.calibrate.store import CalibrationStore
from sottovoce.progress import Reporter
from sottovoce.runs import Run
from sottovoce.speech.clips import Clip, ClipSet, select_clips, usable_clips
from sottovoce.speech.loading import LoadedClip, load_clips
from sottovoce.speech.properties import sha256_of_wave


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ComparisonClips:
    """Decoded clips to compare models on; `is_held_out`: none of them was recorded."""

    loaded: tuple[LoadedClip, ...]
    is_held_out: bool


def calibration_clips(run: Run, speech: ClipSet) -> tuple[Clip, ...]:
    """Return the clips of the split `calib` that a run's model can transcribe.

    Raises:
        InputError: there are none.
    """
    english_only = not run.baseline.facts.is_multilingual
    return usable_clips(speech, CALIBRATION_SPLIT, english_only=english_only).clips


def choose_comparison_clips(
    run: Run, speech: ClipSet, store: CalibrationStore, n_clips: int, reporter: Reporter
) -> ComparisonClips:
    """Choose calibration clips that were not recorded, by the recipe's seed.

    Where there are none, recorded ones are taken, with a note.

    Raises:
        InputError: the split has no clip that can be used.
    """
    drawn = select_clips(calibration_clips(run, speech), None, seed=run.recipe.calibration.seed)
    recorded = store.clip_ids()
    held_out = _load_held_out(
        [clip for clip in drawn if clip.clip_id not in recorded], store, n_clips, reporter
    )
    if held_out:
        if len(held_out) < n_clips:
            reporter.note(f"{speech.name} has {len(held_out)} calibration clips that were not recorded")
        return ComparisonClips(loaded=held_out, is_held_out=True)
    reporter.note(
        f"{speech.name} has no calibration clips that were not recorded; recorded ones are used instead, "
        "which flatters what is quantized"
    )
    return ComparisonClips(loaded=load_for_comparison(drawn, n_clips, reporter), is_held_out=False)


def _load_held_out(
    clips: Sequence[Clip], store: CalibrationStore, n_clips: int, reporter: Reporter
) -> tuple[LoadedClip, ...]:
    """Load clips, except those whose samples were recorded under another name."""
    if not clips:
        return ()
    recorded = {clip.audio_sha256 for clip in read_recorded_clips(store.folder)}
    loaded = load_for_comparison(clips, n_clips, reporter)
    return tuple(clip for clip in loaded if sha256_of_wave(clip.wave) not in recorded)


def load_for_comparison(clips: Sequence[Clip], n_clips: int, reporter: Reporter) -> tuple[LoadedClip, ...]:
    """Decode the first clips that can be used, with a note on each that is left out."""
    with reporter.progress("decode clips to compare on", min(n_clips, len(clips))) as advance:
        loaded = load_clips(clips, wanted=n_clips, on_clip=advance)
    for rejected in loaded.rejected:
        reporter.note(f"left out {rejected.clip_id}: {rejected.reason}")
    return loaded.loaded
