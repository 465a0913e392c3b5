"""Whether what is measured was heard before: by calibration, or by the search that chose a variant."""

from collections.abc import Callable, Collection
from pathlib import Path

from sottovoce.calibrate.audit import read_recorded_clips
from sottovoce.calibrate.store import CalibrationStore
from sottovoce.optimize.search.report import read_judged_clips
from sottovoce.progress import Reporter
from sottovoce.runs import CALIBRATION_NAME, Run, Variant
from sottovoce.speech.loading import LoadedClip, LoadedClips
from sottovoce.speech.properties import sha256_of_wave
from sottovoce.storage.artifacts import MANIFEST_NAME, sha256_of_file

ADVICE = "Give the set a split, or other speech"


def note_overlap(run: Run, clips: LoadedClips, measured: Collection[Path], reporter: Reporter) -> None:
    """Say when clips are measured that the run's variants come from, and where that cannot be known.

    Args:
        run: its record and its search tell what they heard.
        clips: that are measured.
        measured: folders of what is measured.
        reporter: is told.
    """
    for variant in run.variants:
        if variant.folder in measured and _has_lost_its_record(run, variant):
            reporter.note(
                f"{variant.name} was quantized from a calibration record that {run.folder} no longer holds: which "
                f"clips it heard is not known. Run `sottovoce quantize {run.folder}` to make it of the present one"
            )
    _note_shared(
        clips,
        _is_recorded(run),
        "were recorded for calibration; their word errors flatter the INT8 variant",
        reporter,
    )
    _note_shared(
        clips,
        _is_judged(run),
        "chose among the trials of the search; their word errors flatter its variant",
        reporter,
    )


def _has_lost_its_record(run: Run, variant: Variant) -> bool:
    path = run.folder / CALIBRATION_NAME / MANIFEST_NAME
    current = sha256_of_file(path) if path.is_file() else None
    return any(
        parent.role == "calibration" and parent.sha256 != current for parent in variant.manifest.parents
    )


def _is_recorded(run: Run) -> Callable[[LoadedClip], bool]:
    """Tell a recorded clip by its samples; by its id only where a record of before the doctor knows no more.

    Ids are unique in their speech set alone: clips of each split of the hub are numbered from 0.
    """
    if run.calibration is None:
        return lambda _: False
    record = run.folder / CALIBRATION_NAME
    heard = {clip.audio_sha256 for clip in read_recorded_clips(record)}
    if heard:
        return lambda clip: sha256_of_wave(clip.wave) in heard
    recorded = CalibrationStore(record).clip_ids()
    return lambda clip: clip.clip.clip_id in recorded


def _is_judged(run: Run) -> Callable[[LoadedClip], bool]:
    judged = {clip.audio_sha256 for clip in read_judged_clips(run.folder)}
    return lambda clip: sha256_of_wave(clip.wave) in judged


def _note_shared(
    clips: LoadedClips, is_heard: Callable[[LoadedClip], bool], what: str, reporter: Reporter
) -> None:
    shared = [clip.clip.clip_id for clip in clips.loaded if is_heard(clip)]
    if shared:
        reporter.note(f"{len(shared)} of {len(clips.loaded)} clips, {shared[0]} first, {what}. {ADVICE}")
