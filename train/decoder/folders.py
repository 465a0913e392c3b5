"""The folder of a trained checkpoint, in Hugging Face's layout, and the one from which its training resumes."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ValidationError

from sottovoce.errors import InputError, OutputExistsError
from sottovoce.machine.os_errors import check_room, translated_os_errors
from sottovoce.progress import Reporter
from sottovoce.speech.loading import LoadedClip
from sottovoce.speech.properties import speaker_of
from sottovoce.storage.artifacts import canonical_sha256
from sottovoce.storage.folders import check_is_folder, recover_interrupted_write, replace_folder
from sottovoce.storage.locks import output_lock
from sottovoce.storage.resumable import ResumableFolder, resumable_path
from sottovoce.train.loop import STATE_NAME

CHECKPOINT_NAME = "checkpoint"
"""Of the trained checkpoint in the unfinished folder, until it is complete."""


def sha256_of_speech(*sets: Sequence[LoadedClip]) -> str:
    """Hash all that a training takes from clips, and which set each clip is in."""
    return canonical_sha256(
        [
            [[each.audio_sha256, each.clip.language, each.clip.text, speaker_of(each.clip)] for each in clips]
            for clips in sets
        ]
    )


class _Report(BaseModel):
    """The keys that `finetune.json` and `distil.json` of every version have."""

    model: str
    n_trained_weights: int
    best_step: int


def check_new_checkpoint(out: Path, report_name: str, *, force: bool) -> None:
    """Refuse an output that exists, unless it may be replaced.

    Args:
        report_name: of the file in a folder that the same command wrote.

    Raises:
        OutputExistsError: it exists and `force` is not set.
        InputError: it is not a folder, or `force` is set and the command did not write it.
    """
    check_is_folder(out)
    if not out.exists():
        return
    if not force:
        raise OutputExistsError(out)
    if any(out.iterdir()) and not _is_report(out / report_name):
        raise InputError(
            f"{out} exists and has no {report_name} of an earlier training, so --force does not delete it; choose another --out"
        )


def _is_report(path: Path) -> bool:
    try:
        _Report.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return False
    return True


@contextmanager
def unfinished_training(
    out: Path,
    report_name: str,
    settings: Mapping[str, str],
    reporter: Reporter,
    *,
    force: bool,
    restart: bool,
) -> Iterator[Path]:
    """Lock an output, and yield the folder from which its training resumes; it is removed after the block.

    A command that is refused before the first checkpoint of its training leaves nothing: the corrected one has other
    settings, and could not resume from it.

    Args:
        report_name: as `check_new_checkpoint` takes it.
        settings: everything that must be the same to resume.
        force: replace `out`.
        restart: delete what an interrupted command left.

    Raises:
        OutputExistsError: another process wrote the output while this one waited for it.
        InputError: an interrupted command had other settings.
    """
    with translated_os_errors(out), output_lock(out, note=reporter.note):
        recover_interrupted_write(out)
        check_new_checkpoint(out, report_name, force=force)
        unfinished = ResumableFolder(resumable_path(out), "training")
        unfinished.begin(dict(settings), restart=restart)
        try:
            yield unfinished.folder
        except InputError:
            if not (unfinished.folder / STATE_NAME).is_file():
                unfinished.remove()
            raise
        unfinished.remove()


@contextmanager
def new_checkpoint(out: Path, unfinished: Path) -> Iterator[Path]:
    """Yield a folder that becomes the output in one step; a folder that was there is exchanged for it.

    Args:
        out: its lock must be held.
        unfinished: holds the new folder first, then the old one.
    """
    work = unfinished / CHECKPOINT_NAME
    if work.exists():  # of a killed process
        shutil.rmtree(work)
    work.mkdir()
    yield work
    check_room(out.parent)
    replace_folder(work, out)
