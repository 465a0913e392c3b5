"""Choose the clips that judge: of the calibration split, and not those that ranges were taken from."""

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
class JudgeClips:
    """Clips that judge, decoded; `unheard`: none of them was recorded."""

    loaded: tuple[LoadedClip, ...]
    unheard: bool


def choose_judge_clips(
    run: Run, speech: ClipSet, store: CalibrationStore, n_clips: int, reporter: Reporter
) -> JudgeClips:
    """Choose clips of the split `calib` that were not recorded, by the recipe's seed.

    Where there are none, recorded ones are taken, and it is said.

    Raises:
        InputError: the split has no clip that can be used.
    """
    candidates = usable_clips(
        speech, CALIBRATION_SPLIT, english_only=not run.baseline.facts.is_multilingual
    ).clips
    drawn = select_clips(candidates, None, seed=run.recipe.calibration.seed)
    recorded = store.clip_ids()
    unheard = _load_unheard(
        [clip for clip in drawn if clip.clip_id not in recorded], store, n_clips, reporter
    )
    if unheard:
        if len(unheard) < n_clips:
            reporter.note(f"{speech.name} has {len(unheard)} calibration clips that were not recorded")
        return JudgeClips(loaded=unheard, unheard=True)
    reporter.note(
        f"{speech.name} has no calibration clips that were not recorded; those that were judge instead, "
        "which flatters what is quantized"
    )
    return JudgeClips(loaded=_load(drawn, n_clips, reporter), unheard=False)


def _load_unheard(
    clips: Sequence[Clip], store: CalibrationStore, n_clips: int, reporter: Reporter
) -> tuple[LoadedClip, ...]:
    """Load clips, but for those whose samples were recorded under another name."""
    if not clips:
        return ()
    heard = {clip.audio_sha256 for clip in read_recorded_clips(store.folder)}
    loaded = _load(clips, n_clips, reporter)
    return tuple(clip for clip in loaded if sha256_of_wave(clip.wave) not in heard)


def _load(clips: Sequence[Clip], n_clips: int, reporter: Reporter) -> tuple[LoadedClip, ...]:
    with reporter.progress("decode clips that judge", min(n_clips, len(clips))) as advance:
        loaded = load_clips(clips, wanted=n_clips, on_clip=advance)
    for rejected in loaded.rejected:
        reporter.note(f"left out {rejected.clip_id}: {rejected.reason}")
    return loaded.loaded
