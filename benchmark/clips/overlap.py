"""Whether calibration, or the search that chose a variant, used the clips that are measured."""

from collections.abc import Collection, Mapping
from pathlib import Path

from sottovoce.calibrate.audit import read_recorded_clips
from sottovoce.calibrate.store import CalibrationStore
from sottovoce.optimize.search.report import read_judged_clips
from sottovoce.progress import Reporter
from sottovoce.runs import CALIBRATION_NAME, Run, Variant
from sottovoce.storage.artifacts import MANIFEST_NAME, sha256_of_file

ADVICE = "Give the set a split, or use other speech"


def note_overlap(run: Run, hashes: Mapping[str, str], measured: Collection[Path], reporter: Reporter) -> None:
    """Report measured clips that calibration or the search used, and variants for which this is unknown.

    Args:
        run: its calibration record and its search list the clips that they used.
        hashes: sha256 of the samples of each measured clip, by its id.
        measured: folders of the measured variants.
        reporter: gets the notes.
    """
    for variant in run.variants:
        if variant.folder in measured and _has_lost_its_record(run, variant):
            reporter.note(
                f"{variant.name} was quantized from a calibration record that is no longer in {run.folder}: its "
                f"calibration clips are unknown. Run `sottovoce quantize {run.folder}` to quantize it from the current one"
            )
    judged = {clip.audio_sha256 for clip in read_judged_clips(run.folder)}
    for shared, effect in (
        (_recorded(run, hashes), "were recorded for calibration; their word errors flatter the INT8 variant"),
        (
            [clip_id for clip_id, sha256 in hashes.items() if sha256 in judged],
            "chose among the trials of the search; their word errors flatter its variant",
        ),
    ):
        if shared:
            reporter.note(f"{len(shared)} of {len(hashes)} clips, first {shared[0]}, {effect}. {ADVICE}")


def _has_lost_its_record(run: Run, variant: Variant) -> bool:
    path = run.folder / CALIBRATION_NAME / MANIFEST_NAME
    current = sha256_of_file(path) if path.is_file() else None
    return any(
        parent.role == "calibration" and parent.sha256 != current for parent in variant.manifest.parents
    )


def _recorded(run: Run, hashes: Mapping[str, str]) -> list[str]:
    """Return the ids of recorded clips: with the same samples, or the same id if the record is too old to have hashes.

    Ids are unique in their speech set alone: clips of each split of the hub are numbered from 0.
    """
    if run.calibration is None:
        return []
    record = run.folder / CALIBRATION_NAME
    recorded = {clip.audio_sha256 for clip in read_recorded_clips(record)}
    if recorded:
        return [clip_id for clip_id, sha256 in hashes.items() if sha256 in recorded]
    ids = CalibrationStore(record).clip_ids()
    return [clip_id for clip_id in hashes if clip_id in ids]
